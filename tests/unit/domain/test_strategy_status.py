"""Draft, active, paused, stopped, failed: which strategies there are, and what a pause and a configuration make of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec import structs

from tests.unit.domain.executor_desk import ExecutorDesk, buy, cancels_in, leave, placed_in, records_in
from tests.unit.domain.world import strategy_row
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.effects import Effects
from tradekeel.domain.orders import OrderStatus, OrderType
from tradekeel.domain.recovery import fold, opening_of
from tradekeel.domain.rows import Latch, StrategyRow
from tradekeel.domain.rows import StrategyStatus as S
from tradekeel.domain.view import View

D = Decimal


def pause(desk: ExecutorDesk, paused: bool = True, reason: str = "lunch") -> Effects:
    return desk.keep(desk.core.pause(paused, reason, "anna", desk.now_ns))


def register(desk: ExecutorDesk, *rows: StrategyRow) -> Effects:
    """The configuration as it is now; "a" and "b" are in the books."""
    return desk.keep(desk.core.register(rows, desk.now_ns))


def draft(name: str) -> StrategyRow:
    return structs.replace(strategy_row(name), status=S.DRAFT)


def statuses(book: Book) -> dict[str, str]:
    return {name: line.row.status.value for name, line in book.strategies.items()}


def reason(desk: ExecutorDesk, name: str) -> str:
    return desk.book.strategies[name].row.status_reason


A, B = strategy_row("a"), strategy_row("b")


# --- a pause ----------------------------------------------------------------------------------------------------------


def test_a_pause_pauses_the_active_strategies_and_a_resume_makes_them_active_again() -> None:
    desk = ExecutorDesk()

    effects = pause(desk)

    assert statuses(desk.book) == {"a": "paused", "b": "paused"}
    assert reason(desk, "a") == "lunch"
    assert [type(row).__name__ for row in effects.entries[0].rows] == ["ExecutionRow", "StrategyRow", "StrategyRow"]
    pause(desk, paused=False)
    assert statuses(desk.book) == {"a": "active", "b": "active"}
    assert reason(desk, "a") == ""


@pytest.mark.parametrize("status", [S.FAILED, S.STOPPED, S.DRAFT])
def test_neither_changes_a_strategy_that_does_not_run(status: S) -> None:
    desk = ExecutorDesk()
    desk.keep(desk.core.retire("a", status, "why", desk.now_ns))

    pause(desk)
    assert statuses(desk.book) == {"a": status.value, "b": "paused"}
    pause(desk, paused=False)
    assert statuses(desk.book) == {"a": status.value, "b": "active"}
    assert reason(desk, "a") == "why"


def test_one_that_fails_while_paused_stays_failed() -> None:
    desk = ExecutorDesk()
    pause(desk)
    desk.keep(desk.core.retire("a", S.FAILED, "it threw twice", desk.now_ns))

    pause(desk, paused=False)

    assert statuses(desk.book) == {"a": "failed", "b": "active"}


def test_flattening_pauses_them_and_a_halt_does_not() -> None:
    desk = ExecutorDesk()
    desk.keep(desk.core.latch(Latch.HALTED, "enough", "anna", desk.now_ns))
    assert statuses(desk.book) == {"a": "active", "b": "active"}
    desk.keep(desk.core.flatten("anna", desk.now_ns))
    assert statuses(desk.book) == {"a": "paused", "b": "paused"}
    desk.keep(desk.core.release("", "anna", desk.now_ns))
    assert statuses(desk.book) == {"a": "paused", "b": "paused"}


def test_a_paused_strategy_manages_its_trades_and_keeps_its_working_entries() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    (entry,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09000")))
    pause(desk)

    assert not cancels_in(desk.accept(desk.order(entry)))
    assert len(placed_in(desk.decide(leave(trade)))) == 1
    assert desk.order(entry).status is OrderStatus.ACCEPTED
    assert not desk.core.is_retired("a")
    assert not cancels_in(desk.restart())


def test_views_follow() -> None:
    desk = ExecutorDesk()
    view = View.of(desk.book, "a")

    for entry in pause(desk).entries:
        view.follow(entry)
    assert (view.paused, view.status) == (True, S.PAUSED)
    assert View.of(desk.book, "a").status is S.PAUSED
    for entry in pause(desk, paused=False).entries:
        view.follow(entry)
    assert (view.paused, view.status) == (False, S.ACTIVE)


def test_the_journal_says_the_same_and_older_journals_still_say_what_they_said() -> None:
    desk = ExecutorDesk()
    pause(desk)
    journal = [r.decode_record(row) for row in desk.journal]
    assert statuses(fold(Book(), enumerate(journal, 1)).book) == statuses(desk.book)

    old = r.LatchChanged(ts_ns=1, paused=True, latch=Latch.OPEN, reason="", by="anna")
    assert isinstance(journal[-1], r.LatchChanged)
    book = fold(Book(), enumerate([*journal[:-1], old], 1)).book
    assert statuses(book) == {"a": "active", "b": "active"}, "the tables of that time said so, too"
    assert Book.load(book.save()).strategies == book.strategies


# --- the configuration ------------------------------------------------------------------------------------------------


def test_what_is_registered_as_it_should_be_is_left_alone() -> None:
    desk = ExecutorDesk()
    assert not register(desk, A, B)
    pause(desk)
    assert not register(desk, A, B), "a paused strategy is no other one"
    desk.keep(desk.core.retire("a", S.FAILED, "it threw twice", desk.now_ns))
    assert not register(desk, A, B), "a failed one does not come back by itself"


def test_other_parameters_register_it_anew_as_the_account_is_now() -> None:
    desk = ExecutorDesk()
    desk.decide(buy())
    pause(desk)
    changed = structs.replace(A, parameters={"n": 2})

    assert records_in(register(desk, changed, B)) == ["strategy_registered"]

    row = desk.book.strategies["a"].row
    assert (row.status, row.parameters, row.decisions) == (S.PAUSED, {"n": 2}, 1)
    pause(desk, paused=False)
    assert statuses(desk.book) == {"a": "active", "b": "active"}


def test_whoever_is_registered_in_a_paused_account_is_paused() -> None:
    desk = ExecutorDesk()
    pause(desk)

    register(desk, A, B, strategy_row("c"))

    assert statuses(desk.book) == {"a": "paused", "b": "paused", "c": "paused"}
    pause(desk, paused=False)
    assert statuses(desk.book)["c"] == "active"


def test_what_was_active_in_a_paused_account_of_old_is_paused_by_the_next_start() -> None:
    desk = ExecutorDesk()
    old = r.LatchChanged(ts_ns=1, paused=True, latch=Latch.OPEN, reason="", by="anna")
    desk.keep(desk.core.note(old))

    register(desk, A, B)

    assert statuses(desk.book) == {"a": "paused", "b": "paused"}
    assert not register(desk, A, B)


def test_one_that_is_not_enabled_is_a_draft() -> None:
    desk = ExecutorDesk()

    assert records_in(register(desk, A, B, draft("c"))) == ["strategy_registered"]

    assert statuses(desk.book) == {"a": "active", "b": "active", "c": "draft"}
    assert reason(desk, "c") == "it is not enabled in the configuration"
    assert desk.core.is_retired("c")
    assert not register(desk, A, B, draft("c"))


def test_a_draft_with_other_parameters_is_registered_anew() -> None:
    desk = ExecutorDesk()
    register(desk, A, B, draft("c"))
    changed = structs.replace(draft("c"), parameters={"n": 2})

    assert records_in(register(desk, A, B, changed)) == ["strategy_registered"]
    assert desk.book.strategies["c"].row.parameters == {"n": 2}


def test_one_that_is_disabled_before_it_decided_anything_is_a_draft_again() -> None:
    desk = ExecutorDesk()
    register(desk, A, draft("b"))
    assert statuses(desk.book) == {"a": "active", "b": "draft"}


def test_one_that_is_disabled_after_it_traded_is_stopped_and_its_trades_keep_their_exits() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    (entry,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09000")))
    desk.accept(desk.order(entry))

    register(desk, draft("a"), B)

    assert statuses(desk.book) == {"a": "stopped", "b": "active"}
    assert reason(desk, "a") == "it is no longer enabled: its open trades keep their exits"
    assert cancels_in(desk.restart()) == [entry]
    assert [o.status for o in desk.exits(trade, attached=True)] == [OrderStatus.ACCEPTED]
    assert not register(desk, draft("a"), B)


def test_one_whose_trades_were_taken_over_from_the_execution_before_stays_stopped_while_it_is_disabled() -> None:
    desk = ExecutorDesk()
    desk.open()
    opening = opening_of(desk.book, "e2")
    row = desk.book.execution
    assert row is not None
    desk._begin(Book())
    desk.keep(desk.core.note(r.ExecutionStarted(ts_ns=1, row=structs.replace(row, execution="e2"), opening=opening)))

    register(desk, draft("a"), B)

    assert statuses(desk.book) == {"a": "stopped", "b": "active"}


def test_a_draft_that_is_enabled_comes_to_the_run_under_way() -> None:
    desk = ExecutorDesk()
    register(desk, A, B, draft("c"))
    desk.tick("1.10000")

    register(desk, A, B, strategy_row("c"))

    line = desk.book.strategies["c"]
    assert (line.row.status, line.row.status_reason, line.joined) == (S.ACTIVE, "", desk.book.sequence)


def test_whoever_is_no_longer_configured_is_stopped_drafts_too() -> None:
    desk = ExecutorDesk()
    register(desk, A, B, draft("c"))
    register(desk, B)
    assert statuses(desk.book) == {"a": "stopped", "b": "active", "c": "stopped"}
    assert reason(desk, "a") == "it is no longer in the configuration: its open trades keep their exits"
    register(desk, A, B)
    assert statuses(desk.book) == {"a": "active", "b": "active", "c": "stopped"}


def test_only_active_and_paused_ones_run() -> None:
    assert [status.value for status in S if status.runs] == ["active", "paused"]
