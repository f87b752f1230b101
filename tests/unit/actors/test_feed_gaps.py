"""Ticks that are missing: everybody is told in order, and stands behind them. And a stop waits for no server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from tests.unit.feeds.markets import Market, ticks_of
from tests.unit.runtime.support import World, world
from tradekeel.actors.feed import ConductorSettings, Feed
from tradekeel.actors.feed.conducting import STOP_OPENING_S
from tradekeel.domain.messages import Stamp
from tradekeel.domain.protocol import (
    Alert,
    AskSession,
    CaughtUp,
    Confirm,
    Cut,
    MissTicks,
    QuietUntil,
    Reached,
    Run,
    SessionState,
    Stand,
    StopFeed,
    Taken,
    Where,
)
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.supervisor import Supervisor

TICKS = ticks_of(100)
PARTS = ("session", "executor", "monitor", "strategist", "control")


class Holey(Market):
    """A market whose windows say where ticks are missing, as a shared stream's do."""

    def __init__(self, ticks: Sequence[Tick]) -> None:
        super().__init__(ticks, live=True, window_max=1_000)
        self.info = Market(TICKS).info  # but it may be read again
        self.opened: list[tuple[int, int]] = []
        self.lost_at: dict[int, int] = {}  # where a writer was begun anew, and how many ticks are missing before that
        self.answers = anyio.Event()
        self.answers.set()
        self._seen = self._behind = 0

    async def open(self, after: int, seen: int = 0) -> None:
        await self.answers.wait()
        self.opened.append((after, seen))
        self._seen, self._behind = seen, after
        await super().open(after, seen)

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        ticks = self.ticks[self._at : self._at + ticks_max]
        count = next((at for at in range(1, len(ticks)) if ticks[at].position != ticks[0].position + at), len(ticks))
        window = await super().next_window(count) if count else None
        if window is None:
            await anyio.sleep_forever()
            raise AssertionError
        lost = self.lost_at.get(window.first_position)
        begins = not self._behind and not self._seen
        gap = window.first_position > self._behind + 1 and window.first_position - 1 > self._seen and not begins
        self._behind = window.last_position
        return TickWindow(window.ticks, gap=gap, lost=lost if gap else None)


class Part(Actor):
    """One part of an account, that stands where it is told to and remembers what it was asked."""

    def __init__(self, name: str, heard: list[tuple[str, Any]], position: int, frontier: int) -> None:
        self.part = name
        self._heard = heard
        self.position = position
        self._frontier = frontier

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if isinstance(message, MissTicks | Cut | CaughtUp | Alert):
            self._heard.append((self.part, message))
        answer: Any = 0
        match message:
            case Where():
                answer = Stand(self.position, self._frontier)
            case AskSession():
                answer = SessionState(True, "", self.position)
            case MissTicks(position):
                self.position, answer = max(self.position, position), Taken.NOTHING
            case QuietUntil(stop=stop):
                answer = stop
            case Run(window=window, until=until):
                if window is not None:
                    self.position = max(self.position, Stamp.position(until))
                answer = Reached(until, False)
            case Confirm():
                answer = Taken.NOTHING
            case Cut():
                answer = True
        if reply is not None:
            reply.send(answer)


class Account:
    """A feed among parts."""

    def __init__(self, this: World, source: Holey, heard: list[tuple[str, Any]], parts: dict[str, Part]) -> None:
        self.world, self.source, self.heard, self.parts = this, source, heard, parts

    @property
    def told(self) -> list[tuple[str, Any]]:
        """Who was told of missing ticks, and what, in order."""
        return [(part, message) for part, message in self.heard if isinstance(message, MissTicks)]

    @property
    def alerts(self) -> list[str]:
        return [message.text for _, message in self.heard if isinstance(message, Alert)]

    @property
    def cuts(self) -> list[int]:
        """The positions at which everybody's state was saved."""
        return [message.position for _, message in self.heard if isinstance(message, Cut)]


@asynccontextmanager
async def account(
    source: Holey, *, at: int = 0, frontier: int = 0, venue_at: int | None = None, lockstep: bool = True
) -> AsyncIterator[Account]:
    """Conduct this source through an account whose parts stand at a position."""
    heard: list[tuple[str, Any]] = []
    parts = {name: Part(name, heard, at, frontier) for name in PARTS}
    if venue_at is not None:
        parts["session"].position = venue_at

    async def make() -> Holey:
        return source

    def root(this: World) -> Supervisor:
        session, executor, monitor, strategist, control = (this.system.ref(name) for name in PARTS)
        settings = ConductorSettings(account="a", lockstep=lockstep, strategies=("strategist",))
        feed = Feed(
            settings,
            make,
            session=session,
            executor=executor,
            monitor=monitor,
            strategists=[strategist],
            control=control,
        )
        children = [ChildSpec(name, partial(parts.__getitem__, name)) for name in parts]
        return Supervisor("root", children=[*children, ChildSpec("feed", lambda: feed)])

    async with world(root) as w:
        await w.clock.settle()
        yield Account(w, source, heard, parts)


def missed(position: int, *, gap: bool = True) -> MissTicks:
    return MissTicks(position, TICKS[position].ts_ns, gap=gap)


def everybody(message: MissTicks) -> list[tuple[str, Any]]:
    return [("session", message), ("monitor", message), ("strategist", message)]


# --- a gap ------------------------------------------------------------------------------------------------------------


async def test_of_a_gap_the_venue_the_monitor_and_the_strategies_are_told_in_that_order() -> None:
    async with account(Holey([*TICKS[:30], *TICKS[50:]])) as a:
        assert a.told == everybody(missed(50))
        assert a.alerts == [
            "ticks 31 to 50 of its feed are missing: strategies have been told, and no entry is taken before they are warm again"
        ]
        assert a.parts["strategist"].position == 100
        assert a.cuts[0] == 50, "a restart does not meet it again"


@pytest.mark.parametrize(
    ("lost", "said"),
    [(0, "nothing of what it had shared is missing"), (7, "7 ticks of what it had shared are missing")],
)
async def test_numbers_that_never_were_are_not_said_to_be_missing_and_everybody_is_told_all_the_same(
    lost: int, said: str
) -> None:
    source = Holey([*TICKS[:30], *TICKS[50:]])
    source.lost_at[51] = lost
    async with account(source) as a:
        assert a.told == everybody(missed(50))
        [alert] = a.alerts
        assert alert.startswith("its feed goes on at tick 51, since whoever shares it was started anew:")
        assert f": {said}, and what the market told meanwhile nobody shared: strategies have been told" in alert


async def test_a_venue_that_ticks_do_not_drive_is_not_told() -> None:
    async with account(Holey([*TICKS[:30], *TICKS[50:]]), lockstep=False) as a:
        assert a.told == everybody(missed(50))[1:]


async def test_each_gap_is_told_once() -> None:
    async with account(Holey([*TICKS[:30], *TICKS[50:60], *TICKS[70:]])) as a:
        assert a.told == [*everybody(missed(50)), *everybody(missed(70))]
        assert len(a.alerts) == 2


async def test_a_gap_that_is_met_on_the_way_back_leads_behind_all_that_anybody_has_seen() -> None:
    frontier = Stamp.after(80)
    async with account(Holey([*TICKS[:30], *TICKS[50:]]), at=20, frontier=frontier) as a:
        assert a.source.opened == [(20, 20), (80, 80)]
        assert [(part, message.position, message.gap) for part, message in a.told] == [
            ("session", 80, True),
            ("monitor", 80, True),
            ("strategist", 80, True),
        ]
        assert [part for part, message in a.heard if isinstance(message, CaughtUp)] == ["executor"]
        assert a.alerts[0].startswith("ticks 31 to 80 of its feed are missing")


async def test_what_only_the_venue_has_not_seen_is_no_gap_to_anybody() -> None:
    async with account(Holey(TICKS[50:]), at=50, venue_at=30, frontier=Stamp.after(50)) as a:
        assert a.source.opened == [(30, 50)]
        assert a.told == []


# --- where it begins --------------------------------------------------------------------------------------------------


async def test_who_has_seen_nothing_begins_with_a_later_tick_and_a_cut_says_so_at_once() -> None:
    async with account(Holey(TICKS[40:])) as a:
        assert a.told == everybody(missed(40, gap=False))
        assert a.cuts[0] == 40
        assert a.alerts == []


async def test_that_strategies_have_said_something_at_their_start_is_no_tick_that_somebody_saw() -> None:
    async with account(Holey(TICKS[40:]), frontier=Stamp.after(0)) as a:
        assert a.told == everybody(missed(40, gap=False))
        assert a.parts["monitor"].position == 40


async def test_who_begins_with_the_first_tick_is_told_nothing() -> None:
    async with account(Holey(TICKS)) as a:
        assert a.told == []


# --- a stop -----------------------------------------------------------------------------------------------------------


async def test_a_stop_does_not_wait_for_a_source_that_does_not_open() -> None:
    source = Holey(TICKS)
    source.answers = anyio.Event()
    async with account(source) as a:
        begun_s = a.world.clock.monotonic()
        stopped: list[Any] = []

        async def stop() -> None:
            stopped.append(await a.world.ask("feed", StopFeed("a person asked", "keep"), timeout_s=60))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            await a.world.until(lambda: bool(stopped))
        assert a.world.clock.monotonic() - begun_s <= STOP_OPENING_S
        assert (source.opened, a.cuts) == ([], [])


async def test_a_stop_lets_a_source_open_that_does_so_in_time() -> None:
    source = Holey(TICKS)
    source.answers = anyio.Event()
    async with account(source) as a, anyio.create_task_group() as tasks:
        tasks.start_soon(a.world.ask, "feed", StopFeed("a person asked", "keep"), 60)
        await a.world.clock.settle()
        source.answers.set()
        await a.world.clock.settle()
        assert source.opened == [(0, 0)]
        assert [part for part, message in a.heard if isinstance(message, CaughtUp)] == ["executor"]
