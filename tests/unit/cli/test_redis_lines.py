"""What `status` and the live view say of the server for outside readers: nothing without one, and loudly what is late."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from tradekeel.cli.fleet import COLUMNS
from tradekeel.cli.render import make_table
from tradekeel.cli.status import feed_line, redis_lines
from tradekeel.domain.protocol import PublisherStands

UP: dict[str, Any] = {
    "where": "Redis at cache:6379, database 0",
    "state": "up",
    "failing": (),
    "reason": "",
    "failures": 0,
    "events_published": 12_345,
    "events_waiting": 0,
}


def said(**fields: Any) -> list[str]:
    return [line.plain for line in redis_lines(UP | fields)]


def test_a_daemon_without_redis_says_nothing_of_it() -> None:
    assert list(redis_lines(None)) == []


def test_one_line_tells_that_it_goes_well() -> None:
    assert said() == ["Redis at cache:6379, database 0: 12,345 events published, 0 wait"]


def test_what_fails_is_named_with_why_and_what_waits() -> None:
    stands = PublisherStands(where="Redis", state="degraded", failing=("events", "open trades"), reason="it is full")
    first, second = said(state="degraded", trouble=stands.trouble, events_waiting=7, failures=3)
    assert first == "Redis fails us (events, open trades), and trading goes on without: it is full"
    assert second == "  12,345 events published, 7 wait; 3 questions failed"


def test_what_the_books_fail_is_not_blamed_on_the_server_for_outside_readers() -> None:
    stands = PublisherStands(
        where="Redis", state="degraded", failing=("events",), at_books=("events",), reason="postgresql://x is away"
    )
    assert stands.trouble == (
        "publishing waits for the books (events), and trading goes on without: postgresql://x is away"
    )
    both = structs.replace(stands, failing=("events", "open trades"), reason="postgresql://x is away; it is full")
    assert both.trouble == (
        "Redis fails us (open trades) and publishing waits for the books (events), and trading goes on without: "
        "postgresql://x is away; it is full"
    )


def test_a_publisher_that_has_given_up_is_told() -> None:
    assert said(state="down") == ["nothing is published any more: the publisher has failed too often, see the log"]


def test_before_the_server_has_answered_it_connects() -> None:
    assert said(state="connecting", where="") == ["Redis: connecting"]


def test_the_fleet_fits_a_narrow_terminal_with_status_and_life_in_it() -> None:
    row = {
        "name": "a-daemon-with-a-long-name-indeed",
        "host": "a-long-host.in.a.long.domain.example",
        "pid": 1234567,
        "status": "running",
        "alive": False,
        "beat_age_s": 7_300.0,
        "version": "0.1.0",
        "accounts": ", ".join(f"account-{number}" for number in range(20)),
    }
    table = make_table([row], COLUMNS, 80)
    titles = [str(column.header) for column in table.columns]
    assert {"name", "status", "alive", "beat ago"} <= set(titles)


FEED: dict[str, Any] = {
    "position": 1_000_020,
    "total": None,
    "share": None,
    "ts_ns": 0,
    "ticks_per_s": 10.0,
    "silent_s": None,
    "waits": "",
    "quality": {"ticks": 20, "rows": 20},
    "ended": False,
}


def test_a_feed_that_is_silent_or_waits_says_so_in_the_status_and_its_rate_is_nothing() -> None:
    assert feed_line("r", FEED).plain == "\nfeed of r: tick 1,000,020, 10 ticks/s"
    assert feed_line("r", FEED | {"ticks_per_s": 0.0, "silent_s": 360}).plain.splitlines()[1:] == [
        "feed of r: tick 1,000,020, 0 ticks/s",
        "  no tick has come for 360 s",
    ]
    assert feed_line("r", FEED | {"waits": "Redis is away"}).plain.endswith("\n  it waits: Redis is away")


def test_a_feed_that_is_shared_says_how_many_ticks_were_and_what_is_late() -> None:
    assert feed_line("r", FEED | {"quality": {"shared": 1_234}}).plain.splitlines()[-1] == "  1,234 ticks shared"
    late = {"shared": 1_234, "share_waiting": 50_000, "share_missed": 7}
    assert (
        feed_line("r", FEED | {"quality": late}).plain.splitlines()[-1]
        == "  1,234 ticks shared, 50,000 wait, 7 left out"
    )
