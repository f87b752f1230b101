"""The sharer: brings what waits, says once what is wrong, gives up only what a person must settle, and holds up nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.feeds.markets import Market, ticks_of
from tests.unit.feeds.streams import HEAD, STREAM, WRITING
from tests.unit.runtime.support import World, world
from tradekeel.actors.sharer import DRAIN_S, LONG_AWAY, Sharer, SharerSettings, TicksWait
from tradekeel.domain.protocol import Alert
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.errors import StoreAway, StoreRefused
from tradekeel.feeds import Outbox
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.storage.memory.ticks import MemoryStreams, MemoryTicks

TICKS = ticks_of(5_000)
AWAY = StoreAway("the server cannot be reached")


class Ear(Actor):
    """In control's place."""

    def __init__(self) -> None:
        self.alerts: list[str] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert isinstance(message, Alert)
        self.alerts.append(message.text)


class House:
    """A sharer beside an outbox, and what control hears of it."""

    def __init__(self, this: World, outbox: Outbox, ear: Ear, streams: MemoryStreams) -> None:
        self.clock, self.system, self.faults = this.clock, this.system, this.faults
        self.until, self.stop = this.until, this.stop
        self.outbox, self.ear, self.streams = outbox, ear, streams

    @property
    def positions(self) -> list[int]:
        """What is in the stream."""
        sequenced = self.streams.by_name.get(STREAM)
        return list(sequenced.ticks) if sequenced else []

    async def offer(self, ticks: list[Tick]) -> None:
        """The conductor takes these."""
        self.outbox.offer(TickWindow(ticks))
        await self.clock.settle()


@asynccontextmanager
async def house(streams: MemoryStreams | None = None, *, live: bool = False, run: str = "run") -> AsyncIterator[House]:
    """A sharer at work on a manual clock."""
    shared = streams or MemoryStreams()
    ear = Ear()
    kept: list[Outbox] = []

    def root(this: World) -> Supervisor:
        sharer = this.system.ref("sharer")
        outbox = Outbox(Market(TICKS, live=live).info, lambda: sharer.latest("ticks", TicksWait()), ticks_max=10_000)
        kept.append(outbox)
        settings = SharerSettings(account="main", run=run, data="data", ticks_max=1_000_000)

        def make() -> Sharer:
            return Sharer(settings, outbox, lambda: MemoryTicks(shared, STREAM), this.system.ref("control"))

        return Supervisor("root", children=[ChildSpec("control", lambda: ear), ChildSpec("sharer", make, shutdown_s=8)])

    async with world(root) as w:
        yield House(w, kept[0], ear, shared)


async def test_what_is_offered_is_in_the_stream_and_the_end_behind_it() -> None:
    async with house() as h:
        await h.offer(TICKS[:3_000])
        assert h.positions == list(range(1, 3_001))
        h.outbox.end()
        await h.clock.settle()
        assert h.streams.by_name[STREAM].ended_at == 3_000
        assert h.outbox.shared == 3_000
    assert h.ear.alerts == []


async def test_a_feed_that_goes_on_behind_its_end_ends_again() -> None:
    async with house() as h:
        await h.offer(TICKS[:10])
        h.outbox.end()
        await h.clock.settle()
        h.outbox.opened(5)
        await h.offer(TICKS[5:20])
        h.outbox.end()
        await h.clock.settle()
        assert h.positions == list(range(1, 21))
        assert h.streams.by_name[STREAM].ended_at == 20


async def test_a_stream_that_is_begun_with_nothing_to_say_is_there_for_readers() -> None:
    async with house(live=True) as h:
        assert MemoryTicks(h.streams, STREAM).look() == replace(HEAD, live=True, instruments=h.outbox.info.instruments)


async def test_a_server_that_is_away_is_said_once_and_what_waits_is_brought_when_it_is_back() -> None:
    async with house() as h:
        await h.offer(TICKS[:10])
        h.streams.fault = lambda doing: AWAY
        await h.offer(TICKS[10:2_500])
        for _ in range(8):
            assert await h.clock.advance_to_next()
        assert not bool(h.outbox.is_taken)
        assert h.ear.alerts == ["ticks are not shared for now, and trading goes on: the server cannot be reached"]
        h.streams.fault = lambda doing: None
        await h.until(lambda: not len(h.outbox))
        assert h.positions == list(range(1, 2_501))
        assert h.outbox.is_taken
    assert h.ear.alerts[1:] == ["the tick stream 'market' in memory takes ticks again; it has missed none"]


async def test_what_was_done_and_not_answered_is_asked_again_and_is_there_once() -> None:
    class Forgetful(MemoryTicks):
        """Does what it is asked, and does not answer every third time."""

        asked = 0

        async def append(self, *arguments: Any) -> None:
            await super().append(*arguments)
            self.asked += 1
            if self.asked % 3:
                raise AWAY

    streams = MemoryStreams()
    ear = Ear()

    def root(this: World) -> Supervisor:
        sharer = this.system.ref("sharer")
        outbox = Outbox(Market(TICKS).info, lambda: sharer.latest("ticks", TicksWait()))
        outbox.offer(TickWindow(TICKS))
        settings = SharerSettings(account="main", run="run", data="data", ticks_max=1_000_000)
        control = this.system.ref("control")
        make = partial(Sharer, settings, outbox, lambda: Forgetful(streams, STREAM), control)
        return Supervisor("root", children=[ChildSpec("control", lambda: ear), ChildSpec("sharer", make)])

    async with world(root) as w:
        await w.until(lambda: len(streams.by_name[STREAM].ticks) == len(TICKS))
        written = [shared.tick for shared in streams.by_name[STREAM].ticks.values()]
    assert written == TICKS


@pytest.mark.parametrize("live", [True, False])
async def test_a_stream_that_its_server_has_lost_is_begun_again_as_the_same_run(live: bool) -> None:
    first = MemoryStreams()
    async with house(first, live=live, run="a") as h:
        await h.offer(TICKS[:10])
    async with house(first, live=live, run="b") as h:
        h.outbox.opened(10)
        await h.offer(TICKS[10:20])
        last = h.positions[-1]
        h.streams.lose(STREAM)
        await h.offer(TICKS[20:30])
        assert h.streams.by_name[STREAM].head.run == "a", "readers that follow it go on"
        assert h.positions == list(range(last + 1, last + 11))
    assert h.ear.alerts == []


async def test_another_writer_of_a_live_market_ends_the_sharing_and_that_is_said() -> None:
    async with house(live=True) as h:
        await h.offer(TICKS[:10])
        await MemoryTicks(h.streams, STREAM).begin(
            replace(HEAD, live=True, instruments=h.outbox.info.instruments), "data", "somebody"
        )
        await h.offer(TICKS[10:20])
        await h.offer(TICKS[20:30])
        assert h.positions == list(range(1, 11))
        assert not h.outbox.is_taken
    (alert,) = h.ear.alerts
    assert "trading goes on: somebody else writes the tick stream 'market' in memory (by writer somebody)" in alert
    assert alert.endswith("Give one of the two another name")


async def test_one_that_was_replaced_is_left_to_who_replaced_it() -> None:
    async with house() as h:
        await h.offer(TICKS[:10])
        await MemoryTicks(h.streams, STREAM).begin(replace(HEAD, run="other"), "other data", "somebody")
        await h.offer(TICKS[10:20])
        assert h.positions == []
    assert "(by run other)" in h.ear.alerts[0]


async def test_a_refusal_is_said_and_asked_again_since_a_person_may_mend_it() -> None:
    refused = StoreRefused("a right is missing")
    async with house() as h:
        h.streams.fault = lambda doing: refused
        await h.offer(TICKS[:10])
        assert h.ear.alerts == ["ticks are not shared for now, and trading goes on: a right is missing"]
        h.streams.fault = lambda doing: None
        await h.until(lambda: not len(h.outbox))
    assert h.positions == list(range(1, 11))


async def test_a_stop_brings_what_the_server_still_takes() -> None:
    async with house() as h:
        h.outbox.offer(TickWindow(TICKS))
        h.outbox.end()
        await h.stop()
        assert h.positions == [tick.position for tick in TICKS]
        assert h.streams.by_name[STREAM].ended_at == len(TICKS)


async def test_a_stop_waits_a_moment_for_a_server_that_is_away_and_not_for_one_that_has_long_been() -> None:
    async with house() as h:
        h.streams.fault = lambda doing: AWAY
        await h.offer(TICKS[:10])
        begun_s = h.clock.monotonic()
        await h.stop()
        assert 0 < h.clock.monotonic() - begun_s <= DRAIN_S + 1
    async with house() as h:
        h.streams.fault = lambda doing: AWAY
        await h.offer(TICKS[:10])
        for _ in range(3 * LONG_AWAY):
            await h.clock.advance(5.0)
        begun_s = h.clock.monotonic()
        await h.stop()
        assert h.clock.monotonic() - begun_s < 0.1


async def test_it_does_what_it_is_for_and_nothing_else() -> None:
    async with house() as h:
        h.system.ref("sharer").latest("x", WRITING)
        await h.until(lambda: bool(h.faults))
    assert "the sharer does not know Writing" in str(h.faults[0])
