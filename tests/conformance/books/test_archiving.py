"""Old journal and finished rows in files: they verify, they can be read, and the books go on without them."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from tests.unit.storage import samples as s
from tests.unit.storage.disks import fill, tiny_disk
from tests.unit.storage.rounds import DAY, Trader
from tests.unit.storage.samples import CHANGE, SNAPSHOT
from tradekeel.domain import records as r
from tradekeel.domain.book import ENDED_KEPT_MAX, Book
from tradekeel.domain.positions import Position
from tradekeel.domain.recovery import AccountState, encode_account_state
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint, Latch
from tradekeel.errors import InputError, StoreBlocked, StoreCorrupt
from tradekeel.ports.repositories import HeldPosition
from tradekeel.storage.archives import REPLACE, archives_of
from tradekeel.storage.archiving.moving import Moved, archive, stem_of
from tradekeel.storage.archiving.proving import rows_in
from tradekeel.storage.backend import Backend
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.repositories import (
    Database,
    SqlEventRepository,
    SqlFillRepository,
    SqlOrderRepository,
    SqlPositionRepository,
)
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.store import Store
from tradekeel.storage.verify import Verdict, verify
from tradekeel.storage.watching import Watch
from tradekeel.storage.wiping import wipe

__all__ = ["tiny_disk"]

LATER = s.START_NS + 10_000 * DAY
TABLES = ("trades", "orders", "fills", "signals", "strategy_events", "performance_snapshots", "parameter_history")


class Books:
    """Books and the folder of their archives."""

    def __init__(self, at: Backend, folder: Path) -> None:
        self.at, self.folder = at, folder

    def archive(self, before_ns: int = LATER, **more: object) -> list[Moved]:
        return archive(self.at, before_ns, self.folder, LATER, **more)  # type: ignore[arg-type]  # of the tests' own choosing

    def verify(self, folder: Path | None = None) -> Verdict:
        return verify(self.at, archives=folder or self.folder)

    def counts(self) -> dict[str, int]:
        with closing(self.at.connect(read_only=True)) as db:
            names = (*TABLES, "journal")
            return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}

    def commit(self, *groups: r.Group) -> None:
        with Store.open(self.at, now_ns=s.START_NS) as store:
            assert not [result for result in store.commit(list(groups)) if isinstance(result, Exception)]


@pytest.fixture
def books(at: Backend, tmp_path: Path) -> Books:
    return Books(at, tmp_path / "archives")


def over(books: Books, trips: int = 6, run: str = s.RUN, number: int = 1) -> Trader:
    """An execution that has traded, and ended."""
    trader = Trader(run, number=number)
    books.commit(
        trader.opening(),
        *(group for _ in range(trips) for group in trader.round_trip()),
        trader.desk.group(r.SnapshotTaken(ts_ns=trader.now_ns, snapshot=structs.replace(SNAPSHOT, execution=run))),
        trader.desk.group(r.ParameterChanged(ts_ns=trader.now_ns, change=structs.replace(CHANGE, execution=run))),
        trader.closed(),
    )
    return trader


def running(books: Books, trips: int = 6) -> Trader:
    """An execution that goes on, with one trade open."""
    trader = Trader()
    books.commit(trader.opening(), *(group for _ in range(trips) for group in trader.round_trip()), trader.entry())
    return trader


def test_what_is_over_is_moved_whole_but_for_the_last_record(books: Books) -> None:
    over(books)
    before = books.counts()
    assert all(before.values())
    [moved] = books.archive()
    after = books.counts()
    assert after == dict.fromkeys(TABLES, 0) | {"journal": 1}
    assert moved.row.counts == {name: before[name] - after[name] for name in before}
    verdict = books.verify()
    assert verdict.lines() == verdict.lines()[:1]
    assert verdict.records == before["journal"]
    assert books.archive() == []


def test_a_disk_without_room_for_an_archive_is_named_and_nothing_is_moved(books: Books, tiny_disk: Path) -> None:
    over(books)
    before = books.counts()
    books.folder = tiny_disk / "archives"
    books.folder.mkdir()
    fill(tiny_disk)
    with pytest.raises(
        StoreBlocked, match=r"archives/paper-1-1-.*\.gz was not made, because its disk is full"
    ) as failed:
        books.archive()
    assert "cannot be reached" not in str(failed.value)
    assert list(books.folder.iterdir()) == []
    assert books.counts() == before
    (tiny_disk / "filler").unlink()
    assert books.archive()
    assert books.verify().ok


def test_a_folder_of_archives_that_cannot_be_written_is_named(books: Books) -> None:
    over(books)
    books.folder.mkdir()
    (books.folder / f"{stem_of_first(books)}.partial").mkdir()  # in the way of the file
    with pytest.raises(StoreBlocked, match="archives cannot be written"):
        books.archive()


def stem_of_first(books: Books) -> str:
    """What the name of a first archive begins with."""
    with Store.open(books.at, now_ns=s.START_NS) as store:
        [run] = store.executions()
    return stem_of(run, 1, 10)


def test_an_archive_is_json_that_any_program_reads(books: Books) -> None:
    over(books, trips=2)
    [moved] = books.archive()
    with gzip.open(moved.path, "rt") as file:
        header, *rows, trailer = [json.loads(line) for line in file]
    assert (header["execution"], header["first"], header["last"]) == (s.RUN, 1, moved.row.last)
    names = [name for name, _ in header["tables"]["trades"]]
    trades = [dict(zip(names, row[1:], strict=True)) for row in rows if row[0] == "trades"]
    assert [(trade["trade_id"], trade["status"], trade["gross_pnl"]) for trade in trades] == [
        ("trexec-1-1", "CLOSED", "1.0000"),
        ("trexec-1-2", "CLOSED", "1.0000"),
    ]
    assert trailer["rows"] == moved.row.counts
    read = [row for table, row in rows_in(moved.path) if table == "fills"]
    assert len(read) == moved.row.counts["fills"]
    assert {row["price"] for row in read} == {"1.39215", "1.39315"}


def test_of_what_goes_on_stays_what_may_still_change(books: Books) -> None:
    trader = running(books)
    [moved] = books.archive()
    after = books.counts()
    assert after["journal"] == 1
    assert moved.row.counts["strategy_events"] == 7
    assert (after["trades"], after["orders"]) == (7, 13)  # a late fill may still come for any of the last thousand
    assert books.verify().lines() == books.verify().lines()[:1]
    books.commit(trader.exit(), *trader.round_trip(), *trader.round_trip())
    assert books.verify().ok
    [again] = books.archive()
    assert (again.row.first, again.row.last) == (moved.row.last + 1, trader.desk.book.sequence - 1)
    assert books.verify().ok
    books.commit(trader.closed())
    books.archive()
    assert books.counts() == dict.fromkeys(TABLES, 0) | {"journal": 1}
    assert books.verify().ok


@pytest.mark.untraced
def test_beyond_the_last_thousand_that_ended_trades_go_with_all_that_is_theirs(books: Books) -> None:
    trader = Trader()
    trips = ENDED_KEPT_MAX + 20
    books.commit(trader.opening(), trader.entry(), *(group for _ in range(trips) for group in trader.round_trip()))
    [moved] = books.archive()
    after = books.counts()
    assert moved.row.counts["trades"] == 19
    assert after["trades"] == ENDED_KEPT_MAX + 2  # the one that is open, and the one that the last record closes
    assert after["signals"] == after["trades"]
    assert after["orders"] == after["fills"] == 2 * after["trades"] - 1
    assert books.verify().ok
    books.commit(trader.exit(1))  # the oldest is still there to be closed
    assert books.verify().ok


def test_nothing_goes_that_is_younger_than_the_date(books: Books) -> None:
    over(books, trips=6)
    assert books.archive(s.START_NS) == []
    [moved] = books.archive(s.START_NS + 3 * DAY)
    assert moved.row.counts["journal"] == 3 + 2 * 4
    assert books.verify().ok
    [rest] = books.archive()
    assert rest.row.first == moved.row.last + 1
    assert books.verify().ok
    assert books.counts() == dict.fromkeys(TABLES, 0) | {"journal": 1}


def test_what_was_written_before_any_feed_had_a_time_goes_with_what_follows_it(books: Books) -> None:
    trader = Trader()
    books.commit(
        trader.desk.group(r.ExecutionStarted(ts_ns=0, row=s.execution(started_ns=0))),
        trader.desk.group(r.StrategyRegistered(ts_ns=s.START_NS, row=s.strategy())),
        trader.desk.group(r.LatchChanged(ts_ns=0, paused=False, latch=Latch.OPEN, reason="", by="cli")),
        trader.desk.group(r.ExecutionClosed(ts_ns=s.START_NS + 2 * DAY, reason="the feed has ended")),
    )
    assert books.archive(s.START_NS) == []
    [moved] = books.archive(s.START_NS + DAY)
    assert (moved.row.first, moved.row.last) == (1, 2)
    assert books.verify().ok


def test_no_record_goes_that_a_saved_state_leads_from(books: Books) -> None:
    trader = Trader()
    books.commit(trader.opening(), *trader.round_trip())
    inbox = trader.desk.book.sequence
    state = Checkpoint(
        execution=s.RUN, owner=ACCOUNT_OWNER, position=1, inbox=inbox, ts_ns=1, version=1, state=b"not readable"
    )
    books.commit(s.group(checkpoints=(state,)), *trader.round_trip())
    [moved] = books.archive()
    assert moved.row.last == inbox


def test_a_long_journal_goes_in_pieces(books: Books) -> None:
    over(books, trips=8)
    moved = books.archive(records_max=7)
    assert [(piece.row.first, piece.row.last) for piece in moved] == [
        (1, 7),
        (8, 14),
        (15, 21),
        (22, 28),
        (29, 35),
        (36, 37),
    ]
    with closing(books.at.connect(read_only=True)) as db:
        rows = archives_of(db, books.at, s.RUN)
    assert [bool(row.book) for row in rows] == [False] * 5 + [True]
    assert books.verify().ok
    assert books.counts() == dict.fromkeys(TABLES, 0) | {"journal": 1}


def test_a_book_that_was_archived_before_it_had_a_field_is_the_same_book(books: Books) -> None:
    over(books)
    books.archive()
    with closing(books.at.connect()) as db:
        row = archives_of(db, books.at, s.RUN)[-1]
        state = msgspec.msgpack.decode(row.book)
        assert state.pop("counted_since") == ""
        earlier = structs.replace(row, book=msgspec.msgpack.encode(state))
        db.execute(books.at.begin_write)
        db.execute(REPLACE, (earlier.book, earlier.kept, earlier.crc(), row.execution, row.first))
        db.execute("COMMIT")
    assert books.verify().ok


def test_recovery_goes_on_behind_an_archive(books: Books) -> None:
    trader = running(books)
    wanted = trader.desk.book.save()
    books.archive()
    with Store.open(books.at, now_ns=LATER) as store:
        loaded = AccountBooks(store, {"paper-1": (s.STRATEGY,)}).load("paper-1")
    assert loaded.cut is None
    assert loaded.book is not None
    for sequence, record in loaded.journal:
        loaded.book.apply(record, sequence)
    assert loaded.book.save() == wanted


def test_the_next_execution_takes_over_from_one_that_was_archived(books: Books) -> None:
    trader = over(books)
    books.archive()
    with Store.open(books.at, now_ns=LATER) as store:
        loaded = AccountBooks(store, {"paper-1": (s.STRATEGY,)}).load("paper-1")
    assert (loaded.execution, loaded.next_number) == (None, 2)
    assert loaded.previous is not None
    assert loaded.previous.save() == trader.desk.book.save()


def test_without_the_file_verify_says_what_it_could_not_compare(books: Books, tmp_path: Path) -> None:
    trader = running(books)
    [moved] = books.archive()
    books.commit(trader.exit())
    verdict = books.verify(tmp_path / "nowhere")
    assert verdict.ok
    count = sum(moved.row.counts.values())
    assert (
        f"1 of its 1 archives are not here ({moved.row.name}), so that {count} records and rows" in verdict.lines()[1]
    )
    with closing(books.at.connect()) as db:
        db.execute("UPDATE trades SET stop_loss = '1' WHERE trade_id = 'trexec-1-2'")
    assert not books.verify(tmp_path / "nowhere").ok  # rows that stayed are compared all the same


def forge(path: Path, change: Callable[[str], str]) -> None:
    with gzip.open(path, "rt") as file:
        text = file.read()
    with gzip.open(path, "wt") as file:
        file.write(change(text))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b"nonsense"),
        lambda path: forge(path, lambda text: text.replace('"1.39315"', '"1.39316"')),
        lambda path: forge(path, lambda text: "".join(text.splitlines(keepends=True)[:-2])),
    ],
    ids=["cut off", "nonsense", "another price", "without its end"],
)
def test_a_damaged_archive_is_found(books: Books, damage: Callable[[Path], None]) -> None:
    over(books)
    [moved] = books.archive()
    damage(moved.path)
    verdict = books.verify()
    assert not verdict.ok
    assert moved.path.name in verdict.lines()[1]
    if damage is not None:
        with pytest.raises(StoreCorrupt):
            list(rows_in(moved.path))


def test_books_that_do_not_agree_are_not_archived(books: Books) -> None:
    over(books)
    with closing(books.at.connect()) as db:
        db.execute("UPDATE trades SET stop_loss = '1' WHERE trade_id = 'trexec-1-2'")
    before = books.counts()
    with pytest.raises(StoreCorrupt, match="trades trexec-1-2 is not what the journal says"):
        books.archive()
    assert books.counts() == before
    assert not list(books.folder.iterdir())


async def attach(books: Books, trader: Trader, parents: dict[str, str]) -> None:
    """Orders attached to others, as a repository did it before it refused to."""
    rows = [structs.replace(trader.desk.book.ended[one], parent_id=parent) for one, parent in parents.items()]

    async def work(change: Change) -> None:
        await change.replace(trader.run, rows, steers=None)

    async with Database(books.at, now_ns=lambda: trader.now_ns, by="a script") as database:
        await database.write("update_orders", work)


@pytest.mark.parametrize("length", [1, 3])
async def test_orders_that_are_attached_to_each_other_in_a_circle_are_damage_that_is_named(
    books: Books, length: int
) -> None:
    trader = over(books)
    ids = [f"tk{s.RUN}-{number}" for number in range(1, length + 1)]
    await attach(books, trader, dict(zip(ids, [*ids[1:], ids[0]], strict=True)))
    await attach(books, trader, {f"tk{s.RUN}-6": f"tk{s.RUN}-5"})  # the last record stays, with what it tells of
    before = books.counts()
    with pytest.raises(StoreCorrupt, match=f"order tk{s.RUN}-[1-{length}] is attached to itself"):
        books.archive()
    assert books.counts() == before
    assert not list(books.folder.iterdir())


@pytest.mark.parametrize(
    "refers", [{"trade_id": f"tr{s.RUN}-1"}, {"parent_id": f"tk{s.RUN}-1"}, {"signal_id": f"sg{s.RUN}-1"}]
)
async def test_what_somebody_refers_to_when_all_was_over_stays_with_that(books: Books, refers: dict[str, str]) -> None:
    over(books)
    written = s.order(99, s.RUN, **{"trade_id": None, "signal_id": None} | refers)
    async with Database(books.at, now_ns=lambda: LATER, by="a script") as database:
        await SqlOrderRepository(database).create_order(written)
    assert books.archive()
    assert books.verify().ok
    async with Database(books.at, now_ns=lambda: LATER) as database:
        assert await SqlOrderRepository(database).get_order(written.client_order_id) == written


async def test_orders_that_are_attached_to_attached_ones_are_moved_with_them(books: Books) -> None:
    trader = over(books)
    ids = [f"tk{s.RUN}-{number}" for number in (1, 2, 3, 4)]
    await attach(books, trader, dict(zip(ids[1:], ids, strict=False)))
    await attach(books, trader, {f"tk{s.RUN}-6": f"tk{s.RUN}-5"})  # the last record stays, with what it tells of
    books.archive()
    assert books.counts()["orders"] == 4, "what the last record tells of, its parent, and the exits of both"
    assert books.verify().ok


@pytest.mark.parametrize("point", ["archive.file_written", "archive.before_commit", "archive.after_commit"])
def test_it_is_moved_whole_or_not_at_all_and_the_next_try_clears_up(books: Books, point: str) -> None:
    over(books)
    before = books.counts()

    def fail(name: str) -> None:
        if name == point:
            raise RuntimeError(name)

    with pytest.raises(RuntimeError):
        books.archive(point=fail)
    is_done = point == "archive.after_commit"
    assert (books.counts() == before) is not is_done
    assert books.verify().ok
    [made] = books.folder.iterdir()  # which no row names, unless it is done
    content = made.read_bytes()
    assert len(books.archive(s.START_NS + 3 * DAY)) == (0 if is_done else 1)
    assert books.verify().ok
    assert len(list(books.folder.iterdir())) == (1 if is_done else 2)
    assert made.read_bytes() == content, "it may be another copy's"
    books.archive()
    assert books.verify().ok


def test_copies_of_the_same_books_take_no_file_from_each_other(books: Books) -> None:
    """As after a restore, or an import: the other one's files are all that is left of its history."""
    trader = running(books)
    books.archive(s.START_NS + 2 * DAY)
    other = {file: file.read_bytes() for file in books.folder.iterdir()}
    for file in other:
        file.rename(file.with_name(file.name.replace("0000000001-", "0000000002-", 1)))  # behind what ours begin with
    theirs = {file: file.read_bytes() for file in books.folder.iterdir()}
    books.commit(*trader.round_trip())
    books.archive()
    assert all(file.read_bytes() == content for file, content in theirs.items())


async def test_a_run_that_was_corrected_when_it_was_over_and_archived_is_taken_over(books: Books) -> None:
    """The corrections lie behind its last saved state, and are in the archive with it."""
    trader = over(books)
    end = trader.desk.book
    saved = encode_account_state(
        AccountState(book=end.save(), monitor=b"", memories={}, rates=None, position=1, ts_ns=1)
    )
    cut = s.checkpoint(end.sequence, ACCOUNT_OWNER, state=saved)
    books.commit(
        s.group(checkpoints=(cut,)),
        trader.desk.group(r.Administered(ts_ns=trader.now_ns, action="a tag", rows=0, by="a script")),
        trader.desk.group(r.Administered(ts_ns=trader.now_ns, action="another", rows=0, by="a script")),
    )
    books.archive()
    with Store.open(books.at, now_ns=LATER) as store:
        loaded = AccountBooks(store, {"paper-1": (s.STRATEGY,)}).load("paper-1")
    assert loaded.previous is not None
    assert loaded.previous.save() == trader.desk.book.save()


def test_several_executions_have_files_of_their_own(books: Books) -> None:
    over(books)
    over(books, run="exec-2", number=2)
    moved = books.archive()
    assert [piece.row.execution for piece in moved] == [s.RUN, "exec-2"]
    assert len({piece.path for piece in moved}) == 2
    assert books.verify().ok


def test_what_was_archived_may_be_wiped_then(books: Books) -> None:
    trader = running(books)
    books.archive()
    wipe(books.at, LATER, by="a test")
    assert books.verify().ok
    with Store.open(books.at, now_ns=LATER) as store:
        previous = AccountBooks(store, {"paper-1": (s.STRATEGY,)}).load("paper-1").previous
    assert previous is not None
    assert previous.net("EUR_USD") == trader.desk.book.net("EUR_USD") == 1_000
    assert not previous.trades


def test_beside_an_archive_that_is_not_here_a_damaged_one_is_damage_all_the_same(books: Books) -> None:
    running(books)
    moved = books.archive(records_max=7)
    assert len(moved) > 2
    moved[0].path.unlink()
    assert books.verify().ok
    content = bytearray(moved[1].path.read_bytes())
    content[-9] ^= 1
    moved[1].path.write_bytes(content)
    assert any("is not the file that was made" in line for line in books.verify().lines())


def test_an_archive_may_lie_anywhere(books: Books, tmp_path: Path) -> None:
    over(books)
    elsewhere = tmp_path / "elsewhere"
    [moved] = archive(books.at, LATER, elsewhere, LATER, is_default=False)
    assert moved.row.name == str(moved.path)
    assert books.verify().notes == ()
    books.folder.mkdir()
    shutil.move(moved.path, books.folder)  # and be moved to where archives are looked for
    assert books.verify().notes == ()
    assert books.verify().ok


def test_the_same_books_give_the_same_file(books: Books, tmp_path: Path) -> None:
    over(books)
    with pytest.raises(RuntimeError):
        archive(books.at, LATER, tmp_path / "other", LATER, point=_stop_behind_the_file)
    [made] = (tmp_path / "other").iterdir()
    [moved] = books.archive()
    assert made.read_bytes() == moved.path.read_bytes()


def _stop_behind_the_file(name: str) -> None:
    raise RuntimeError(name)


def test_the_book_of_the_last_archive_is_the_book(books: Books) -> None:
    running(books)
    [moved] = books.archive()
    book = Book.load(moved.row.book)
    assert book.sequence == moved.row.last
    assert book.save() == moved.row.book


# --- what is held --------------------------------------------------------------------------------------------------------


async def held_in(books: Books, **asked: Any) -> dict[str, Any]:
    """What a script is told of positions, in each of the ways in which it can ask."""
    async with Database(books.at, now_ns=lambda: LATER) as database:
        positions = SqlPositionRepository(database)

        def plain(found: list[HeldPosition]) -> list[tuple[str, Position]]:
            return [(one.account, one.position) for one in found]

        return {
            "open": plain(await positions.get_open_positions(**asked)),
            "by strategy": plain(await positions.get_positions_by_strategy(s.STRATEGY)),
            "venues": await positions.get_net_across_venues(),
            "exposure": await positions.get_exposure(),
            "close-out": [(one.side, one.quantity) for one in await positions.get_close_out()],
        }


@pytest.mark.parametrize("records_max", [7, 50_000])
async def test_what_is_held_is_the_same_before_and_after(books: Books, records_max: int) -> None:
    """Entries at other prices than those before them: what is left has an average of its own, which no later fill tells."""
    trader = running(books)
    books.commit(
        trader.entry(), trader.exit(trader.trips - 1, "1.40000"), *(g for _ in range(2) for g in trader.round_trip())
    )
    before = await held_in(books)
    assert before["open"]
    assert books.archive(records_max=records_max)
    assert await held_in(books) == before
    books.commit(trader.exit(8, "1.41000"), *trader.round_trip())
    after = await held_in(books)
    assert after["open"] == []
    books.archive(records_max=records_max)
    assert await held_in(books) == after
    assert books.verify().lines()[1:] == []


async def test_what_a_strategy_holds_is_told_across_executions_that_were_archived(books: Books) -> None:
    first = Trader()
    books.commit(first.opening(), *first.round_trip(), first.entry(), first.closed())
    second = Trader("exec-2", number=2)
    books.commit(second.going_on(first), second.entry())
    [carried] = second.desk.book.trades.keys() - {"trexec-2-1"}
    books.commit(second.exit(0, "1.40000", carried), *second.round_trip(), second.closed())
    before = await held_in(books)
    assert before["by strategy"]
    books.archive()
    assert await held_in(books) == before
    assert books.verify().ok


async def test_what_was_held_before_the_archive_is_refused_and_what_was_held_after_is_told(books: Books) -> None:
    trader = running(books, trips=3)
    end = trader.now_ns + 1
    books.commit(trader.entry())
    async with Database(books.at, now_ns=lambda: LATER) as database:
        positions = SqlPositionRepository(database)
        then = await positions.get_positions_at(trader.now_ns + 1)
        books.archive()
        assert await positions.get_positions_at(trader.now_ns + 1) == then
        with pytest.raises(InputError, match="can no longer be told from the books"):
            await positions.get_positions_at(end)


async def test_whoever_follows_the_journal_is_told_where_it_begins(books: Books) -> None:
    running(books)
    [moved] = books.archive()
    with closing(Watch(books.at)) as watch:
        [run] = watch.runs(["paper-1"], 9)
        assert (run.archived, watch.run(s.RUN)) == (moved.row.last, run)
        assert [event.sequence for event in watch.events(s.RUN, run.archived, 99)] == list(
            range(run.archived + 1, run.last + 1)
        )
    async with Database(books.at, now_ns=lambda: LATER) as database:
        events = SqlEventRepository(database)
        assert len(await events.get_journal_since(s.RUN, run.archived)) == run.last - run.archived
        with pytest.raises(InputError, match=f"archived up to record {run.archived}"):
            await events.get_journal_since(s.RUN, run.archived - 1)


def archived_but_for_fills_that_stayed(books: Books) -> None:
    """An execution whose newest fills are in the archive's figures and in the tables, because a late one may come; it is over."""
    trader = running(books)
    last = r.SnapshotTaken(ts_ns=trader.now_ns, snapshot=structs.replace(SNAPSHOT, execution=s.RUN))
    books.commit(trader.desk.group(last))  # which stays, as the last record always does
    books.archive()
    books.commit(trader.closed())


async def test_what_is_held_is_the_same_behind_a_deletion_of_fills_that_the_archive_has_counted(books: Books) -> None:
    """They stay in the tables, because a late one may come; what was archived is there once and for all."""
    archived_but_for_fills_that_stayed(books)
    before = await held_in(books)
    assert before["open"]
    async with Database(books.at, now_ns=lambda: LATER) as database:
        assert await SqlFillRepository(database).delete_fills("paper", "EUR_USD")
    assert books.verify().ok
    assert await held_in(books) == before


@pytest.mark.parametrize("records_max", [5, 50_000])
@pytest.mark.parametrize("is_corrected", [True, False])
async def test_what_is_held_is_the_same_where_fills_were_removed_or_corrected_before_the_archive(
    books: Books, records_max: int, is_corrected: bool
) -> None:
    trader = running(books)
    books.commit(trader.closed())
    async with Database(books.at, now_ns=lambda: LATER) as database:
        fills = SqlFillRepository(database)
        last = (await fills.list_fills())[0]
        assert await fills.delete_all_fills()
        if is_corrected:
            corrected = structs.replace(last, quantity=last.quantity / 4, realised=Decimal(0))
            assert await fills.append_fill(s.RUN, corrected)
    before = await held_in(books)
    assert [held.quantity for _, held in before["open"]] == ([last.quantity / 4] if is_corrected else [])
    assert books.archive(records_max=records_max)
    assert await held_in(books) == before
    assert books.verify().lines()[1:] == []


@pytest.mark.parametrize("records_max", [7, 50_000])
async def test_a_fill_that_is_in_an_archive_is_not_appended_again(books: Books, records_max: int) -> None:
    trader = running(books)
    books.commit(trader.closed())
    async with Database(books.at, now_ns=lambda: LATER) as database:
        fills = SqlFillRepository(database)
        known = (await fills.list_fills(limit=1_000)).rows
        assert await fills.append_fills(s.RUN, known) == 0
        before = await held_in(books)
        books.archive(records_max=records_max)
        for fill in known:
            with pytest.raises(
                InputError, match=f"fill {fill.fill_id}: what was filled of EUR_USD at paper up to .* archive"
            ):
                await fills.append_fill(s.RUN, fill)
        assert await held_in(books) == before
        later = structs.replace(known[0], fill_id="later", ts_ns=known[0].ts_ns + 1)
        assert await fills.append_fill(s.RUN, later)
        assert not await fills.append_fill(s.RUN, later)
    assert books.verify().ok


async def test_a_fill_that_stayed_and_was_removed_since_is_counted_and_not_appended_again(books: Books) -> None:
    archived_but_for_fills_that_stayed(books)
    before = await held_in(books)
    async with Database(books.at, now_ns=lambda: LATER) as database:
        fills = SqlFillRepository(database)
        stayed = (await fills.list_fills())[0]
        assert not await fills.append_fill(s.RUN, stayed)
        await fills.delete_all_fills()
        with pytest.raises(InputError, match="is in an archive"):
            await fills.append_fill(s.RUN, structs.replace(stayed, quantity=stayed.quantity / 4))
    assert await held_in(books) == before
