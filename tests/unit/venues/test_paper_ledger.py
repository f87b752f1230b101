"""The paper venue's books on disk: after a kill anywhere they are what the last commit made them, and damage is noticed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.matching_desk import D
from tests.unit.domain.matching_scripts import Move, Play, Wish, accounts, busy_day, by_tick, settings
from tests.unit.venues.paper_desk import ACCOUNT, Killed, allow, paper, read, request, ticks
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import Matcher, PaperAccount, PaperSettings
from tradekeel.domain.messages import VenueTransaction
from tradekeel.domain.orders import AttachedExit, OrderType
from tradekeel.domain.ticks import Tick
from tradekeel.errors import OutcomeUnknown, StoreCorrupt, StoreTooNew, StoreUnavailable, VenueUnreachable
from tradekeel.venues.paper import PaperLedger

ROOT = Path(__file__).parents[3]
QUOTES = [f"{D('1.10000') + D('0.00010') * n}/{D('1.10010') + D('0.00010') * n}" for n in range(12)]
EXITS = (
    AttachedExit(client_order_id="sl", type=OrderType.TRAILING_STOP, trail_distance=D("0.00050")),
    AttachedExit(client_order_id="tp", type=OrderType.LIMIT, price=D("1.10090")),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "paper-1.ledger"


@pytest.mark.untraced
@given(accounts, settings, st.integers(0, 10**9).map(busy_day))
@hypothesis.settings(max_examples=hypothesis.settings().max_examples // 3)  # every commit waits for the disk
def test_opened_again_after_every_commit_it_says_what_the_matcher_knows(
    tmp_path_factory: pytest.TempPathFactory, account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]
):
    folder = tmp_path_factory.mktemp("ledger")
    ledger = PaperLedger(folder / "ledger", account)
    assert ledger.open() is None
    commits = 0

    def save(matcher: Matcher) -> Matcher:
        nonlocal commits
        if matcher.has_changes:
            ledger.queue("match", matcher.take_changes())
            ledger.flush()
            commits += 1
            if commits % 5 == 0:
                assert read(folder / "ledger", folder / "copy", account) == matcher.state()
        return matcher

    def show(matcher: Matcher, shown: list[Tick]) -> list[VenueTransaction]:
        told: list[VenueTransaction] = []
        for tick in shown:
            told += by_tick(matcher, [tick])
            save(matcher)
        return told

    play = Play(account, terms, show, save)
    record = play.run(script)
    ledger.queue("checkpoint", play.matcher.take_changes())
    ledger.flush()
    assert read(folder / "ledger", folder / "copy", account) == play.matcher.state()
    assert ledger.entries(0, 10**6) == record
    ledger.close()


class TestKilled:
    """The same day, killed at each moment around each commit, opened again and finished."""

    @staticmethod
    async def day(file: Path, point=None) -> list[VenueTransaction]:
        """Trade until it is done, as a client does that asks before it repeats itself."""
        venue = paper(file, point=point)
        await venue.connect()
        window = ticks(*QUOTES)

        async def not_yet(kind: str, client_order_id: str, position: int) -> bool:
            record = await venue.transactions(0)
            done = any(e.kind == kind and e.client_order_id == client_order_id for e in record)
            return venue.position == position and not done

        venue.advance(window, 1)
        if await not_yet("order_accepted", "e", 1):
            await venue.place(request("e", "buy", 1000, attached=EXITS), allow)
        for index in range(1, len(QUOTES)):
            if await not_yet("order_accepted", "x", 3):
                await venue.place(request("x", "buy", 500, "limit", price="1.00000"), allow)
            if await not_yet("order_amended", "x", 3):
                await venue.amend("x", D("1.00010"), allow)
            if await not_yet("order_canceled", "x", 5):
                await venue.cancel("x", allow)
            await venue.match(window, index)
        record = list(await venue.transactions(0))
        await venue.close()
        return record

    async def test_at_any_moment_it_finishes_with_the_same_record(self, tmp_path: Path):
        seen: list[str] = []
        whole = await self.day(tmp_path / "whole", seen.append)
        acts = {"create", "open", "place", "amend", "cancel", "match", "checkpoint"}
        assert {name.split(".")[1] for name in seen} == acts
        for number in range(len(seen)):
            left = iter(range(number))

            def kill(name: str, left: Iterator[int] = left) -> None:
                if next(left, None) is None:
                    raise Killed(name)

            with pytest.raises(Killed):
                await self.day(tmp_path / f"killed-{number}", kill)
            assert await self.day(tmp_path / f"killed-{number}") == whole

    async def test_before_the_commit_nothing_has_happened_and_after_it_everything(self, file: Path, tmp_path: Path):
        for moment, there in (("paper.place.before_commit", False), ("paper.place.after_commit", True)):

            def kill(name: str, moment: str = moment) -> None:
                if name == moment:
                    raise Killed(name)

            path = tmp_path / moment
            venue = paper(path, point=kill)
            await venue.connect()
            with pytest.raises(Killed):
                await venue.place(request("a", "buy", 1000), allow)
            again = paper(path)
            await again.connect()
            assert (await again.order("a") is not None) is there
            assert len(await again.transactions(0)) == 1 + there
            await again.close()


A_REAL_PROCESS = """
import os, pathlib, signal, sys, anyio
from tests.unit.venues.paper_desk import allow, paper, request, ticks

def kill(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    venue, window = paper(pathlib.Path(sys.argv[1]), point=kill), ticks("1.10000/1.10010", "1.10020/1.10030")
    await venue.connect()
    venue.advance(window, 1)
    await venue.place(request("a", "buy", 1000), allow)
    await venue.match(window, 1)

anyio.run(main)
"""


@pytest.mark.parametrize(
    ("moment", "entries"),
    [
        ("paper.create.before_commit", 0),
        ("paper.create.after_commit", 0),
        ("paper.open.before_commit", 0),
        ("paper.place.before_commit", 1),
        ("paper.place.after_commit", 2),
        ("paper.match.before_commit", 2),
        ("paper.match.after_commit", 3),
    ],
)
def test_a_process_that_is_killed_leaves_what_it_had_committed(file: Path, moment: str, entries: int):
    ended = subprocess.run([sys.executable, "-c", A_REAL_PROCESS, str(file), moment], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    ledger = PaperLedger(file, ACCOUNT)
    state = ledger.open()
    found = ledger.entries(0, 10)
    ledger.close()
    assert [entry.sequence for entry in found] == list(range(1, entries + 1))
    assert (state is None) is (entries == 0)
    if state is not None:
        assert state.standing.sequence == entries
        assert len(state.orders) == (entries == 2)
        assert len(state.positions) == (entries == 3)


async def filled(file: Path) -> None:
    """A ledger with an open position, a working order and seven entries or so."""
    venue, window = paper(file), ticks(*QUOTES)
    await venue.connect()
    venue.advance(window, 1)
    await venue.place(request("e", "buy", 1000, attached=EXITS), allow)
    await venue.match(window, 1)
    await venue.match(window, 2)
    await venue.close()


def change(file: Path, statement: str, *values: object) -> None:
    """Do something to the file behind the venue's back."""
    connection = sqlite3.connect(file)
    with connection:
        assert connection.execute(statement, values).rowcount != 0
    connection.close()


def scribble(file: Path) -> None:
    """Something else stands where the ledger should be."""
    file.write_bytes(b"this is not a database, whatever it is called" * 100)


def crc32_of(file: Path) -> int:
    """What tells that a file has not changed."""
    return crc32(file.read_bytes())


class TestDamage:
    @pytest.mark.parametrize("table", ["account", "orders", "positions"])
    async def test_of_the_state_is_noticed_on_opening(self, file: Path, table: str):
        await filled(file)
        column = "standing" if table == "account" else "payload"
        change(file, f"UPDATE {table} SET {column} = CAST({column} || x'00' AS BLOB)")
        with pytest.raises(StoreCorrupt, match="damaged"):
            await paper(file).connect()

    async def test_of_an_entry_is_noticed_on_reading(self, file: Path):
        await filled(file)
        with closing(sqlite3.connect(file)) as db:
            payload = db.execute("SELECT payload FROM transactions WHERE sequence = 3").fetchone()[0]
        change(file, "UPDATE transactions SET payload = ? WHERE sequence = 3", payload[:-1] + bytes([payload[-1] ^ 1]))
        venue = paper(file)
        await venue.connect()
        assert len(await venue.transactions(0, 2)) == 2
        with pytest.raises(StoreCorrupt, match="entry 3 is damaged"):
            await venue.transactions(0)

    async def test_of_a_right_checksum_over_nonsense_is_noticed(self, file: Path):
        await filled(file)
        change(file, "UPDATE account SET standing = ?, crc = ?", b"nonsense", crc32(b"nonsense"))
        with pytest.raises(StoreCorrupt, match="cannot be read"):
            await paper(file).connect()

    @pytest.mark.parametrize("sequence", [1, 3, "last"])
    async def test_that_leaves_a_gap_is_noticed_on_opening(self, file: Path, sequence: object):
        await filled(file)
        which = "(SELECT max(sequence) FROM transactions)" if sequence == "last" else str(sequence)
        change(file, f"DELETE FROM transactions WHERE sequence = {which}")
        with pytest.raises(StoreCorrupt, match="the record has"):
            await paper(file).connect()

    async def test_of_the_file_itself(self, file: Path):
        scribble(file)
        with pytest.raises(StoreCorrupt, match="damaged"):
            await paper(file).connect()

    async def test_of_taking_another_database_for_it(self, file: Path):
        change(file, "CREATE TABLE something (else_ INTEGER)")
        with pytest.raises(StoreCorrupt, match="not a paper venue's ledger"):
            await paper(file).connect()
        change(file, "PRAGMA user_version = 1")
        with pytest.raises(StoreCorrupt, match="not a paper venue's ledger"):
            await paper(file).connect()


async def test_a_file_of_a_newer_version_is_not_touched(file: Path):
    await filled(file)
    change(file, "PRAGMA user_version = 99")
    before = crc32_of(file)
    with pytest.raises(StoreTooNew):
        await paper(file).connect()
    assert crc32_of(file) == before


async def test_a_file_that_cannot_be_made_is_said_so(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="no such folder"):
        await paper(tmp_path / "no such folder" / "ledger").connect()


async def test_it_keeps_what_it_promises_about_the_disk(file: Path):
    ledger = PaperLedger(file, ACCOUNT)
    ledger.open()
    connection = ledger._open_connection()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    ledger.close()


def test_the_disks_thread_may_flush_while_the_next_act_is_being_handed_over(file: Path):
    """What is handed over then goes with the next flush; the one in between has nothing to write, and no reason to fail."""
    ledger = PaperLedger(file, ACCOUNT)
    assert ledger.open() is None
    flushed: list[bool] = []

    class Meanwhile(tuple[VenueTransaction, ...]):
        """Entries during whose encoding the other thread has its turn."""

        __slots__ = ()

        def __iter__(self) -> Iterator[VenueTransaction]:
            ledger.flush()
            flushed.append(ledger.is_durable)
            return super().__iter__()

    matcher = Matcher(ACCOUNT, CATALOGUE, PaperSettings(), None)
    matcher.open(0)
    changes = matcher.take_changes()
    ledger.queue("open", structs.replace(changes, transactions=Meanwhile(changes.transactions)))
    flushed.append(ledger.is_durable)
    ledger.flush()
    assert flushed == [True, False], "it had its turn, and there was more to write afterwards"
    assert ledger.is_durable
    assert len(ledger.entries(0, 10)) == len(changes.transactions)
    ledger.close()


class TestFailure:
    """A ledger that fails under way: the disk is full, a page is bad. Here a table is gone for a while."""

    @staticmethod
    def breaks(file: Path) -> None:
        change(file, "ALTER TABLE orders RENAME TO gone")

    @staticmethod
    def mended(file: Path) -> None:
        change(file, "ALTER TABLE gone RENAME TO orders")

    async def test_of_an_order_is_an_unknown_outcome_and_whatever_is_asked_next_fails_as_the_ledger_did(
        self, file: Path
    ):
        venue = paper(file)
        await venue.connect()
        self.breaks(file)
        with pytest.raises(OutcomeUnknown):
            await venue.place(request("a", "buy", 1000), allow)
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            await venue.place(request("b", "buy", 1000), allow)
        with pytest.raises(StoreUnavailable):
            await venue.positions()
        self.mended(file)
        await venue.connect()
        assert await venue.order("a") is None
        assert len(await venue.transactions(0)) == 1
        await venue.place(request("c", "buy", 1000), allow)
        await venue.close()

    async def test_of_a_match_is_a_failure_of_the_store(self, file: Path):
        venue, window = paper(file), ticks(*QUOTES)
        await venue.connect()
        venue.advance(window, 1)
        await venue.place(request("a", "buy", 1000), allow)
        self.breaks(file)
        with pytest.raises(StoreUnavailable):
            await venue.match(window, 1)
        self.mended(file)
        await venue.connect()
        assert venue.position == 1
        await venue.match(window, 1)
        assert [p.quantity for p in await venue.positions()] == [1000]
        await venue.close()

    async def test_reaches_every_act_that_was_to_share_the_commit(self, file: Path):
        ledger = PaperLedger(file, ACCOUNT)
        ledger.open()
        matcher = Matcher(ACCOUNT, CATALOGUE, PaperSettings())
        matcher.open()
        ledger.queue("open", matcher.take_changes())
        ledger.flush()
        change(file, "ALTER TABLE account RENAME TO gone")  # it is written last: both orders are under way by then
        for name in ("a", "b"):
            matcher.place(request(name, "buy", 1000))
            ledger.queue("place", matcher.take_changes())
        for _ in range(2):  # the second finds nothing queued, and must not take that for success
            with pytest.raises(StoreUnavailable):
                ledger.flush()
        assert not ledger.is_durable

    async def test_of_closing_is_told_and_the_file_is_let_go(self, file: Path):
        venue, window = paper(file), ticks(*QUOTES)
        await venue.connect()
        venue.advance(window, 1)
        change(file, "ALTER TABLE account RENAME TO gone")
        with pytest.raises(StoreUnavailable):
            await venue.close()
        with pytest.raises(VenueUnreachable):
            await venue.balance()
