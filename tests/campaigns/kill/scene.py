"""What a kill left behind: the two sides' files, copied before anybody opens them again, and what they say.

Opening a SQLite file repairs it, so the originals are left exactly as the kill left them for the daemon to find.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.campaigns.kill.books import IN_DOUBT, Ours, Theirs, check_always, read_ours, read_theirs
from tests.campaigns.kill.reading import Row, has_tables

LEFT = {
    "nothing": "nothing in doubt, nothing to book",
    "no_books": "no books yet",
    "no_ledger": "no ledger at the venue yet",
    "intent_not_arrived": "an intent that the venue never saw",
    "intent_arrived": "an intent that the venue has taken",
    "renewed_in_doubt": "a renewed order, in doubt again",
    "unknown": "an order marked unknown",
    "waiting_exit": "an exit that waits for a cancel",
    "cancel_asked": "a cancel asked for, not answered",
    "claimed": "a trade that an exit has claimed",
    "turning": "an entry under way that closes trades",
    "news_unbooked": "entries of the venue not booked",
    "fills_unbooked": "fills of the venue not booked",
    "partly_filled": "an order filled in part",
    "positions": "positions held",
    "closed": "an account whose run is over",
}


def copy_scene(state_dir: Path, target: Path) -> None:
    """Copy both sides' files, write-ahead logs included."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if state_dir.exists():
        for file in state_dir.iterdir():
            if file.is_file() and (file.name.endswith((".db", ".db-wal"))):
                shutil.copyfile(file, target / file.name)


def look(scene: Path, books: Path | str, account: str) -> tuple[set[str], list[str]]:
    """What was left behind on an account (keys of LEFT), and what is wrong already."""
    ledger = scene / f"paper-{account}.db"
    if not has_tables(books, "journal"):
        return {"no_books"}, []
    ours = read_ours(books, account)
    if not has_tables(ledger, "account"):
        return {"no_ledger"}, ["there are orders and no venue"] if ours.orders else []
    theirs = read_theirs(ledger)
    return set(_left(ours, theirs)) or {"nothing"}, list(check_always(ours, theirs))


def _left(ours: Ours, theirs: Theirs) -> Iterator[str]:
    there = {order["client_order_id"]: order for order in theirs.orders}
    alive = {order["client_order_id"] for order in ours.orders if order["status"] in (*IN_DOUBT, *_WORKING)}
    for order in ours.orders:
        if order["status"] == "cancel_requested":
            yield "cancel_asked"
        if order["status"] == "partially_filled":
            yield "partly_filled"
        if order["status"] not in IN_DOUBT or order["parent_id"] is not None:
            continue
        if order["status"] == "unknown":
            yield "unknown"
        yield from _of_order_in_doubt(order, alive, is_there=order["client_order_id"] in there)
    booked = max((cursor["sequence"] for cursor in ours.cursors), default=0)
    waiting = [entry for entry in theirs.record if entry["sequence"] > booked]
    if waiting:
        yield "news_unbooked"
    if any(entry.get("fill") for entry in waiting):
        yield "fills_unbooked"
    if any(trade["status"] == "CLOSING" for trade in ours.trades):
        yield "claimed"
    if theirs.positions:
        yield "positions"
    if any(execution["status"] == "closed" for execution in ours.executions):
        yield "closed"


def _of_order_in_doubt(order: Row, alive: set[str], *, is_there: bool) -> Iterator[str]:
    if msgspec.json.decode(order["closes"]):
        yield "turning"
    if any(i in alive for i in msgspec.json.decode(order["after_cancel_of"])):
        yield "waiting_exit"
        return
    yield "intent_arrived" if is_there else "intent_not_arrived"
    if order["renews"] is not None:
        yield "renewed_in_doubt"


_WORKING = ("accepted", "partially_filled", "cancel_requested")
