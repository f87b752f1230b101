"""Rows of a server, read while the event loop goes on: in a thread, and again where the server was away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradekeel.domain.ticks import Tick
from tradekeel.errors import DataError, StoreAway
from tradekeel.feeds.context import Aside, FeedContext
from tradekeel.feeds.patient import Patience
from tradekeel.feeds.replay import Source, Start


class ReadAside:
    """How one feed reads its source. Satisfies :class:`~tradekeel.feeds.replay.Elsewhere`.

    Whoever waits for a read may be cancelled, and the thread reads on. What it comes to is kept for the next who asks: no tick
    is lost with somebody's patience.
    """

    def __init__(self, context: FeedContext, aside: Aside, server: str) -> None:
        """``server`` is what messages call it. ``aside`` runs one call after the other."""
        self._aside, self._server = aside, server
        self._patience = Patience(context)
        self._kept: list[list[Tick] | DataError | None] = []  # of the thread's alone; what was read, one thing at most

    @property
    def waits(self) -> str:
        """Why nothing comes at the moment."""
        return self._patience.waits

    async def seek(self, source: Source, after: int, timeframes: Mapping[str, Sequence[str]]) -> Start:
        """As the source does, behind whatever is still being read."""

        def go_there() -> Start:
            self._kept.clear()
            return source.seek(after, timeframes)

        return await self._aside.call(go_there)

    async def read(self, source: Source) -> list[Tick] | None:
        """The next ticks of the source, as soon as the server gives them."""

        def read_on() -> None:
            if not self._kept:
                try:
                    self._kept.append(source.read())
                except DataError as error:  # said once by a source, and behind it there is nothing
                    self._kept.append(error)

        await self._patience.ask(lambda: self._aside.call(read_on), self._server, (StoreAway,))
        found = self._kept.pop()
        if isinstance(found, DataError):
            raise found
        return found
