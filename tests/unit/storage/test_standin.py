"""Books on a server that may be away: nothing is lost, nothing comes twice, and everybody can see how it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.servers import SECOND, Clock, Server
from tradekeel.domain import records as r
from tradekeel.domain.records import Group
from tradekeel.errors import AlreadyRunning, Defect, GroupRefused, LeaseLost, StoreAway, StoreCorrupt, StoreUnavailable
from tradekeel.storage.breaker import Breaker, BreakerStatus
from tradekeel.storage.memoryspool import MemorySpool
from tradekeel.storage.remote import StoreMode, StoreState
from tradekeel.storage.spool import Spool
from tradekeel.storage.standin import PIECE_BATCHES_MAX, SpoolingBooks
from tradekeel.storage.store import Written
from tradekeel.storage.verify import verify

MARGIN_S = 5


class Killed(BaseException):
    """What a test raises where a process would die."""


class Desk:
    """A server, a spool's folder, and the books between them, which may be killed and opened again."""

    def __init__(self, folder: Path, empty_books: Path, *, memory: bool = False) -> None:
        self.clock = Clock()
        self.path = folder / "server.db"
        shutil.copy(empty_books, self.path)
        self.server = Server(self.path, self.clock)
        self.folder = folder / "spool"
        self.desk = s.Desk()
        self.lease_ends_ns: int | None = None
        self.renew_every_ns: int | None = None
        self.breaker = Breaker()
        self.point: Callable[[str], None] = lambda name: None
        self.memory = MemorySpool(bytes_max=30_000) if memory else None
        self.spool_options: dict[str, Any] = {}
        self.books = self.open()

    def open(self) -> SpoolingBooks:
        """As a process that starts: with nothing but what is on the disk."""
        made = Spool.open(self.folder, point=self._passed, **self.spool_options) if self.memory is None else self.memory
        self.books = SpoolingBooks(
            self.server,
            self.server.load,
            made,
            monotonic_ns=self.clock,
            now_ns=self.clock.utc,
            pause=lambda: self.clock.pass_s(0.02),
            breaker=self.breaker,
            lease_left_ns=lambda: None if self.lease_ends_ns is None else self.lease_ends_ns - self.clock(),
            lease_margin_ns=MARGIN_S * SECOND,
            renew_every_ns=self.renew_every_ns,
            point=self._passed,
        )
        return self.books

    def begin(self) -> Desk:
        self.books.settle()
        assert self.books.commit([self.desk.opening()]) == [Written(1, 3)]
        return self

    def _passed(self, name: str) -> None:
        self.point(name)

    def commit(self, *groups: Group) -> list[Any]:
        return list(self.books.commit(list(groups)))

    def decide(self, count: int) -> None:
        """So many decisions, each a batch of its own."""
        for _ in range(count):
            [written] = self.commit(self.desk.decision())
            assert isinstance(written, Written)
            assert written.last == self.desk.book.sequence

    @property
    def state(self) -> StoreState:
        return self.books.state

    def is_whole(self) -> None:
        """The server has everything that the desk has done, once, and its tables follow from it."""
        assert self.server.store.last_sequence(s.RUN) == self.desk.book.sequence
        assert sum(isinstance(record, r.DecisionTaken) for record in self.server.journal()) == self.desk.orders
        verdict = verify(self.path)
        assert verdict.ok, verdict.lines()


@pytest.fixture
def desk(tmp_path: Path, empty_books: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, empty_books).begin()
    yield made
    made.books.close()
    made.server.store.close()


@pytest.fixture
def forgetful(tmp_path: Path, empty_books: Path) -> Iterator[Desk]:
    """One whose books wait in memory."""
    made = Desk(tmp_path, empty_books, memory=True).begin()
    yield made
    made.books.close()
    made.server.store.close()


# --- while the server is there ---------------------------------------------------------------------------------------


def test_commits_go_straight_to_the_server_and_nothing_is_written_here(desk):
    desk.decide(3)
    assert desk.commit(desk.desk.decision(), desk.desk.filled(1)) == [Written(7, 7), Written(8, 8)]
    assert (desk.state.mode, desk.state.batches, desk.state.reason) == (StoreMode.DIRECT, 0, "")
    assert desk.server.store.last_batch() == 5
    assert list(desk.folder.iterdir()) == []
    desk.is_whole()


def test_nothing_to_commit_is_nothing(desk):
    assert desk.commit() == []
    assert desk.server.store.last_batch() == 1


def test_a_group_that_a_rule_refuses_goes_back_to_its_sender_as_ever(desk):
    refused, written = desk.commit(s.group(s.noted(), rows=(s.order(1, trade_id="nowhere"),)), desk.desk.decision())
    assert isinstance(refused, GroupRefused)
    assert written == Written(4, 4)
    desk.is_whole()


def test_nothing_is_committed_before_the_server_was_asked_what_it_has(desk):
    with pytest.raises(Defect, match="settle"):
        desk.open().commit([desk.desk.decision()])


# --- when it goes ----------------------------------------------------------------------------------------------------


def test_what_it_cannot_take_is_kept_here_with_the_numbers_that_it_will_have(desk):
    desk.decide(2)
    desk.server.up = False
    assert desk.commit(desk.desk.decision(), desk.desk.filled(1), desk.desk.filled(2)) == [
        Written(6, 6),
        Written(7, 7),
        Written(8, 8),
    ]
    desk.decide(4)
    assert (desk.state.mode, desk.state.batches) == (StoreMode.AWAY, 5)
    assert desk.state.reason == "the server: connection refused"
    assert desk.server.store.last_sequence(s.RUN) == 5
    desk.server.up = True
    desk.clock.pass_s(30)
    desk.books.settle()
    assert (desk.state.mode, desk.state.batches, desk.state.size_bytes) == (StoreMode.DIRECT, 0, 0)
    desk.decide(1)
    desk.is_whole()
    assert desk.server.store.last_batch() == 9


@pytest.mark.parametrize("fault", ["before", "after", "left to end", "left to die"])
def test_a_batch_of_which_nobody_knows_whether_it_was_applied_is_there_once(desk, fault):
    desk.server.faults.append(fault)
    desk.decide(1)
    assert (desk.state.mode, desk.state.batches) == (StoreMode.AWAY, 1)
    desk.decide(1)
    assert desk.state.mode is StoreMode.DIRECT, "one failure is no outage: the next commit has tried again"
    desk.decide(1)
    desk.is_whole()
    assert desk.server.store.last_batch() == 4


@pytest.mark.parametrize("fault", ["before", "after", "left to end", "left to die"])
def test_a_commit_that_fails_in_the_middle_of_the_drain_loses_and_doubles_nothing(desk, fault):
    desk.server.up = False
    desk.decide(10)
    desk.server.up = True
    desk.server.faults.extend(["", "", fault])
    desk.clock.pass_s(30)
    assert not desk.books.advance()
    assert (desk.state.mode, desk.state.breaker) == (StoreMode.AWAY, BreakerStatus.CLOSED)
    assert desk.state.batches == 8
    desk.books.settle()
    desk.is_whole()


def test_five_failures_in_a_row_and_the_server_is_left_alone_for_thirty_seconds(desk):
    desk.server.up = False
    desk.decide(5)
    assert desk.state.breaker is BreakerStatus.OPEN
    asked = desk.server.calls.total()
    desk.clock.pass_s(29.9)
    desk.decide(20)
    assert not desk.books.advance()
    assert desk.server.calls.total() == asked
    desk.clock.pass_s(0.1)
    desk.decide(3)
    assert desk.server.calls.total() == asked + 1, "one trial, which fails"
    assert desk.state.breaker is BreakerStatus.OPEN
    desk.clock.pass_s(30)
    desk.server.up = True
    desk.decide(1)
    assert (desk.state.mode, desk.state.breaker) == (StoreMode.DIRECT, BreakerStatus.CLOSED)
    desk.is_whole()


def test_a_server_that_answers_questions_and_takes_nothing_is_left_alone_too(desk):
    """Out of space, say: connections and questions succeed, and it is commits that count."""
    desk.server.faults.extend(["before"] * 6)
    desk.decide(5)
    assert desk.state.breaker is BreakerStatus.OPEN
    desk.clock.pass_s(30)
    desk.decide(1)
    assert desk.state.breaker is BreakerStatus.OPEN
    desk.clock.pass_s(30)
    desk.decide(1)
    desk.is_whole()


def test_a_slow_server_costs_its_deadline_five_times_and_then_nothing(desk):
    desk.server.up, desk.server.slow = False, True
    before_ns = desk.clock.ns
    desk.decide(50)
    assert desk.clock.ns - before_ns == 25 * SECOND


def test_what_waits_is_brought_in_pieces_and_commits_line_up_behind_it(desk):
    desk.server.up = False
    desk.decide(200)
    desk.server.up = True
    desk.clock.pass_s(30)
    assert desk.books.advance()
    assert (desk.state.mode, desk.state.batches) == (StoreMode.DRAINING, 200 - PIECE_BATCHES_MAX)
    desk.decide(1)
    assert desk.state.batches == 200 - 2 * PIECE_BATCHES_MAX + 1
    while desk.books.advance():
        pass
    assert desk.state.mode is StoreMode.DIRECT
    desk.is_whole()


def test_a_piece_is_ended_by_its_time_and_still_gains_on_those_who_commit(desk):
    desk.server.up = False
    desk.decide(10)
    desk.server.up = True
    desk.clock.pass_s(30)
    desk.server.point = lambda name: desk.clock.pass_s(1)
    for waiting in range(8, 0, -1):
        assert desk.state.batches == waiting + 2
        desk.decide(1)
        assert desk.state.batches == waiting + 1
    desk.books.settle()
    desk.is_whole()


def test_an_order_that_is_decided_while_it_drains_does_not_wait_for_long(desk):
    desk.server.up = False
    desk.decide(100)
    desk.server.up = True
    desk.clock.pass_s(30)
    desk.server.point = lambda name: desk.clock.pass_s(0.005)
    before_ns = desk.clock.ns
    desk.decide(1)
    assert desk.state.mode is StoreMode.DRAINING
    assert desk.clock.ns - before_ns <= 25_000_000
    desk.books.settle()
    desk.is_whole()


def test_an_execution_that_begins_while_the_server_is_away_has_its_numbers(desk):
    other = s.Desk("exec-2", account="paper-2")
    desk.server.up = False
    assert desk.commit(other.opening(), desk.desk.decision(), other.decision()) == [
        Written(1, 3),
        Written(4, 4),
        Written(4, 4),
    ]
    desk.server.up = True
    desk.books.settle()
    assert len(desk.server.journal("exec-2")) == 4
    desk.is_whole()


def test_of_an_execution_that_was_never_seen_nothing_is_promised_while_the_server_is_away(desk):
    desk.server.up = False
    with pytest.raises(StoreUnavailable, match="nobody here knows where the journal of execution exec-7 ends"):
        desk.commit(s.group(s.noted(), run="exec-7"))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_no_store_would_take_is_refused_also_while_the_server_is_away(desk, place):
    desk.server.up = False
    groups = [desk.desk.decision(), desk.desk.decision()]
    groups.insert(place, s.group(s.noted(), rows=(s.trade(9, metadata={"when": object()}),)))
    results = desk.commit(*groups)
    refused = results.pop(place)
    assert isinstance(refused, GroupRefused)
    assert "execution exec-1 was refused" in str(refused)
    assert results == [Written(4, 4), Written(5, 5)]
    desk.server.up = True
    desk.books.settle()
    desk.is_whole()


def test_what_breaks_a_rule_of_its_table_is_refused_also_while_the_server_is_away(desk):
    desk.server.up = False
    [refused] = desk.commit(s.group(s.noted(), rows=(s.order(9, quantity=Decimal(-1)),)))
    assert isinstance(refused, GroupRefused)
    assert "breaks the rule ck_orders_quantity_not_negative" in str(refused)
    desk.decide(1)
    desk.server.up = True
    desk.books.settle()
    desk.is_whole()


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_batch_with_nothing_to_keep_has_its_number_all_the_same(desk, fault):
    desk.server.faults.append(fault)
    [refused] = desk.commit(s.group(s.noted(), rows=(s.trade(9, metadata={"when": object()}),)))
    assert isinstance(refused, GroupRefused)
    desk.decide(2)
    desk.is_whole()


# --- a process that starts -------------------------------------------------------------------------------------------


def test_what_waits_when_it_is_killed_is_there_when_it_starts_before_anything_is_loaded(desk):
    desk.decide(1)
    desk.server.up = False
    desk.decide(3)
    desk.server.up = True
    books = desk.open()
    loaded = books.load("paper-1")
    assert [sequence for sequence, _ in loaded.journal] == list(range(1, 8))
    desk.decide(2)
    desk.is_whole()


def test_where_the_server_is_away_it_can_be_waited_for(desk):
    desk.server.up = False
    desk.decide(2)
    books = desk.open()
    for _ in range(5):
        with pytest.raises(StoreAway, match=r"connection refused\).* 2 batches wait"):
            books.settle()
    asked = desk.server.calls.total()
    with pytest.raises(StoreAway, match="it is tried again in 30 s"):
        books.settle()
    with pytest.raises(StoreAway):
        books.load("paper-1")
    assert desk.server.calls.total() == asked
    desk.server.up = True
    desk.clock.pass_s(30)
    books.settle()
    desk.is_whole()


def test_bringing_it_there_can_be_ended_between_two_pieces(desk):
    desk.server.up = False
    desk.decide(150)
    desk.server.up = True
    books = desk.open()

    def stop() -> None:
        raise Killed

    with pytest.raises(Killed):
        books.settle(stop)
    assert books.state.batches == 150 - PIECE_BATCHES_MAX
    books.close()
    desk.open().settle()
    desk.is_whole()


def test_an_account_that_is_started_again_meanwhile_waits_for_the_server_too(desk):
    desk.server.up = False
    desk.decide(1)
    with pytest.raises(StoreAway):
        desk.books.load("paper-1")
    desk.server.up = True
    assert len(desk.books.load("paper-1").journal) == 4


def test_a_server_that_goes_while_an_account_is_loaded_is_away_and_what_comes_then_is_kept(desk):
    desk.server.up = False
    with pytest.raises(StoreAway, match="connection reset"):
        desk.books.load("paper-1")
    assert (desk.state.mode, desk.state.batches) == (StoreMode.AWAY, 0)
    desk.decide(2)
    desk.server.up = True
    desk.decide(1)
    desk.is_whole()


def test_the_lease_is_renewed_while_a_long_journal_is_read(desk):
    """Or who stands by takes over in the middle of that, reads as long, and is taken over from in its turn."""
    desk.renew_every_ns = 10 * SECOND
    books = desk.open()
    books.settle()
    before = desk.server.store.last_batch()
    for _ in range(3):
        books.load("paper-1", lambda: desk.clock.pass_s(9))
    assert desk.server.store.last_batch() == before + 1
    books.load("paper-1", lambda: desk.clock.pass_s(10))
    assert desk.server.store.last_batch() == before + 2
    desk.decide(1)
    desk.is_whole()


def test_a_server_that_goes_while_the_lease_is_renewed_so_is_away_and_the_account_waits_for_it(desk):
    desk.renew_every_ns, desk.breaker = 10 * SECOND, Breaker(failures_max=1, open_ns=SECOND)
    books = desk.open()
    books.load("paper-1")

    def goes() -> None:
        desk.clock.pass_s(10)
        desk.server.up = False

    with pytest.raises(StoreAway, match="connection reset"):
        books.load("paper-1", goes)
    assert desk.state.mode is StoreMode.AWAY
    desk.server.up = True
    desk.clock.pass_s(1)
    assert len(books.load("paper-1").journal) == 3
    desk.decide(1)
    desk.is_whole()


def test_where_our_lease_is_over_when_it_is_to_be_renewed_so_the_books_are_done_for(desk):
    desk.renew_every_ns = 10 * SECOND
    books = desk.open()
    books.load("paper-1")

    def goes() -> None:
        desk.clock.pass_s(10)
        desk.server.up, desk.lease_ends_ns = False, desk.clock()

    with pytest.raises(StoreUnavailable, match="our lease ends: a standby may take over"):
        books.load("paper-1", goes)


def test_it_is_known_whether_the_server_is_being_asked_or_the_disk_is_at_work(desk):
    seen: list[tuple[str, bool]] = []
    desk.server.point = desk.point = lambda name: seen.append((name, desk.books.asks))
    desk.decide(1)
    desk.server.up = False
    desk.decide(1)
    desk.server.up = True
    desk.decide(1)
    assert not desk.books.asks
    assert dict(seen) == {name: name.startswith("server.") for name, _ in seen}
    assert {"server.before_commit", "spool.written", "spool.marked"} <= dict(seen).keys()

    def late(name: str) -> None:
        desk.clock.pass_s(601)
        seen.append((name, desk.books.asks))

    desk.server.point = late
    desk.decide(1)
    assert ("server.after_commit", False) in seen, "no question takes as long as that"


POINTS = [
    *("standin.kept", "standin.met", "standin.brought", "standin.before_commit", "standin.after_commit"),
    *("server.before_commit", "server.after_commit"),
    *("spool.before_write", "spool.written", "spool.synced", "spool.named"),
    *("spool.before_mark", "spool.marked", "spool.removed", "spool.drained"),
]


@pytest.mark.parametrize("pass_", [1, 2, 3])
@pytest.mark.parametrize("name", POINTS)
def test_killed_anywhere_the_server_has_what_was_acknowledged_once_and_perhaps_what_was_under_way(desk, name, pass_):
    passed: list[str] = []

    def point(at: str) -> None:
        passed.append(at)
        if at == name and passed.count(name) == pass_:
            raise Killed

    desk.spool_options["segment_bytes"] = 1
    desk.open().load("paper-1")
    desk.point = desk.server.point = point
    acknowledged = desk.desk.book.sequence
    with suppress(Killed):
        for round_ in range(7):
            desk.server.up = round_ % 2 == 1
            desk.clock.pass_s(30)
            for _ in range(4):
                desk.decide(1)
                acknowledged = desk.desk.book.sequence
    assert passed.count(name) == pass_
    desk.point = desk.server.point = lambda at: None
    desk.server.up = True
    desk.clock.pass_s(30)
    desk.open().settle()
    found = desk.server.store.last_sequence(s.RUN)
    assert found in (acknowledged, acknowledged + 1)
    verdict = verify(desk.path)
    assert verdict.ok, verdict.lines()


# --- what must not be ------------------------------------------------------------------------------------------------


def test_another_ones_record_in_our_journal_is_found_before_anything_is_changed(desk):
    desk.server.up = False
    desk.decide(3)
    desk.server.store.commit([s.group(s.noted())])
    desk.server.up = True
    before = desk.books.state.batches
    for books in (desk.books, desk.open(), desk.open()):
        desk.clock.pass_s(30)
        with pytest.raises(Defect, match=r"the journal numbers 5 to 5, and it was acknowledged with 4 to 4.*report"):
            books.settle()
        with pytest.raises(StoreUnavailable, match="failed before: Defect"):
            books.commit([s.group(s.noted())])
        assert (desk.server.store.last_batch(), desk.server.store.last_sequence(s.RUN)) == (1, 4)
        assert desk.open().state.batches == before


def test_what_was_acknowledged_and_is_refused_then_ends_the_process_and_stays_where_it_is(desk):
    desk.server.up = False
    desk.decide(1)
    assert desk.commit(s.group(s.noted(), rows=(s.order(9, trade_id="nowhere"),))) == [Written(5, 5)]
    desk.server.up = True
    for books in (desk.books, desk.open(), desk.open()):
        with pytest.raises(Defect, match=r"refuses a group of batch 3 .* numbers 5 to 5: .*FOREIGN KEY"):
            books.settle()
        assert (desk.server.store.last_batch(), desk.server.store.last_sequence(s.RUN)) == (2, 4)
        assert desk.open().state.batches >= 1


def test_a_batch_that_was_applied_without_a_group_that_was_then_acknowledged_is_found(desk):
    desk.server.faults.append("after")
    bad = s.group(s.noted(), rows=(s.order(9, trade_id="nowhere"),))
    assert desk.commit(desk.desk.decision(), bad) == [Written(4, 4), Written(5, 5)]
    for books in (desk.books, desk.open()):
        with pytest.raises(Defect, match=r"has batch 2, .* ends at record 4; it was answered that it ends at 5"):
            books.settle()
        assert desk.open().state.batches == 1


def test_a_server_that_forgot_what_it_had_acknowledged_is_found(desk):
    desk.decide(3)
    desk.server.store.set_last_batch(2)
    desk.server.faults.append("before")
    desk.decide(1)
    for books in (desk.books, desk.open()):
        with pytest.raises(StoreCorrupt, match=r"end with batch 2, and it had acknowledged batch 4.*older copy"):
            books.settle()
    assert desk.open().state.batches == 1


def test_somebody_else_who_writes_under_our_name_is_found(desk):
    desk.server.up = False
    desk.decide(1)
    desk.server.store.set_last_batch(9)
    desk.server.up = True
    with pytest.raises(Defect, match="the server's last batch is 9, and ours is 2"):
        desk.books.settle()


def test_a_disk_that_fails_here_ends_it(desk):
    def fail(name: str) -> None:
        if name == "spool.written":
            raise OSError(5, "Input/output error")

    desk.server.up = False
    desk.decide(1)
    desk.point = fail
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        desk.commit(desk.desk.decision())
    with pytest.raises(StoreUnavailable, match="failed before"):
        desk.commit(s.group(s.noted()))
    with pytest.raises(StoreUnavailable, match="failed before"):
        desk.books.load("paper-1")
    desk.point = lambda name: None
    desk.server.up = True
    desk.open().settle()
    desk.is_whole()


def test_a_spool_that_is_full_ends_it_and_what_was_acknowledged_is_there(desk):
    desk.spool_options["bytes_max"] = 60_000
    desk.open().load("paper-1")
    desk.server.up = False
    with pytest.raises(StoreUnavailable, match="Bring the server back"):
        desk.decide(100)
    assert 5 < desk.desk.orders < 50
    desk.server.up = True
    desk.open().settle()
    assert desk.server.store.last_sequence(s.RUN) == desk.desk.book.sequence - 1


# --- the lease -------------------------------------------------------------------------------------------------------


def test_nothing_is_kept_here_from_a_margin_before_a_lease_ends(desk):
    desk.lease_ends_ns = desk.clock() + 60 * SECOND
    desk.server.up = False
    desk.clock.pass_s(60 - MARGIN_S - 0.1)
    desk.decide(1)
    desk.clock.pass_s(0.1)
    with pytest.raises(StoreUnavailable, match="our lease ends: a standby may take over"):
        desk.commit(desk.desk.decision())
    assert desk.open().state.batches == 1


def test_nobody_is_answered_where_the_disk_took_until_the_lease_ended(desk):
    desk.lease_ends_ns = desk.clock() + 60 * SECOND
    desk.server.up = False
    desk.point = lambda name: desk.clock.pass_s(60) if name == "spool.written" else None
    with pytest.raises(StoreUnavailable, match="our lease ends"):
        desk.decide(1)


def test_a_lease_is_nobodys_business_while_the_server_is_there_and_is_looked_at_anew_each_time(desk):
    desk.lease_ends_ns = desk.clock() + SECOND
    desk.decide(1)
    desk.server.up = False
    desk.lease_ends_ns += 60 * SECOND
    desk.decide(1)
    desk.lease_ends_ns = None
    desk.clock.pass_s(1_000)
    desk.decide(1)


def test_a_start_can_wait_until_another_daemons_lease_is_over(desk):
    desk.server.up = False
    desk.decide(2)
    desk.server.up = True
    desk.server.leased_to = "the other one"
    books = desk.open()
    for _ in range(5):
        with pytest.raises(AlreadyRunning, match="the other one"):
            books.settle()
    with pytest.raises(StoreAway, match=r"the other one\); it is tried again in 30 s"):
        books.settle()
    desk.server.leased_to = None
    desk.clock.pass_s(30)
    books.settle()
    desk.is_whole()


def test_a_writer_that_finds_another_ones_lease_when_the_server_is_back_ends(desk):
    desk.server.up = False
    desk.decide(2)
    desk.server.up = True
    desk.server.leased_to = "the other one"
    with pytest.raises(LeaseLost, match=r"taken over: .* the other one"):
        desk.commit(desk.desk.decision())
    with pytest.raises(StoreUnavailable, match="failed before: LeaseLost"):
        desk.commit(s.group(s.noted()))
    assert desk.open().state.batches == 3


# --- in memory -------------------------------------------------------------------------------------------------------


def test_in_memory_it_is_the_same_and_every_status_says_that_the_promise_does_not_hold(forgetful):
    assert forgetful.state.promise_holds
    forgetful.server.up = False
    forgetful.decide(2)
    assert (forgetful.state.mode, forgetful.state.promise_holds) == (StoreMode.AWAY, False)
    forgetful.server.up = True
    forgetful.decide(1)
    assert (forgetful.state.mode, forgetful.state.promise_holds) == (StoreMode.DIRECT, True)
    forgetful.is_whole()
    assert not forgetful.folder.exists()


def test_what_waits_in_memory_is_gone_with_the_process(forgetful):
    forgetful.server.up = False
    forgetful.decide(2)
    forgetful.server.up = True
    forgetful.memory = MemorySpool()
    books = forgetful.open()
    assert len(books.load("paper-1").journal) == 3
    assert books.commit([s.group(s.noted())]) == [Written(4, 4)]


def test_what_waits_in_memory_is_brought_to_the_server_at_a_stop_if_it_is_there(forgetful):
    forgetful.server.up = False
    forgetful.decide(2)
    forgetful.server.up = True
    forgetful.books.close()
    forgetful.is_whole()


@pytest.mark.parametrize("has_opened", [False, True])
def test_at_a_stop_a_server_that_has_just_come_back_is_waited_for_whatever_the_breaker_says(forgetful, has_opened):
    forgetful.server.up = False
    forgetful.decide(6 if has_opened else 2)
    assert (forgetful.state.breaker is BreakerStatus.OPEN) == has_opened
    forgetful.server.up, forgetful.server.late = True, 5
    forgetful.books.close()
    forgetful.is_whole()


def test_at_a_stop_a_server_that_takes_what_waits_slowly_gets_more_time_than_one_that_does_not_answer(forgetful):
    forgetful.memory = MemorySpool()
    forgetful.open().settle()
    forgetful.decide(1)
    forgetful.server.up = False
    forgetful.decide(30)
    forgetful.server.up = True
    began_ns = forgetful.clock()
    forgetful.point = lambda name: forgetful.clock.pass_s(0.22) if name == "standin.brought" else None
    forgetful.books.close()
    assert forgetful.clock() - began_ns > 6 * SECOND
    forgetful.is_whole()


def test_at_a_stop_one_that_stays_away_is_asked_twice_and_one_that_never_answers_for_five_seconds(forgetful):
    forgetful.server.up = False
    forgetful.decide(2)
    asked, began_s = forgetful.server.calls["knock"], forgetful.clock()
    forgetful.books.close()
    assert forgetful.server.calls["knock"] == asked + 2
    assert forgetful.clock() - began_s < SECOND


def test_what_waits_in_memory_is_bounded(forgetful):
    forgetful.server.up = False
    with pytest.raises(StoreUnavailable, match="the memory for what waits is full"):
        forgetful.decide(50)


def test_on_a_disk_the_promise_holds_whatever_the_server_does(desk):
    desk.server.up = False
    desk.decide(9)
    assert desk.state.promise_holds


# --- how it is -------------------------------------------------------------------------------------------------------


def test_the_state_says_how_since_when_and_why_and_counts_its_changes(desk):
    seen: list[StoreState] = [desk.state]

    def look() -> StoreState:
        assert (desk.state.changes > seen[-1].changes) == (
            (desk.state.mode, desk.state.breaker) != (seen[-1].mode, seen[-1].breaker)
        )
        seen.append(desk.books.state)
        return seen[-1]

    desk.clock.pass_s(7)
    desk.server.up = False
    away_ns = desk.clock.utc()
    for failures in range(1, 6):
        desk.decide(1)
        state = look()
        assert (state.mode, state.since_ns, state.batches) == (StoreMode.AWAY, away_ns, failures)
        assert state.breaker is (BreakerStatus.OPEN if failures == 5 else BreakerStatus.CLOSED)
        assert "connection re" in state.reason
    desk.server.up = True
    desk.decide(200)
    desk.clock.pass_s(30)
    assert desk.books.advance()
    state = look()
    assert (state.mode, state.breaker) == (StoreMode.DRAINING, BreakerStatus.CLOSED)
    assert (state.since_ns, state.reason) == (desk.clock.utc(), "the server is back")
    desk.books.settle()
    state = look()
    assert (state.mode, state.reason, state.batches, state.size_bytes) == (StoreMode.DIRECT, "", 0, 0)


def test_books_that_are_closed_take_nothing_more_and_what_waits_stays(desk):
    desk.server.up = False
    desk.decide(2)
    desk.books.close()
    with pytest.raises(StoreUnavailable, match="they were closed"):
        desk.commit(s.group(s.noted()))
    desk.server.up = True
    desk.open().settle()
    desk.is_whole()
