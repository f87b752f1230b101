"""`tradekeel verify` on books that lives left behind: quiet about every moment at which one may end, loud about damage.

A damaged ledger of the paper venue is damage, although our own books are whole.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

import anyio
import msgspec
import pytest
from msgspec import structs

from tests.campaigns.workplace import workplace
from tests.scenarios.support import Action, Home, fail_at
from tests.scenarios.support_configs import pair
from tradekeel.bootstrap.audit import audit
from tradekeel.bootstrap.place import Place
from tradekeel.domain.matching import OrderState, WorkingOrder
from tradekeel.domain.messages import Fill, VenueTransaction
from tradekeel.domain.messages import TransactionKind as Kind
from tradekeel.errors import ExitCode
from tradekeel.runtime import faults
from tradekeel.runtime.faults import InjectedFault
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.backend import backend_at
from tradekeel.storage.repositories import Database, SqlFillRepository
from tradekeel.venues.paper.examining import examine

TICKS = 300
MOMENTS = (
    ("session.place.after", 12),
    ("paper.place.after_commit", 5),
    ("paper.match.after_commit", 7),
    ("recorder:Commit", 60),
    ("recorder:Commit", 15),
)


def lines_of(state: Path) -> list[str]:
    """What it says, of books that it finds something wrong with."""
    found = audit(Place(state, None), lambda step, done, total: None)
    return [] if found.ok else found.lines()


@pytest.fixture(scope="module")
def held() -> Iterator[Path]:
    """The state directory of a daemon that ended in the middle of everything: both sides hold orders and units."""
    with workplace() as work:
        home = Home(work, pair(TICKS))
        for _ in range(TRIES):  # the venue may go on until the process has ended
            shutil.rmtree(home.state, ignore_errors=True)
            life = home.live({"recorder:Commit": _fail_while_both_sides_hold_everything(home)})
            if life.code == ExitCode.DEFECT and _hold_everything(home):
                break
        else:
            raise AssertionError("it never held a position and orders, with all news booked")
        yield home.state


def _fail_while_both_sides_hold_everything(home: Home) -> Action:
    def act(passed: int) -> None:
        if passed > EARLY and _hold_everything(home):
            raise InjectedFault(f"pass {passed}")

    return act


def _hold_everything(home: Home) -> bool:
    with closing(sqlite3.connect(home.ledger("a"))) as db:
        counted = [db.execute(f"SELECT count(*) FROM {what}").fetchone()[0] for what in HELD]
    return all(counted) and _booked(home) == _recorded(home)


EARLY = 40
TRIES = 20
HELD = ("positions", "orders WHERE open = 1", "orders WHERE open = 0")


def _booked(home: Home) -> int:
    return max(int(row["sequence"]) for row in home.ours("a").cursors)


def _recorded(home: Home) -> int:
    with closing(sqlite3.connect(home.ledger("a"))) as db:
        return int(db.execute("SELECT max(sequence) FROM transactions").fetchone()[0])


def damaged(held: Path, folder: Path, *statements: str) -> list[str]:
    """What it says after somebody has written into the ledger of account a."""
    state = folder / "state"
    shutil.copytree(held, state)
    with closing(sqlite3.connect(state / "paper-a.db")) as db:
        for statement in statements:
            assert db.execute(statement).rowcount, statement
        db.commit()
    return lines_of(state)


def test_a_run_that_ended_has_nothing_wrong(tmp_path: Path) -> None:
    home = Home(tmp_path, pair(TICKS))
    assert home.live().code == 0
    assert lines_of(home.state) == []


@pytest.mark.parametrize(("point", "count"), MOMENTS)
def test_nor_has_one_that_failed_anywhere_before_and_after_it_goes_on(tmp_path: Path, point: str, count: int) -> None:
    home = Home(tmp_path, pair(TICKS))
    assert home.live({point: fail_at(count)}).passed[point] >= count
    assert lines_of(home.state) == []
    assert home.live().code == 0
    assert lines_of(home.state) == []


def test_nor_has_the_run_after_the_last_one(tmp_path: Path) -> None:
    home = Home(tmp_path, pair(TICKS))
    assert [home.live().code, home.live({"recorder:Commit": fail_at(40)}).code] == [0, 70]
    assert lines_of(home.state) == []


@pytest.mark.parametrize("archived", [False, True], ids=["", "archived"])
def test_a_fill_that_somebody_has_written_down_is_not_the_venues(tmp_path: Path, archived: bool) -> None:
    """Whatever entry of the venue's record it says that it is: none at all, or one from before its run began."""
    home = Home(tmp_path, pair(TICKS))
    assert [home.live().code for _ in range(2)] == [0, 0]
    [real] = anyio.run(_fills_of, home.books)
    if archived:
        assert archive(backend_at(home.books), LATER_NS, home.state / "archives", LATER_NS)
    assert lines_of(home.state) == []
    made_up = [
        structs.replace(real, fill_id=f"of entry {entry}", venue_sequence=entry, ts_ns=LATER_NS) for entry in (0, 1)
    ]
    anyio.run(_write_down, home.books, home.execution("a")["execution"], made_up)
    said = [line for line in lines_of(home.state) if "is in our books, and not the venue's" in line]
    assert len(said) == len(made_up)


async def _fills_of(books: Path) -> list[Fill]:
    async with Database(books, now_ns=lambda: LATER_NS) as database:
        return list(await SqlFillRepository(database).list_fills(account="a", limit=1))


async def _write_down(books: Path, execution: str, fills: list[Fill]) -> None:
    async with Database(books, now_ns=lambda: LATER_NS, by="somebody") as database:
        assert await SqlFillRepository(database).append_fills(execution, fills) == len(fills)


LATER_NS = 2**62


def test_books_with_open_orders_and_positions_have_nothing_wrong(held: Path) -> None:
    assert lines_of(held) == []


ENTRY = "sequence = (SELECT max(sequence) FROM transactions WHERE client_order_id IS NOT NULL)"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM positions", "position EUR_USD is 0 at a cost of 0, the fills of its record come to"),
        ("UPDATE positions SET payload = x'00'", "position EUR_USD is damaged"),
        ("UPDATE positions SET instrument = 'GBP_USD'", "column instrument is GBP_USD, its content says EUR_USD"),
        ("UPDATE account SET standing = x'80'", "the account's standing is damaged"),
        ("DELETE FROM account", "the account is missing"),
        ("UPDATE orders SET payload = x'00' WHERE open = 1", "is damaged (its checksum is wrong)"),
        ("UPDATE orders SET payload = x'00' WHERE open = 0", "is damaged (its checksum is wrong)"),
        ("DELETE FROM orders WHERE open = 1", "of its record is not among its orders"),
        ("DELETE FROM orders WHERE open = 0", "of its record is not among its orders"),
        ("UPDATE orders SET open = 0", "column open is 0, its content says 1"),
        (
            "INSERT INTO orders SELECT id + 9999, venue_order_id || 'x', client_order_id, open, payload, crc FROM orders",
            "stands 2 times among the open orders",
        ),
        (f"UPDATE transactions SET kind = 'financed' WHERE {ENTRY}", "column kind is financed, its content says"),
        (f"UPDATE transactions SET client_order_id = 'x' WHERE {ENTRY}", "column client_order_id is x"),
        (f"UPDATE transactions SET venue_order_id = 'x' WHERE {ENTRY}", "column venue_order_id is x"),
        ("UPDATE transactions SET payload = x'00' WHERE sequence = 2", "entry 2 is damaged"),
        ("DELETE FROM transactions WHERE sequence = 2", "entry 2 of the record is missing"),
        ("DROP TABLE positions", "no such table: positions"),
    ],
)
def test_damage_of_the_venues_ledger_is_named(held: Path, tmp_path: Path, statement: str, said: str) -> None:
    if statement.startswith("DROP"):
        shutil.copytree(held, tmp_path / "state")
        with closing(sqlite3.connect(tmp_path / "state" / "paper-a.db")) as db:
            db.execute(statement)
        lines = lines_of(tmp_path / "state")
    else:
        lines = damaged(held, tmp_path, statement)
    assert any(said in line for line in lines), lines
    assert any("the books of a do not match the venue's" in line for line in lines)
    ledger = tmp_path / "state" / "paper-a.db"
    assert sorted(examine(ledger, orders_at_once=1).faults) == sorted(examine(ledger).faults)


def _forged(held: Path, folder: Path, was: Kind, becomes: Kind, state: OrderState) -> list[str]:
    """What it says of a ledger that is whole in itself, where one order went another way than we were told."""
    target = folder / "state"
    shutil.copytree(held, target)
    open_now = int(state is OrderState.CANCELED)
    with closing(sqlite3.connect(target / "paper-a.db")) as db:
        sequence, told, order_id, content = db.execute(
            "SELECT t.sequence, t.payload, o.id, o.payload FROM transactions t JOIN orders o USING (venue_order_id)"
            " WHERE t.kind = ? AND o.open = ? ORDER BY t.sequence DESC",
            (was.value, open_now),
        ).fetchone()
        entry = structs.replace(msgspec.msgpack.decode(told, type=VenueTransaction), kind=becomes)
        order = structs.replace(msgspec.msgpack.decode(content, type=WorkingOrder), state=state)
        entry_bytes, order_bytes = (msgspec.msgpack.encode(what) for what in (entry, order))
        db.execute(
            "UPDATE transactions SET kind = ?, payload = ?, crc = ? WHERE sequence = ?",
            (becomes.value, entry_bytes, crc32(entry_bytes), sequence),
        )
        db.execute(
            "UPDATE orders SET open = ?, payload = ?, crc = ? WHERE id = ?",
            (1 - open_now, order_bytes, crc32(order_bytes), order_id),
        )
        db.commit()
    return lines_of(target)


def test_an_order_that_only_we_have_working_is_named(held: Path, tmp_path: Path) -> None:
    lines = _forged(held, tmp_path, Kind.ORDER_ACCEPTED, Kind.ORDER_CANCELED, OrderState.CANCELED)
    # Accepted as a rule; the moment may be one at which its cancel is under way.
    assert [line for line in lines if "in our books, and not open at the venue" in line], lines


def test_an_order_that_only_the_venue_has_working_is_named(held: Path, tmp_path: Path) -> None:
    lines = _forged(held, tmp_path, Kind.ORDER_CANCELED, Kind.ORDER_AMENDED, OrderState.WORKING)
    assert [line for line in lines if "is open at the venue" in line and "canceled in our books" in line], lines


def test_news_that_is_not_booked_yet_is_no_difference_and_is_told(tmp_path: Path) -> None:
    home = Home(tmp_path, pair(TICKS))
    killed = {faults.KILL_AT: "executor.news.before_booking:40"}
    with home.start(killed) as daemon:
        assert daemon.end() < 0, daemon.log
    found = audit(Place(home.state, None), lambda step, done, total: None)
    assert found.ok, found.lines()
    assert any("goes on beyond that for" in line for line in found.lines()), found.lines()


def test_a_ledger_that_is_only_just_made_is_empty_and_not_damaged(tmp_path: Path) -> None:
    home = Home(tmp_path, pair(TICKS))
    home.live({"paper.create.before_commit": fail_at(1)})
    assert lines_of(home.state) == []
