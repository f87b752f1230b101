"""What a step gives back, and several steps as one."""

from __future__ import annotations

from msgspec import structs

from tests.unit.domain.executor_desk import ExecutorDesk, buy, leave
from tests.unit.domain.world import RUN
from tradekeel.domain.effects import Effects, merged


def test_a_step_is_committed_together() -> None:
    desk = ExecutorDesk()

    group = desk.decide(buy()).group(RUN)

    assert group.execution == RUN
    assert [type(record).__name__ for record in group.records] == ["DecisionTaken"]
    assert [type(row).__name__ for row in group.rows] == ["StrategyRow", "Signal", "Trade", "Order"]
    assert [checkpoint.owner for checkpoint in group.checkpoints] == ["a"]


def test_a_step_that_does_nothing_is_false() -> None:
    assert not Effects()
    assert ExecutorDesk().decide(leave()), "a decision is recorded even if nothing follows from it"


def test_steps_are_merged_in_order_and_of_a_strategys_states_the_last_counts() -> None:
    desk = ExecutorDesk()
    first, second, other = desk.decide(buy()), desk.decide(buy()), desk.decide(buy(), strategy="b")
    newest = structs.replace(second, checkpoints=(structs.replace(second.checkpoints[0], state=b"newest"),))

    one = merged([first, newest, other])

    assert one.entries == (*first.entries, *second.entries, *other.entries)
    assert one.requests == (*first.requests, *second.requests, *other.requests)
    assert [(c.owner, c.state) for c in one.checkpoints] == [("a", b"newest"), ("b", b"state")]
    assert merged([first]) is first
