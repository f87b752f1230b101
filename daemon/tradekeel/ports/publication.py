"""What publishing to outside readers must offer: the journal as streams of events, and each account's open trades.

**Events.** Each execution has a stream, and each event in it bears the number of its journal record. A stream is only ever
appended to behind the event that its writer believes to be the last: what was published already cannot be published again,
nothing is left out, and a writer that is wrong about it (because an answer was lost, say, or the server lost the stream) is
told where the stream ends. So events come exactly once and without a gap, whatever is killed or lost in between.

**Open trades.** Each account has one board, which shows the open trades of one moment: as of one record of the journal. It is
changed as a whole, and says when that was and who did it.

Neither is the truth; the books are. Errors are those of ``ports/cache.py``: StoreAway, StoreUnanswered, StoreRefused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from msgspec import Struct

from tradekeel.domain.rows import ExecutionRow

EVENTS_A_CALL_MAX: Final = 1_000
"""Events that are appended in one step."""


class Event(Struct, frozen=True):
    """A journal record for outside readers."""

    sequence: int  # of the record, from 1 without a gap
    type: str  # of the record, such as order_changed
    ts_ns: int
    correlation_id: str
    record: bytes  # the record as JSON, decimals as text

    def is_like(self, other: Event) -> bool:
        """Whether both are of one record. Its JSON may differ: another version may write another."""
        mine = (self.sequence, self.type, self.ts_ns, self.correlation_id)
        return mine == (other.sequence, other.type, other.ts_ns, other.correlation_id)


class Board(Struct, frozen=True, kw_only=True):
    """What an account's board is to show, told by what has changed."""

    account: str
    execution: str
    sequence: int  # the journal's newest record at that moment
    put: Mapping[str, bytes]  # trades as JSON, decimals as text, by their ids
    gone: Sequence[str] = ()  # trades that were shown and are open no more
    trades: int  # how many are open


class Author(Struct, frozen=True):
    """A daemon that publishes."""

    id: str  # of its state directory
    name: str


@runtime_checkable
class Publication(Protocol):
    """Where outside readers look."""

    async def newest(self, execution: str) -> Event | None:
        """The newest event of an execution; None where there is none. One that nobody of ours can have written has number -1."""

    async def append(
        self, execution: str, after: int, events: Sequence[Event], *, keep: int, anew: bool = False
    ) -> int:
        """Append events behind number ``after``, in one step; the number of the stream's last event then.

        Where the stream does not end at ``after``, nothing is appended, and the answer says where it ends: 0 where there is
        none; also where a reader has deleted its newest events, since their numbers are never given again. With ``anew`` a
        stream that there is not may begin behind any number. About ``keep`` events are kept.
        """

    async def forget(self, execution: str) -> None:
        """Remove an execution's stream."""

    async def show(self, board: Board, by: Author, *, since: int | None, fresh_s: float) -> bool:
        """Change an account's board in one step; whether it was.

        With ``since`` only where it shows what ``by`` put there as of that record of this execution; otherwise all of it is
        replaced. StoreRefused where another publisher has changed it within ``fresh_s``: an account of the same name is traded
        by another daemon.
        """


class Run(Struct, frozen=True):
    """An execution as whoever publishes it needs to know it."""

    row: ExecutionRow
    last: int  # its newest record
    archived: int = 0  # its records up to this one are in the books no more


class OpenTrades(Struct, frozen=True):
    """The open trades of an execution at one moment."""

    sequence: int  # the journal's newest record at that moment
    versions: Mapping[str, int]  # of every open trade, by its id
    changed: Mapping[str, bytes]  # as JSON, those of which another version was known before


class JournalSource(Protocol):
    """Where the published comes from: the books, which are only read. Raises StoreError where they cannot be."""

    async def runs(self, accounts: Sequence[str], each_max: int) -> list[Run]:
        """The newest executions of each account, the newest first."""

    async def run(self, execution: str) -> Run | None:
        """One execution; None where the books do not know it (yet)."""

    async def events(self, execution: str, after: int, events_max: int) -> list[Event]:
        """The records behind number ``after``, in order and without a gap; fewer where they are large."""

    async def open_trades(self, execution: str, known: Mapping[str, int]) -> OpenTrades:
        """What is open now; ``known`` are the versions that need not be told again."""
