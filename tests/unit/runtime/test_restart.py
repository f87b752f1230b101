"""The rules of restarting are data and pure functions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.runtime.restart import (
    Backoff,
    Ending,
    Intensity,
    RestartPolicy,
    RestartType,
    Strategy,
    admit_restart,
    affected,
    backoff_delay_s,
    failures_in_a_row,
    should_restart,
)


def test_who_is_restarted_is_otps_table():
    restarted = {t: {e for e in Ending if should_restart(t, e)} for t in RestartType}
    failures = {Ending.ERROR, Ending.KILLED, Ending.START_FAILED}
    assert restarted == {
        RestartType.PERMANENT: failures | {Ending.NORMAL},
        RestartType.TRANSIENT: failures,
        RestartType.TEMPORARY: set(),
    }


@given(
    gaps=st.lists(st.floats(0, 10), max_size=50),
    restarts_max=st.integers(0, 5),
    period_s=st.floats(0.1, 20),
)
def test_a_restart_is_admitted_while_no_window_holds_too_many(gaps, restarts_max, period_s):
    intensity = Intensity(restarts_max, period_s)
    kept: tuple[float, ...] = ()
    every: list[float] = []
    now_s = 0.0
    for gap in gaps:
        now_s += gap
        every.append(now_s)
        kept, admitted = admit_restart(kept, now_s, intensity)
        in_window = [at for at in every if now_s - at <= period_s]
        assert admitted is (len(in_window) <= restarts_max)
        assert len(kept) <= len(in_window), "the window does not grow without bound"


def test_who_goes_down_with_a_failed_child():
    assert list(affected(Strategy.ONE_FOR_ONE, 2, 5)) == [2]
    assert list(affected(Strategy.REST_FOR_ONE, 2, 5)) == [2, 3, 4]
    assert list(affected(Strategy.ONE_FOR_ALL, 2, 5)) == [0, 1, 2, 3, 4]


@given(failures=st.integers(1, 10_000), seed=st.integers())
def test_a_back_off_stays_within_its_bounds(failures, seed):
    backoff = Backoff(initial_s=1, factor=2, max_s=60, jitter=0.5)
    delay_s = backoff_delay_s(backoff, failures, random.Random(seed))
    plain_s = min(60.0, 2.0 ** min(failures - 1, 64))
    assert plain_s * 0.5 <= delay_s <= plain_s * 1.5


def test_a_back_off_without_jitter_doubles_up_to_its_bound():
    backoff = Backoff(initial_s=1, factor=2, max_s=5, jitter=0)
    assert [backoff_delay_s(backoff, n, random.Random()) for n in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]


def test_a_child_that_lived_long_enough_starts_its_back_off_anew():
    backoff = Backoff(reset_after_s=60)
    assert failures_in_a_row(backoff, 7, lived_s=59) == 8
    assert failures_in_a_row(backoff, 7, lived_s=60) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Intensity(-1, 1),
        lambda: Intensity(1, 0),
        lambda: Backoff(initial_s=0),
        lambda: Backoff(initial_s=2, max_s=1),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(jitter=2),
    ],
)
def test_a_policy_without_sense_is_refused(make):
    with pytest.raises(AssertionError):
        make()


def test_a_policy_is_data():
    assert RestartPolicy() == RestartPolicy(Strategy.ONE_FOR_ONE, Intensity(3, 5.0))
