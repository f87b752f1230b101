"""Reading with patience: a server that is away is asked again, ever more seldom; what waiting does not mend is said at once."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from msgspec.structs import replace

from tests.unit.feeds.markets import Read, read_on, ticks_of
from tests.unit.feeds.streams import HEAD, STREAM, stream_feed, written
from tradekeel.errors import DataError, StoreAway, StoreRefused, StoreUnanswered
from tradekeel.feeds.patient import AGAIN_FIRST_S, AGAIN_MAX_S
from tradekeel.runtime.clock import ManualClock


class Pauses:
    """A clock whose pauses are over at once, and remembered."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._clock = ManualClock()

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await anyio.lowlevel.checkpoint()


def faults(*errors: Exception) -> Iterator[Exception | None]:
    yield from errors
    while True:
        yield None


@pytest.mark.parametrize("error", [StoreAway("it is away"), StoreUnanswered("no answer within 5 s")])
async def test_a_server_that_is_away_is_asked_ever_more_seldom_and_said_once(error: Exception) -> None:
    ticks, clock = ticks_of(50), Pauses()
    streams, said = await written(ticks), list[tuple[str, str]]()
    feed, read = stream_feed(streams, said=said, clock=clock), Read()
    await feed.open(20, 20)
    due = faults(*[error] * 9)
    waited_for = set[str]()

    def fault(doing: str) -> Exception | None:
        waited_for.add(feed.waits())
        return next(due)

    streams.fault = fault
    await read_on(feed, read)
    assert waited_for == {"", str(error)}
    assert feed.waits() == ""
    assert read.ticks == ticks[20:]
    assert clock.pauses[0] == AGAIN_FIRST_S
    assert clock.pauses[-1] == AGAIN_MAX_S
    assert clock.pauses == sorted(clock.pauses)
    assert len(clock.pauses) == 9
    assert said == [
        ("WARNING", f"feed reader waits: {error}"),
        ("INFO", "feed reader: the tick stream 'market' in memory is back"),
    ]
    assert feed.quality()["away"] == 1


async def test_a_stream_that_is_lost_is_waited_for_until_its_writer_begins_it_again() -> None:
    ticks, said = ticks_of(30), list[tuple[str, str]]()
    streams = await written(ticks)
    feed, read = stream_feed(streams, said=said, clock=Pauses()), Read()
    await feed.open(10, 10)
    lost = streams.by_name[STREAM]
    streams.lose(STREAM)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_on, feed, read)
        while not said:
            await anyio.lowlevel.checkpoint()
        streams.put(STREAM, lost)
    assert read.ticks == ticks[10:]
    assert said[0] == ("WARNING", "feed reader waits: the tick stream 'market' in memory is not there")


async def test_what_waiting_does_not_mend_is_said_at_once() -> None:
    streams, clock = await written(ticks_of(30)), Pauses()
    feed = stream_feed(streams, clock=clock)
    await feed.open(10, 10)
    due = faults(StoreRefused("a right is missing"))
    streams.fault = lambda doing: next(due)
    with pytest.raises(DataError, match="feed reader: a right is missing"):
        await feed.next_window(1)
    await feed.open(10, 10)
    streams.by_name[STREAM].head = replace(HEAD, run="another")
    with pytest.raises(DataError, match=r"was replaced by run another, and what was read is run run: .*--fresh"):
        await feed.next_window(1)
    assert clock.pauses == []
    await feed.close()
