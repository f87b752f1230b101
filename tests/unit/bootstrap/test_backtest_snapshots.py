"""When a backtest takes snapshots: on the daemon's schedule, by the market's time."""

from __future__ import annotations

import pytest

from tradekeel.bootstrap.backtesting import snapshots_of
from tradekeel.domain.ticks import NEVER_NS
from tradekeel.domain.times import NS_PER_S
from tradekeel.feeds.zones import parse_instant

NOW = "2024-01-03T13:20:30Z"


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        (60, "2024-01-03T13:21:00Z"),
        (0.5, "2024-01-03T13:20:30.5Z"),
        (86_400, "2024-01-04T00:00:00Z"),
        ("*/5 * * * *", "2024-01-03T13:25:00Z"),
        ("0 22 * * fri", "2024-01-05T22:00:00Z"),
    ],
)
def test_the_files_schedule_holds_with_all_that_the_daemon_saves(schedule: float | str, due: str) -> None:
    snapshots = snapshots_of(schedule)
    assert snapshots is not None
    assert snapshots.with_metrics
    assert snapshots.after(parse_instant(NOW), 0) == parse_instant(due)


@pytest.mark.parametrize(
    ("since", "due"),
    [
        ("2024-01-03T13:20:30Z", "2024-01-03T13:20:40Z"),
        ("2024-01-03T12:40:31Z", "2024-01-03T13:20:40Z"),
        ("2024-01-03T12:40:30Z", "2024-01-03T13:21:00Z"),
        ("2024-01-03T09:20:30Z", "2024-01-03T13:25:00Z"),
        ("2024-01-02T17:20:30Z", "2024-01-03T13:30:00Z"),
        ("2024-01-01T01:20:30Z", "2024-01-03T14:00:00Z"),
        ("2014-01-01T00:00:00Z", "2024-01-03T14:00:00Z"),
    ],
)
def test_without_a_schedule_they_are_close_together_at_first_and_at_last_each_hour(since: str, due: str) -> None:
    snapshots = snapshots_of(None)
    assert snapshots is not None
    assert not snapshots.with_metrics
    assert snapshots.after(parse_instant(NOW), parse_instant(since)) == parse_instant(due)


def test_without_a_schedule_a_curve_has_hundreds_of_points_however_long_the_run() -> None:
    snapshots = snapshots_of(None)
    assert snapshots is not None
    first_ns = at_ns = parse_instant(NOW)
    times = []
    while at_ns < first_ns + 365 * 24 * 3_600 * NS_PER_S:
        at_ns = snapshots.after(at_ns, first_ns)
        times.append(at_ns)
    hour_ns = 3_600 * NS_PER_S
    points = {hours: sum(at_ns < first_ns + hours * hour_ns for at_ns in times) for hours in (1, 24, 8_760)}
    assert points == {1: 260, 24: 650, 8_760: 9_495}


def test_never_is_never() -> None:
    assert snapshots_of(0) is None


@pytest.mark.parametrize("schedule", [7, "* * * * *"])
def test_each_is_later_than_the_one_before(schedule: float | str) -> None:
    snapshots = snapshots_of(schedule)
    assert snapshots is not None
    at_ns = parse_instant("2024-02-28T23:58:59.999999999Z")
    for _ in range(10):
        due_ns = snapshots.after(at_ns, 0)
        assert at_ns < due_ns <= at_ns + 60 * NS_PER_S
        at_ns = due_ns


def test_a_cron_line_that_has_no_more_times_is_never() -> None:
    snapshots = snapshots_of("0 0 29 2 *")
    assert snapshots is not None
    assert snapshots.after(parse_instant("2199-03-01"), 0) in (NEVER_NS, parse_instant("2204-02-29"))
