"""Everything that follows from the journal can be deleted, and the books agree with themselves afterwards."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.samples import CHANGE, SNAPSHOT
from tradekeel.domain import records as r
from tradekeel.domain.rows import MetricsCheckpoint
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.storage.backend import Backend
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify
from tradekeel.storage.wiping import look, wipe

NOW_NS = s.START_NS + 86_400 * s.SECOND


@pytest.fixture
def books(at: Backend) -> Backend:
    """Two accounts with a little of everything."""
    first, second = s.Desk(), s.Desk("exec-2", account="paper-2")
    with Store.open(at, now_ns=s.START_NS) as store:
        for desk in (first, second):
            store.commit([desk.opening(), desk.decision(), desk.decision(), desk.filled(1)])
        store.commit(
            [
                first.group(r.SnapshotTaken(ts_ns=s.START_NS, snapshot=SNAPSHOT)),
                first.group(r.ParameterChanged(ts_ns=s.START_NS, change=CHANGE)),
                s.group(rows=(MetricsCheckpoint(execution=s.RUN, ts_ns=1, data=b"figures"),)),
            ]
        )
    return at


def counts(books: Backend, execution: str) -> dict[str, int]:
    names = ("trades", "orders", "fills", "signals", "strategies", "strategy_events", "checkpoints", "venue_cursors")
    more = ("performance_snapshots", "parameter_history", "metrics_checkpoints")
    with closing(books.connect(read_only=True)) as db:
        return {
            name: db.execute(f"SELECT count(*) FROM {name} WHERE execution = ?", (execution,)).fetchone()[0]
            for name in (*names, *more)
        }


def test_nothing_is_left_but_the_journal_and_it_says_what_was_there(books: Backend) -> None:
    before = counts(books, s.RUN)
    assert all(before.values())
    done = wipe(books, NOW_NS, by="a test")
    assert not any(counts(books, s.RUN).values())
    assert (done.executions, set(done.closed)) == (2, {"paper-1", "paper-2"})
    assert done.deleted["trades"] == 4
    assert sum(done.deleted.values()) == sum(before.values()) * 2 - 3  # the second has no snapshot, change or metrics
    assert verify(books).lines() == verify(books).lines()[:1]
    with Store.open(books, now_ns=NOW_NS) as store:
        records = [record for _, record in store.read_journal(s.RUN, 0, 1_000)]
    closed, administered = records[-2:]
    assert isinstance(closed, r.ExecutionClosed)
    assert isinstance(administered, r.Administered)
    assert (administered.by, administered.rows) == ("a test", sum(before.values()))
    assert "2 trades" in administered.action


def test_of_one_account_the_others_stay_as_they_are(books: Backend) -> None:
    before = counts(books, s.RUN)
    done = wipe(books, NOW_NS, by="a test", accounts=["paper-2"])
    assert (done.executions, done.closed) == (1, ("paper-2",))
    assert counts(books, s.RUN) == before
    assert not any(counts(books, "exec-2").values())
    assert verify(books).ok
    with pytest.raises(InputError, match="no account paper-3; they know paper-1, paper-2"):
        wipe(books, NOW_NS, by="a test", accounts=["paper-3"])


def test_the_next_execution_takes_over_balance_and_positions_and_no_trades(books: Backend) -> None:
    with Store.open(books, now_ns=NOW_NS) as store:
        held = AccountBooks(store, {"paper-1": (s.STRATEGY,)}).load("paper-1")
    assert held.cut is None
    wipe(books, NOW_NS, by="a test")
    with Store.open(books, now_ns=NOW_NS) as store:
        loaded = AccountBooks(store, {"paper-1": (s.STRATEGY,)}).load("paper-1")
    assert (loaded.execution, loaded.next_number) == (None, 2)
    assert loaded.previous is not None
    assert loaded.previous.cursor == 2
    assert loaded.previous.net("EUR_USD") == 1_000
    assert loaded.previous.money.fees > 0
    assert not loaded.previous.trades
    assert not loaded.previous.orders


def test_it_can_be_done_twice(books: Backend) -> None:
    wipe(books, NOW_NS, by="a test")
    again = wipe(books, NOW_NS, by="a test")
    assert (again.deleted, again.closed) == ({}, ())
    assert verify(books).ok


def test_what_was_written_while_the_copy_was_made_is_not_deleted(books: Backend) -> None:
    """It is in no copy. Whoever is told so does it again."""
    seen = look(books)
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([s.Desk("exec-3", account="paper-3").opening()])
    before = counts(books, s.RUN)
    with pytest.raises(StoreUnavailable, match="written into these books while they were copied"):
        wipe(books, NOW_NS, by="a test", seen=seen)
    assert counts(books, s.RUN) == before
    with Store.open(books, now_ns=NOW_NS) as store:
        seen = look(books)
        store.commit([s.group(s.noted(7))])
    with pytest.raises(StoreUnavailable, match="in no copy"):
        wipe(books, NOW_NS, by="a test", seen=seen)
    wipe(books, NOW_NS, by="a test", seen=look(books))
    assert verify(books).ok
    assert not look(books)


@pytest.mark.parametrize("point", ["wipe.before_commit", "wipe.after_commit"])
def test_it_is_done_whole_or_not_at_all(books: Backend, tmp_path: Path, point: str) -> None:
    before = counts(books, s.RUN)

    def fail(name: str) -> None:
        if name == point:
            raise RuntimeError(name)

    with pytest.raises(RuntimeError):
        wipe(books, NOW_NS, by="a test", point=fail)
    assert counts(books, s.RUN) == (before if point == "wipe.before_commit" else dict.fromkeys(before, 0))
    assert verify(books).ok
