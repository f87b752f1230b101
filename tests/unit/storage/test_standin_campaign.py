"""Any interleaving of faults, kills and returns: the server's journal is what was acknowledged, in order, once.

A round draws everything from its seed: a wire that fails before commits, after them, or leaves transactions behind that end
later or never; outages; a process that dies at any point that it passes, and starts again from the disk; batches of two
executions. The model beside it is a list of what was acknowledged. What was under way in a kill may be there, whole, or not
at all.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.servers import Clock, Server
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.records import Group, Record
from tradekeel.domain.recovery import fold
from tradekeel.errors import GroupRefused, StoreAway
from tradekeel.storage.breaker import BreakerStatus
from tradekeel.storage.memoryspool import MemorySpool
from tradekeel.storage.remote import StoreMode
from tradekeel.storage.spool import Spool
from tradekeel.storage.standin import SpoolingBooks
from tradekeel.storage.verify import verify

pytestmark = pytest.mark.untraced
"""The lines are those of the stand-in's own tests."""

ROUNDS = {"dev": 12, "ci": 24, "campaign": 1_000}
STEPS = 120
LIVES_MAX = 12
ACCOUNTS = {"exec-1": "paper-1", "exec-2": "paper-2"}
FAULTS = ("", "", "", "before", "after", "left to end", "left to die")


class Killed(BaseException):
    """The process dies here."""


class Trader:
    """Makes the groups of one execution, and knows from the journal alone what it has done."""

    def __init__(self, run: str, journal: list[Record]) -> None:
        self.desk = s.Desk(run, account=ACCOUNTS[run])
        self.desk.book = fold(Book(), iter(enumerate(journal, start=1))).book
        decided = [record for record in journal if isinstance(record, r.DecisionTaken)]
        filled = [record for record in journal if isinstance(record, r.VenueReported) and record.transaction.fill]
        self.desk.orders = len(decided)
        self.filled = len(filled)
        self.begun = bool(journal)

    def next(self, chance: random.Random) -> Group:
        if not self.begun:
            self.begun = True
            return self.desk.opening()
        kind = chance.random()
        if kind < 0.1:
            return s.group(checkpoints=(s.checkpoint(self.desk.book.sequence, run=self.desk.run),), run=self.desk.run)
        if kind < 0.5 and self.filled < self.desk.orders:
            self.filled += 1
            return self.desk.filled(self.filled)
        return self.desk.decision()


class Round:
    """One round, from empty books to the end."""

    def __init__(self, folder: Path, empty_books: Path, seed: int, *, memory: bool) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.path = folder / f"server-{seed}.db"
        self.folder = folder / f"spool-{seed}"
        shutil.copy(empty_books, self.path)
        self.server = Server(self.path, self.clock)
        self.server.point = self._point
        self.memory = MemorySpool() if memory else None
        self.acknowledged: dict[str, list[Record]] = {run: [] for run in ACCOUNTS}  # the model
        self.under_way: list[Group] = []
        self.passes_left: int | None = None
        self.lives = 0
        self.modes: set[StoreMode] = set()
        self.breakers: set[BreakerStatus] = set()

    # --- a life ----------------------------------------------------------------------------------------------------------

    def _point(self, name: str) -> None:
        if self.passes_left is not None:
            self.passes_left -= 1
            if self.passes_left == 0:
                raise Killed

    def _open(self) -> SpoolingBooks:
        segment_bytes = self.chance.choice([1, 9_000, 10**6])
        return SpoolingBooks(
            self.server,
            self.server.load,
            self.memory or Spool.open(self.folder, segment_bytes=segment_bytes, point=self._point),
            monotonic_ns=self.clock,
            now_ns=self.clock.utc,
            pause=lambda: self.clock.pass_s(0.02),
            point=self._point,
        )

    def start(self) -> None:
        """As a daemon does: the books are there when the server is, and everything follows from what was loaded."""
        self.lives += 1
        self.books = self._open()
        while True:
            try:
                self.books.settle()
                break
            except StoreAway:
                self.clock.pass_s(self.chance.choice([0.1, 10, 31]))
                self.server.up = self.server.up or self.chance.random() < 0.3
        self._compare()
        self._load()

    def _load(self) -> None:
        traders = {}
        for run, account in ACCOUNTS.items():
            loaded = self.books.load(account)
            assert [record for _, record in loaded.journal] == self.acknowledged[run]
            traders[run] = Trader(run, self.acknowledged[run])
        self.traders = traders

    def _compare(self) -> None:
        """The server has what was acknowledged, and what was under way in a kill whole or not at all."""
        found = {run: self.server.journal(run) for run in ACCOUNTS}
        perhaps = {run: journal.copy() for run, journal in self.acknowledged.items()}
        for group in self.under_way:
            perhaps[group.execution].extend(group.records)
        assert found in (self.acknowledged, perhaps)
        self.acknowledged = found
        self.under_way = []

    # --- what happens ----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        kind = self.chance.random()
        if kind < 0.6:
            self._commit()
        elif kind < 0.7:
            self.books.advance()
        elif kind < 0.8:
            self.clock.pass_s(self.chance.choice([0.01, 1, 31]))
        elif kind < 0.88:
            self.server.up = self.chance.random() < 0.5
        elif kind < 0.97:
            self.server.faults.extend(self.chance.choices(FAULTS, k=self.chance.randrange(1, 8)))
        else:
            try:
                self._load()
            except StoreAway:
                assert self.books.state.mode is StoreMode.AWAY
        self.modes.add(self.books.state.mode)
        self.breakers.add(self.books.state.breaker)

    def _commit(self) -> None:
        runs = self.chance.choices(list(ACCOUNTS), k=self.chance.randrange(1, 4))
        groups = [self.traders[run].next(self.chance) for run in runs]
        hopeless = None
        if self.chance.random() < 0.05:
            hopeless = s.group(s.noted(), rows=(s.trade(1, metadata={"": object()}),), run=runs[0])
            groups.insert(self.chance.randrange(1, len(groups) + 1), hopeless)
        self.under_way = [group for group in groups if group is not hopeless]
        results = self.books.commit(groups)
        for group, result in zip(groups, results, strict=True):
            if isinstance(result, GroupRefused):
                assert group is hopeless
                continue
            journal = self.acknowledged[group.execution]
            journal.extend(group.records)
            assert result == (len(journal) - len(group.records) + 1, len(journal))
        self.under_way = []

    def go(self, *, kills: bool) -> None:
        self._live()
        for _ in range(STEPS):
            try:
                self.step()
            except Killed:
                self._live()
            if kills and self.passes_left is None and self.lives < LIVES_MAX and self.chance.random() < 0.1:
                self.passes_left = self.chance.randrange(1, 25)
        self.passes_left = None
        self.server.up = True
        self.server.faults.clear()
        self.clock.pass_s(31)
        self.books.settle()
        self._compare()
        assert self.books.state.batches == 0
        assert self.folder.exists() != (self.memory is not None)
        self.books.close()
        self.server.store.close()
        verdict = verify(self.path)
        assert verdict.ok, verdict.lines()
        self.path.unlink()  # of many rounds, what failed stays

    def _live(self) -> None:
        """Start, and again where the start itself is killed."""
        while True:
            self.passes_left = self.chance.randrange(1, 40) if self.lives and self.chance.random() < 0.3 else None
            try:
                self.start()
            except Killed:
                continue
            self.passes_left = None
            return


@pytest.fixture
def rounds(seed: int, profile: str) -> Iterator[int]:
    """The seeds of the rounds; the one that failed is the last that is printed."""

    def seeds() -> Iterator[int]:
        chance = random.Random(seed)
        for _ in range(ROUNDS[profile]):
            one = chance.randrange(2**32)
            print(f"round {one}")
            yield one

    return seeds()


def test_whatever_fails_is_killed_and_comes_back_the_server_has_what_was_acknowledged_once(
    tmp_path, empty_books, rounds
):
    lives, modes, breakers = 0, set[StoreMode](), set[BreakerStatus]()
    for seed in rounds:
        one = Round(tmp_path, empty_books, seed, memory=False)
        one.go(kills=True)
        lives += one.lives
        modes |= one.modes
        breakers |= one.breakers
    print(f"{lives} lives")
    assert {StoreMode.DIRECT, StoreMode.AWAY} <= modes
    assert {BreakerStatus.CLOSED, BreakerStatus.OPEN} <= breakers


def test_what_waits_in_memory_is_brought_there_as_well_while_the_process_lives(tmp_path, empty_books, rounds):
    for seed in rounds:
        Round(tmp_path, empty_books, seed, memory=True).go(kills=False)
