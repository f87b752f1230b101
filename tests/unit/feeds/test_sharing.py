"""What waits to be shared: kept in order, within bounds, never twice, and nobody trades slower for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.feeds.markets import Market, ticks_of
from tests.unit.feeds.test_patient import Pauses
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.feeds import Outbox, TappedFeed
from tradekeel.feeds.sharing import LEAP_TICKS, ROOM_WAITS_MAX
from tradekeel.ports.ticks import Begun, Counts, Leap

TICKS = ticks_of(200)
NEW = Begun(run="r", last=0, counts={}, is_new=True)


def outbox(*, live: bool = False, ticks_max: int = 1_000) -> Outbox:
    return Outbox(Market(TICKS, live=live).info, lambda: None, ticks_max=ticks_max)


def bring(box: Outbox, count: int = 1_000) -> list[Tick]:
    """Bring the next ones, and see what they are."""
    taken, counts = box.take(count)
    if taken:
        box.brought(taken, counts)
    return [shared.tick for shared in taken]


def positions(ticks: Sequence[Tick]) -> list[int]:
    return [tick.position for tick in ticks]


# --- in order, once ---------------------------------------------------------------------------------------------------


def test_what_is_offered_is_brought_in_order_and_counted_by_instrument() -> None:
    box = outbox()
    box.begun(NEW)
    box.offer(TickWindow(TICKS[:3]))
    taken, counts = box.take(10)
    assert [(shared.tick.instrument, shared.count) for shared in taken] == [
        ("USD_JPY", 1),
        ("EUR_USD", 1),
        ("USD_JPY", 2),
    ]
    assert counts == {"USD_JPY": Counts(2, TICKS[2].ts_ns), "EUR_USD": Counts(1, TICKS[1].ts_ns)}
    assert box.take(10) == (taken, counts), "it stays until it is brought"
    box.brought(taken, counts)
    assert (len(box), box.shared, box.last, box.run) == (0, 3, 3, "r")


@given(st.lists(st.tuples(st.integers(0, 190), st.integers(1, 60), st.integers(0, 80)), max_size=30))
def test_however_the_conductor_goes_back_each_position_is_brought_once(moves: list[tuple[int, int, int]]) -> None:
    box, brought, seen = outbox(), list[Tick](), 0
    box.begun(NEW)
    for back, count, take in moves:
        start = min(back, seen)
        box.opened(start)
        box.offer(TickWindow(TICKS[start : start + count]))
        seen = max(seen, min(start + count, len(TICKS)))
        if take:
            brought += bring(box, take)
    while len(box):
        brought += bring(box)
    assert brought == TICKS[:seen]


def test_what_an_earlier_life_has_brought_is_not_brought_again_and_its_counts_go_on() -> None:
    box = outbox()
    box.offer(TickWindow(TICKS[:20]))
    box.begun(Begun(run="r", last=12, counts={"EUR_USD": Counts(6, 5)}, is_new=False))
    taken, _ = box.take(100)
    assert [(shared.tick.position, shared.count) for shared in taken[:2]] == [(13, 1), (14, 7)]


def test_ticks_that_were_pushed_out_while_they_were_brought_are_not_missed_twice() -> None:
    box = outbox(ticks_max=10)
    box.begun(NEW)
    box.offer(TickWindow(TICKS[:10]))
    taken, counts = box.take(5)
    box.offer(TickWindow(TICKS[10:17]))  # seven of the oldest go, five of them on their way
    box.brought(taken, counts)
    assert positions(bring(box)) == list(range(8, 18))
    assert (box.shared, box.left_out) == (15, 7)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_what_finds_no_room_is_left_out_the_oldest_first_and_counts_begin_anew_behind_it() -> None:
    box = outbox(ticks_max=50)
    box.begun(NEW)
    for start in range(0, 200, 20):
        box.offer(TickWindow(TICKS[start : start + 20]))
        assert len(box) <= 50
    assert (len(box), box.left_out) == (50, 150)
    taken, _ = box.take(100)
    assert (taken[0].tick.position, taken[0].count) == (151, 1)


async def test_a_recording_waits_for_room_as_long_as_the_server_takes_anything() -> None:
    box, clock = outbox(ticks_max=30), Pauses()
    feed = TappedFeed(Market(TICKS), box, clock)
    await feed.open(0)
    await feed.next_window(30)
    await feed.next_window(30)
    assert len(clock.pauses) == ROOM_WAITS_MAX, "a server that takes nothing is not waited for longer than that"
    assert (len(box), box.left_out) == (30, 30)
    box.is_taken = False
    await feed.next_window(30)
    assert len(clock.pauses) == ROOM_WAITS_MAX
    assert feed.progress() is None
    await feed.close()


async def test_a_live_market_never_waits() -> None:
    box, clock = outbox(live=True, ticks_max=30), Pauses()
    feed = TappedFeed(Market(TICKS, live=True), box, clock)
    await feed.open(0)
    while await feed.next_window(30):
        pass
    assert clock.pauses == []
    assert (len(box), box.left_out, box.ended) == (30, 170, True)
    assert feed.quality() == {"ticks": 200, "shared": 0, "share_waiting": 30, "share_missed": 170}


# --- markets that nobody can replay -----------------------------------------------------------------------------------


def test_a_live_market_that_begins_again_beside_a_stream_leaps_behind_all_of_it() -> None:
    box = outbox(live=True)
    box.offer(TickWindow(TICKS[60:80]))
    box.begun(Begun(run="r", last=100, counts={"EUR_USD": Counts(50, 1)}, is_new=False))
    taken, _ = box.take(100)
    assert positions([shared.tick for shared in taken]) == list(range(LEAP_TICKS + 101, LEAP_TICKS + 121))
    assert taken[0].count == 1
    assert taken[0].leap == Leap(100, LEAP_TICKS + 101), "no tick has the numbers in between"
    assert not [shared for shared in taken[1:] if shared.leap]
    box.offer(TickWindow(TICKS[80:81]))
    assert positions(bring(box))[-1] == LEAP_TICKS + 121


def test_a_live_market_whose_stream_is_new_keeps_its_numbers() -> None:
    box = outbox(live=True)
    assert box.last == 0
    box.offer(TickWindow(TICKS[60:80]))
    assert box.last == 60
    box.begun(Begun(run="r", last=60, counts={}, is_new=True))
    assert positions(bring(box)) == list(range(61, 81))


@pytest.mark.parametrize("after", [150, 100, 30, 0])
def test_an_account_that_begins_a_live_market_again_never_uses_a_number_twice(after: int) -> None:
    box = outbox(live=True)
    box.begun(NEW)
    box.offer(TickWindow(TICKS[:100]))
    first = positions(bring(box))
    box.opened(after)
    box.offer(TickWindow(ticks_of(50, first=after + 1, every_ms=999)))
    second = positions(bring(box))
    assert len(second) == 50
    assert second[0] > first[-1] + 1, "with a gap, since other ticks were there in between"


def test_a_stream_that_its_server_has_lost_goes_on_where_the_writer_is() -> None:
    box = outbox(live=True)
    box.begun(NEW)
    box.offer(TickWindow(TICKS[:30]))
    bring(box)
    box.begun(Begun(run="r", last=30, counts={}, is_new=True))
    box.offer(TickWindow(TICKS[30:40]))
    assert positions(bring(box)) == list(range(31, 41))
