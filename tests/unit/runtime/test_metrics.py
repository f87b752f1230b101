"""Figures of each actor, measured a batch at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime.support import Diarist, World, world
from tradekeel.runtime.deadletters import KINDS_MAX, OTHERS, DeadLetters
from tradekeel.runtime.metrics import ActorState, Histogram
from tradekeel.runtime.supervisor import ChildSpec, Supervisor


def root(this: World) -> Supervisor:
    return Supervisor("root", children=[ChildSpec("a", lambda: Diarist(this))])


async def test_the_figures_of_an_actor_over_its_incarnations():
    async with world(root) as w:
        ref = w.system.ref("a")
        await ref.send(("sleep", 2))
        await w.clock.advance(1)
        for _ in range(3):
            await ref.send("ping")
        before = w.system.snapshot()["a"]
        assert (before.state, before.incarnation, before.restarts) == (ActorState.RUNNING, 1, 0)
        assert (before.mail_depth, before.mail_high_water, before.handled) == (3, 3, 0)
        await w.clock.advance(1)
        await ref.send("boom")
        await w.clock.advance(5)
        after = w.system.snapshot()["a"]
        assert (after.incarnation, after.restarts, after.batches, after.handled) == (2, 1, 2, 4)
        assert (after.mail_depth, after.mail_high_water) == (0, 3)
        assert after.latency_max_s == 2.0
        assert after.idle_s == 5.0
    assert w.system.snapshot()["a"].state is ActorState.DOWN


async def test_latency_counts_the_wait_before_the_work():
    async with world(root) as w:
        await w.system.ref("a").send(("sleep", 1))
        await w.clock.advance(0.5)
        await w.system.ref("a").send(("sleep", 1))
        await w.clock.advance(10)
        figures = w.system.snapshot()["a"]
        assert (figures.batches, figures.latency_max_s) == (2, 1.0)


@given(durations=st.lists(st.floats(0, 1_000), min_size=1), share=st.floats(0, 1))
def test_a_percentile_is_right_within_its_bucket(durations, share):
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    ranked = sorted(durations)
    exact = ranked[max(0, -int(-share * len(ranked) // 1) - 1)]
    assert exact / 2 - 1e-6 <= histogram.percentile_s(share) <= max(2 * exact, 1e-6) or share == 0
    assert histogram.percentile_s(1) == histogram.max_s == ranked[-1]


def test_no_durations_have_no_percentile():
    assert Histogram().percentile_s(0.99) == 0


def test_dead_letters_are_counted_in_bounded_memory():
    sink = DeadLetters(keep_last=3)
    for number in range(KINDS_MAX + 50):
        sink.add(f"actor {number}", number, "nobody")
    assert len(sink.counts) == KINDS_MAX + 1
    assert sink.counts[OTHERS] == 50
    assert sink.total == KINDS_MAX + 50
    assert len(sink.last) == 3
