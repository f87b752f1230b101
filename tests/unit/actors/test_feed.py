"""The feed says how far it is, also where it takes long to find a tick at all."""

from __future__ import annotations

from typing import Any

import anyio

from tests.unit.runtime.support import World, world
from tradekeel.actors.feed import ConductorSettings, Feed
from tradekeel.domain.protocol import FeedProgress, Stand, Where
from tradekeel.domain.ticks import TickWindow
from tradekeel.ports import FeedInfo
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.supervisor import Supervisor


class Barren:
    """A source that has read some rows, and no tick yet."""

    info = FeedInfo(name="m", instruments=("EUR_USD",), replayable=True, fingerprint="x")

    def __init__(self) -> None:
        self.rows = 0
        self.share = 0.0

    async def open(self, after: int, seen: int = 0) -> None:
        """Nothing to do."""

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        await anyio.sleep_forever()
        return None

    async def close(self) -> None:
        """Nothing to do."""

    def quality(self) -> dict[str, int]:
        return {"ticks": 0, "rows": self.rows}

    def progress(self) -> float | None:
        return self.share


class Everybody(Actor):
    """The rest of an account, and whoever wants to know how far it is."""

    def __init__(self) -> None:
        self.told: list[FeedProgress] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if isinstance(message, FeedProgress):
            self.told.append(message)
        elif reply is not None:
            reply.send(Stand(0, 0) if isinstance(message, Where) else 0)


async def test_rows_that_come_to_nothing_are_told_of_and_nothing_is_where_nothing_is_read() -> None:
    source, others = Barren(), Everybody()

    async def make() -> Barren:
        return source

    def root(this: World) -> Supervisor:
        ref = this.system.ref("others")
        settings = ConductorSettings(account="a", lockstep=False)
        feed = Feed(settings, make, session=ref, executor=ref, monitor=ref, strategists=[], control=ref)
        return Supervisor("root", children=[ChildSpec("others", lambda: others), ChildSpec("feed", lambda: feed)])

    async with world(root) as w:
        for source.rows, source.share in ((1_000, 0.1), (9_000, 0.9), (9_000, 0.9)):
            await w.clock.advance(1.0)
    assert [(told.position, told.share, told.quality["rows"]) for told in others.told] == [
        (0, 0.1, 1_000),
        (0, 0.9, 9_000),
    ]
