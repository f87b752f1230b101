"""Publishing in memory: for tests, and to be held against what a server does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import StoreRefused
from tradekeel.ports.publication import EVENTS_A_CALL_MAX, Author, Board, Event


class ShownBoard(Struct, frozen=True, kw_only=True):
    """What readers see of an account."""

    by: Author
    execution: str
    sequence: int
    ts_ns: int
    trades: dict[str, bytes]


class MemoryPublication:
    """See ``ports/publication.py``. ``now_ns`` is UTC in nanoseconds."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.streams: dict[str, list[Event]] = {}
        self.boards: dict[str, ShownBoard] = {}
        self._given: dict[str, int] = {}  # the last number of a stream that somebody has taken events from

    async def newest(self, execution: str) -> Event | None:
        events = self.streams.get(execution)
        return events[-1] if events else None

    async def append(
        self, execution: str, after: int, events: Sequence[Event], *, keep: int, anew: bool = False
    ) -> int:
        assert len(events) <= EVENTS_A_CALL_MAX
        there = self.streams.get(execution, [])
        last = max(there[-1].sequence if there else 0, self._given.get(execution, 0))
        if events and (last == after or (not last and anew)):
            self.streams[execution] = [*there, *events][-keep:]
            last = events[-1].sequence
        return last

    async def forget(self, execution: str) -> None:
        self.streams.pop(execution, None)
        self._given.pop(execution, None)

    def take_away(self, execution: str, count: int) -> None:
        """A reader deletes the newest events: their numbers are not given again."""
        events = self.streams[execution]
        self._given[execution] = max(events[-1].sequence, self._given.get(execution, 0))
        self.streams[execution] = events[:-count]

    async def show(self, board: Board, by: Author, *, since: int | None, fresh_s: float) -> bool:
        shown, now_ns = self.boards.get(board.account), self._now_ns()
        if shown is not None and shown.by.id != by.id and now_ns - shown.ts_ns < fresh_s * NS_PER_S:
            raise StoreRefused(
                f"the open trades of account {board.account!r} are shown by another daemon, {shown.by.name!r}"
            )
        trades: dict[str, bytes] = {}
        if since is not None:
            if shown is None or (shown.by.id, shown.execution, shown.sequence) != (by.id, board.execution, since):
                return False
            trades = {trade_id: trade for trade_id, trade in shown.trades.items() if trade_id not in board.gone}
        trades |= board.put
        self.boards[board.account] = ShownBoard(
            by=by, execution=board.execution, sequence=board.sequence, ts_ns=now_ns, trades=trades
        )
        return len(trades) == board.trades
