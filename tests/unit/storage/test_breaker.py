"""The circuit breaker: its table, what no sequence of events can break, and a twin that is too dumb to be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.errors import IllegalTransition
from tradekeel.storage.breaker import (
    FAILURES_MAX,
    OPEN_NS,
    TRANSITIONS,
    Breaker,
    BreakerEvent,
    BreakerStatus,
    allows,
    apply,
)

S, E = BreakerStatus, BreakerEvent
GUIDE = Path(__file__).parents[3] / "docs" / "postgresql.md"
SECOND = 1_000_000_000


def in_state(status: BreakerStatus) -> Breaker:
    """A breaker as it gets there."""
    breaker = Breaker()
    if status is not S.CLOSED:
        for _ in range(FAILURES_MAX):
            breaker = apply(breaker, E.FAIL, 0)
    if status is S.HALF_OPEN:
        breaker = apply(breaker, E.TRY, OPEN_NS)
    assert breaker.status is status
    return breaker


class TestTheTable:
    def test_lists_every_state_and_uses_every_event(self):
        assert set(TRANSITIONS) == set(S)
        assert {event for events in TRANSITIONS.values() for event in events} == set(E)

    def test_every_state_can_be_left_and_reached_again(self):
        assert {target for events in TRANSITIONS.values() for target in events.values()} == set(S)

    def test_is_the_one_in_the_guide(self):
        guide = GUIDE.read_text(encoding="utf-8")
        header = re.search(r"^\| state \| (.*) \|$", guide, re.MULTILINE)
        assert header is not None
        events = [E(word) for word in header[1].split(" | ")]
        for status in S:
            row = re.search(rf"^\| {status} \|(.*)\|$", guide, re.MULTILINE)
            assert row is not None, status
            said = [re.split("[;,]", cell)[0].strip() for cell in row[1].split("|")]
            assert said == [str(TRANSITIONS[status].get(event, "")) for event in events]
        assert f"opens after {FAILURES_MAX} failures in a row, and {OPEN_NS // SECOND} s later lets one" in guide

    @pytest.mark.parametrize(
        ("status", "event", "target"),
        [
            (S.CLOSED, E.TRY, S.CLOSED),
            (S.CLOSED, E.SUCCEED, S.CLOSED),
            (S.CLOSED, E.FAIL, S.CLOSED),
            (S.OPEN, E.TRY, S.HALF_OPEN),
            (S.OPEN, E.SUCCEED, None),
            (S.OPEN, E.FAIL, None),
            (S.HALF_OPEN, E.TRY, None),
            (S.HALF_OPEN, E.SUCCEED, S.CLOSED),
            (S.HALF_OPEN, E.FAIL, S.OPEN),
        ],
        ids=str,
    )
    def test_says_what_follows_and_what_is_illegal_raises_and_changes_nothing(self, status, event, target):
        breaker, now_ns = in_state(status), 2 * OPEN_NS
        if target is not None:
            assert allows(breaker, event, now_ns)
            assert apply(breaker, event, now_ns).status is target
            return
        before = in_state(status)
        assert not allows(breaker, event, now_ns)
        with pytest.raises(IllegalTransition, match=f"circuit breaker: {event.name} .* in state {status.name}"):
            apply(breaker, event, now_ns)
        assert breaker == before


class TestABreaker:
    def test_opens_at_the_fifth_failure_in_a_row(self):
        breaker = Breaker()
        for failures in range(1, FAILURES_MAX):
            breaker = apply(breaker, E.FAIL, failures)
            assert (breaker.status, breaker.failures) == (S.CLOSED, failures)
        breaker = apply(breaker, E.FAIL, 7)
        assert (breaker.status, breaker.since_ns, breaker.tried_again_ns) == (S.OPEN, 7, 7 + OPEN_NS)

    def test_a_success_in_between_forgets_the_failures(self):
        breaker = Breaker()
        for _ in range(20):
            for _ in range(FAILURES_MAX - 1):
                breaker = apply(breaker, E.FAIL, 1)
            breaker = apply(breaker, E.SUCCEED, 1)
        assert breaker == Breaker()

    def test_lets_one_through_after_thirty_seconds_and_not_a_moment_before(self):
        breaker = in_state(S.OPEN)
        assert not allows(breaker, E.TRY, 30 * SECOND - 1)
        with pytest.raises(IllegalTransition, match="TRY is not allowed in state OPEN"):
            apply(breaker, E.TRY, 30 * SECOND - 1)
        breaker = apply(breaker, E.TRY, 30 * SECOND)
        assert breaker.status is S.HALF_OPEN
        assert not allows(breaker, E.TRY, 90 * SECOND), "one alone"

    def test_a_trial_that_fails_opens_it_for_as_long_again(self):
        breaker = apply(in_state(S.HALF_OPEN), E.FAIL, 40 * SECOND)
        assert (breaker.status, breaker.tried_again_ns) == (S.OPEN, 70 * SECOND)

    def test_a_trial_that_succeeds_closes_it_and_five_more_failures_are_borne(self):
        breaker = apply(in_state(S.HALF_OPEN), E.SUCCEED, 40 * SECOND)
        assert (breaker.status, breaker.failures, breaker.tried_again_ns) == (S.CLOSED, 0, None)
        for _ in range(FAILURES_MAX - 1):
            breaker = apply(breaker, E.FAIL, 41 * SECOND)
        assert breaker.status is S.CLOSED

    @pytest.mark.parametrize("settings", [{"failures_max": 0}, {"open_ns": -1}])
    def test_settings_that_mean_nothing_are_refused(self, settings):
        with pytest.raises(ValueError, match="a breaker bears"):
            Breaker(**settings)


class Twin:
    """The same with nothing but a diary: what it may do follows from reading everything that ever happened."""

    def __init__(self, failures_max: int, open_ns: int) -> None:
        self.failures_max = failures_max
        self.open_ns = open_ns
        self.diary: list[tuple[BreakerEvent, int]] = []

    def status(self) -> BreakerStatus:
        asked = [(event, at) for event, at in self.diary if event is not E.TRY]
        row = 0
        for event, _ in reversed(asked):
            if event is E.SUCCEED:
                break
            row += 1
        if row < self.failures_max:
            return S.CLOSED
        return S.HALF_OPEN if self.diary[-1][0] is E.TRY else S.OPEN

    def allows(self, event: BreakerEvent, now_ns: int) -> bool:
        match self.status():
            case S.CLOSED:
                return True
            case S.HALF_OPEN:
                return event is not E.TRY
            case S.OPEN:
                return event is E.TRY and now_ns - self.diary[-1][1] >= self.open_ns


@given(
    failures_max=st.integers(1, 4),
    open_ns=st.integers(0, 5),
    steps=st.lists(st.tuples(st.sampled_from(E), st.integers(0, 3)), max_size=60),
)
def test_whatever_happens_it_agrees_with_the_dumb_twin(failures_max, open_ns, steps):
    breaker, twin, now_ns = Breaker(failures_max=failures_max, open_ns=open_ns), Twin(failures_max, open_ns), 0
    for event, later_ns in steps:
        now_ns += later_ns
        assert allows(breaker, event, now_ns) == twin.allows(event, now_ns)
        if not twin.allows(event, now_ns):
            with pytest.raises(IllegalTransition):
                apply(breaker, event, now_ns)
            continue
        breaker = apply(breaker, event, now_ns)
        twin.diary.append((event, now_ns))
        assert breaker.status is twin.status()
        assert (breaker.tried_again_ns is not None) == (breaker.status is S.OPEN)
