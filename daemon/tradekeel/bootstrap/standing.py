"""How a daemon stands: what it says about itself every second, and what the books say whether it runs or not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from tradekeel.bootstrap.books import in_memory
from tradekeel.bootstrap.desk import STATUS_FILE
from tradekeel.bootstrap.holdings import Quotes, positions_of
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.reading import of_run
from tradekeel.bootstrap.summary import AccountSummary, newest_executions, summary_of
from tradekeel.bootstrap.values import plain_row
from tradekeel.bootstrap.waiting import waiting_at
from tradekeel.domain.money import ledger, plain
from tradekeel.domain.positions import Quote
from tradekeel.domain.rows import ExecutionRow, Latch, StrategyRow, standing_of
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.errors import InputError, StoreCorrupt, StoreError
from tradekeel.runtime.clock import SystemClock
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.sqlite import InMemory

STALE_AFTER_S = 5.0
"""A daemon writes its status every second; one that has not for this long does not do its work."""

START_GRACE_S = 30.0
"""A daemon that holds its place, and has not said a word since it took it, is starting for so long, or until it says so again."""

NO_ANSWER = "no answer"
"""How control begins what it says of an account that says nothing; of one that starts or stops that is no news."""

_STANDINGS = {standing_of(latch, paused) for latch in Latch for paused in (False, True)}

Status = dict[str, Any]


def read_status(place: Place) -> Status:
    """Everything there is to say about the daemon of a place, as JSON values."""
    pid, said = place.pid, _said(place)
    age_s = None if "ts_ns" not in said else (SystemClock().now_ns() - said["ts_ns"]) / NS_PER_S
    running = pid is not None
    held_s = _held_s(place) if running else None
    starting = held_s is not None and held_s < START_GRACE_S and (age_s is None or age_s > held_s)
    stale = running and not starting and (age_s is None or age_s > STALE_AFTER_S)
    heard = running and not starting  # whatever is said was said by the process that runs
    status: Status = {
        "name": said.get("name") or (place.config.stem if place.config else place.state_dir.name),
        "running": running,
        "pid": pid or None,
        "ready": heard and bool(said.get("ready")),
        "stopping": heard and bool(said.get("stopping")),
        "doing": said.get("doing", "") if heard else "",  # what a start waits for
        "healthy": heard and not stale and bool(said.get("healthy")),
        "stale": stale,
        "status_age_s": None if age_s is None else round(age_s, 1),
        "version": said.get("version"),
        "config": str(place.config) if place.config else said.get("config"),
        "state_dir": str(place.state_dir),
        "latch_files": _latch_files(place, "*.json"),
        "releases_waiting": _latch_files(place, "*.release"),
        "problem": None,
        "damaged": False,  # the books are, so that they cannot be read
        "emptied_at_start": False,  # they are in memory, and what is there is of a daemon that has ended
        "accounts": [],
        "reported": [],  # accounts as the daemon itself says, where its books cannot be read
        "feeds": {name: feed | {"time": iso(feed["ts_ns"])} for name, feed in said.get("feeds", {}).items()},
        "actors": said.get("actors", {}) if heard else {},
        "dead_letters": said.get("dead_letters", 0) if heard else 0,
        "alerts": said.get("alerts", []),
        "store": said.get("store") if heard else None,
        "redis": said.get("redis") if heard else None,
        "waiting": waiting_at(place),
    }
    live = said.get("accounts", {}) if heard and not stale else {}
    try:
        if place.has_books:
            for name, account in live.items():
                if account.get("state", "").startswith(NO_ANSWER) and (status["stopping"] or not status["ready"]):
                    live[name] = {"state": "stopping" if status["stopping"] else "starting"}
            books = _books_in_use(place, status)
            with one_moment(books) as db:
                accounts = accounts_of(db, books, live)
            status["emptied_at_start"] = not running and isinstance(books, InMemory)
            status["accounts"] = [account | ({"state": "starting"} if starting else {}) for account in accounts]
        elif not running and "ended" not in said:
            status["problem"] = place.no_books
        if not running and "ended" in said:
            status["problem"] = f"it ended with exit code {said['ended']['code']}: {said['ended']['said']}"
    except (InputError, StoreError) as error:
        if not starting:  # then its books are only being made, or brought up to date
            status["problem"] = str(error)
            status["damaged"] = isinstance(error, StoreCorrupt)
        status["reported"] = [_reported(name, account) for name, account in live.items()]
    return status


def memory_since(place: Place) -> str | None:
    """Since when a running daemon keeps its books in memory because their server was away; None where it does not."""
    if place.pid is None:
        return None
    since_ns = (_said(place).get("store") or {}).get("memory_since_ns")
    return None if since_ns is None else iso(since_ns)


def _books_in_use(place: Place, status: Status) -> Backend:
    """What is read must be what the daemon writes: the server's books are others than those that it began in memory."""
    if (status["store"] or {}).get("memory_since_ns") is None:
        return place.books()
    memory = in_memory(place.statedir)
    if not memory.exists():
        raise InputError("the daemon's books are in memory, where only its own user can look into them")
    return memory


def _reported(name: str, account: Status) -> Status:
    """What a daemon says of an account itself, a second ago at the most; an account that did not answer has its state alone."""
    return {
        "account": name,
        "state": account.get("state", ""),
        "latch": account.get("latch"),
        "latch_reason": account.get("latch_reason", ""),
        "paused": account.get("paused", False),
        "balance": account.get("balance"),
        "equity": account.get("equity"),
        "orders": account.get("orders"),
        "trades": account.get("trades"),
        "positions": account.get("positions", {}),
        "strategies": account.get("strategies", {}),
        "unknown_orders": list(account.get("unknown", ())),
        "feed_position": account.get("position"),
    }


def _held_s(place: Place) -> float | None:
    """For how long the place has been held, or since the start last said that it goes on: the lock is written to, or touched."""
    try:
        taken_ns = (place.state_dir / "lock").stat().st_mtime_ns
    except OSError:
        return None
    return (SystemClock().now_ns() - taken_ns) / NS_PER_S


def _said(place: Place) -> Status:
    """The status file; empty where there is none that can be read."""
    path = place.state_dir / STATUS_FILE
    try:
        content = msgspec.json.decode(path.read_bytes()) if path.is_file() else {}
    except (OSError, msgspec.DecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _latch_files(place: Place, pattern: str) -> list[str]:
    """Whom they are for: halts that hold until they are released, or releases that wait for the next start."""
    folder = place.statedir.latches
    return sorted(path.stem for path in folder.glob(pattern)) if folder.is_dir() else []


def accounts_of(db: Connection, books: Backend, live: Status) -> list[Status]:
    """Each account as the books have it at the moment that ``db`` looks at, from there alone: whatever an answer says of it must
    fit together. What is held is valued at the daemon's latest quotes, or at the last saved ones.
    """
    accounts = []
    for run in newest_executions(db, books):
        summary = summary_of(db, run)
        now = live.get(run.account, {})
        held = positions_of(db, run, _quotes(now))
        accounts.append(
            plain_row(summary)
            | {
                "state": _state(summary, now.get("state")),
                "equity": equity(summary, held),
                "equity_time": min((position["mark_time"] for position in held if position["mark_time"]), default=None),
                "feed_position": now.get("position"),
                "positions": held,
                "strategies": _strategies(db, run),
                "unknown_orders": [order for (order,) in db.execute(_UNKNOWN, (run.execution,))],
            }
        )
    return accounts


_UNKNOWN = """
    SELECT client_order_id FROM orders WHERE execution = ? AND status = 'unknown'
    ORDER BY created_ns DESC, decision DESC, leg DESC, client_order_id DESC
"""


def _strategies(db: Connection, run: ExecutionRow) -> list[Status]:
    mapping = mapping_of(StrategyRow)
    rows = db.execute(
        f"{mapping.select_sql} WHERE execution = ? ORDER BY updated_ns DESC, strategy DESC", (run.execution,)
    )
    return [of_run(run) | plain_row(row) for row in map(mapping.decode, rows)]


def equity(summary: AccountSummary, positions: list[Status]) -> str | None:
    """Balance and unrealised profit of these positions; None where a price or a rate is missing."""
    if any(position["unrealised_account"] is None for position in positions):
        return None
    with ledger():
        total = sum((Decimal(position["unrealised_account"]) for position in positions), summary.balance)
    return plain(total)


def _quotes(now: Status) -> Quotes:
    """What a running daemon values an account at."""
    said = now.get("quotes", {})
    return {symbol: Quote(Decimal(bid), Decimal(ask), ts_ns) for symbol, (bid, ask, ts_ns) in said.items()}


def _state(summary: AccountSummary, said: str | None) -> str:
    """How an account stands. What may be traded is in the books, which are newer than what the daemon says every second."""
    if summary.status == "closed" and (said is None or said in _STANDINGS):
        return "closed"  # whatever the daemon goes on with is another account's
    if said is None:
        return "at rest"
    if said not in _STANDINGS:
        return said
    return standing_of(Latch(summary.latch), summary.paused)
