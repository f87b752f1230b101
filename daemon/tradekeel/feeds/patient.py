"""Reading a shared stream with patience: a server that does not serve is asked again, with back-off, and why is said once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tradekeel.errors import DataError, StoreAway, StoreRefused, StoreUnanswered, UserRefused
from tradekeel.feeds.context import FeedContext
from tradekeel.ports.log import Level
from tradekeel.ports.ticks import Piece, SharedTicks, StreamGone, StreamReplaced

AGAIN_FIRST_S, AGAIN_FACTOR, AGAIN_MAX_S = 0.1, 2.0, 5.0
"""How long a server that is away is left alone before it is asked again."""

_AWAY = (StoreAway, StoreUnanswered, UserRefused, StreamGone)

T = TypeVar("T")


class Patience:
    """What a feed has with a server that is away: it is asked again, ever more seldom. Why is said once, and that it is back."""

    def __init__(self, context: FeedContext) -> None:
        self._feed, self._sleeper, self._say = context.name, context.sleeper, context.say
        self.times_away = 0
        self.waits = ""  # why nothing can be read at the moment

    async def ask(
        self,
        question: Callable[[], Awaitable[T]],
        what: str,
        away: tuple[type[Exception], ...],
        why: Callable[[Exception], str] = str,
    ) -> T:
        """The answer, however often ``away`` was raised instead: why is said at first, and at last that ``what`` is back."""
        pause_s, kind = 0.0, ""
        while True:
            try:
                answer = await question()
            except away as error:
                self.times_away += not pause_s
                if type(error).__name__ != kind:  # what was away a moment ago may be there, and refuse us
                    kind = type(error).__name__
                    self.waits = why(error)
                    self._tell("WARNING", f"feed {self._feed} waits: {self.waits}")
                pause_s = min(AGAIN_MAX_S, pause_s * AGAIN_FACTOR) or AGAIN_FIRST_S
                await self._sleeper.sleep(pause_s)
            else:
                self.waits = ""
                if pause_s:
                    self._tell("INFO", f"feed {self._feed}: {what} is back")
                return answer

    def _tell(self, level: Level, text: str) -> None:
        if self._say is not None:
            self._say(level, text)


class PatientReader:
    """One run of a stream, as its feed reads it. Every method waits while the server or the stream is away.

    So it does for one that does not let us in any more: a server that was started again may get its users a moment later.
    Raises DataError where waiting does not help: there is another run in its place, or what is no stream of ours.
    """

    def __init__(self, stream: SharedTicks, run: str, context: FeedContext) -> None:
        self._stream = stream
        self._run = run
        self._feed = context.name
        self._patience = Patience(context)
        self.rows = 0  # read, also those that were only looked at

    @property
    def times_away(self) -> int:
        """How often it was away."""
        return self._patience.times_away

    @property
    def waits(self) -> str:
        """Why nothing can be read at the moment."""
        return self._patience.waits

    @property
    def described(self) -> str:
        """The stream, for messages."""
        return self._stream.described

    async def read(self, after: int, count: int) -> Piece:
        """The oldest entries behind ``after``."""
        return self._counted(await self._ask(lambda: self._stream.read(self._run, after, count)))

    async def read_back(self, before: int, count: int) -> Piece:
        """The newest entries before ``before``, oldest first."""
        return self._counted(await self._ask(lambda: self._stream.read_back(self._run, before, count)))

    async def wait(self, after: int, wait_s: float) -> None:
        """Until something may be there behind ``after``."""
        await self._ask(lambda: self._stream.wait(after, wait_s))

    async def close(self) -> None:
        """Let go of the server."""
        await self._stream.close()

    def _counted(self, piece: Piece) -> Piece:
        self.rows += len(piece.ticks)
        return piece

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._patience.ask(question, self._stream.described, _AWAY, self._why)
        except StreamReplaced as error:
            raise DataError(
                f"feed {self._feed}: {self._stream.described} was replaced {error}, and what was read is run {self._run}: "
                "whoever shares it has begun anew, or has other data. Begin anew, too, with --fresh"
            ) from None
        except StoreRefused as error:
            raise DataError(f"feed {self._feed}: {error}") from error

    def _why(self, error: Exception) -> str:
        return f"{self._stream.described} is not there" if isinstance(error, StreamGone) else str(error)
