"""The executor: the shell around :class:`~tradekeel.domain.execution.ExecutorCore`.

The core runs ahead of the disk; what it asks for waits here until its records are durable, and then goes out in
order. Followers (monitor and strategists) read the durable entries from here by their own cursor.

Nothing that the executor awaits sits in its mail loop: commits, venue requests and lookups are requests whose answers
come back as mail.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from tradekeel.actors.executor.chronicle import Chronicle
from tradekeel.actors.executor.following import Following
from tradekeel.actors.executor.people import People
from tradekeel.actors.executor.shell import (
    VENUE_TIMEOUT_S,
    AskAgain,
    CloseAgain,
    Committed,
    Done,
    ExecutorSettings,
    Looked,
    Matched,
    ReconcileAgain,
    SideRead,
    performed_of,
)
from tradekeel.actors.executor.starting import Starting
from tradekeel.domain.account import Equity
from tradekeel.domain.messages import Stamp
from tradekeel.domain.protocol import (
    AccountCommand,
    Attach,
    CaughtUp,
    ChangeParameters,
    CloseExecution,
    Cut,
    Decide,
    Describe,
    EndWorking,
    EquitySeen,
    ExitTrades,
    FailStrategy,
    HoldEntries,
    JournalSamples,
    MatchTick,
    Note,
    ReadEntries,
    ReconcileNow,
    See,
    Settle,
    TakeNoMore,
    TrailStop,
    TripRisk,
)
from tradekeel.errors import OutcomeUnknown, VenueUnreachable
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.faults import point


class Executor(Starting, Following, People):
    """See the module. One an account."""

    async def handle(self, message: Any, reply: Reply | None) -> None:
        handler = _HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(f"the executor does not know {type(message).__name__}")
        if self._ended and type(message) not in _WHEN_OVER:
            if reply is not None:
                reply.send(True)
            return
        handler(self, message, reply)
        self._serve_those_that_waited()
        self._close_when_quiet()
        self._flush()
        self._answer_settled()

    def _serve_those_that_waited(self) -> None:
        """The books were compared, and the record of it is durable. Who has given up meanwhile wants nothing any more."""
        if self._waiting_ready and self.core.ready and not self._unacknowledged:
            waiting, self._waiting_ready = self._waiting_ready, []
            for message, reply in waiting:
                if reply is None or not reply.expired:
                    _HANDLERS[type(message)](self, message, reply)

    def _answer_settled(self) -> None:
        if self._settling and self._is_quiet():
            waiting, self._settling = self._settling, []
            for reply in waiting:
                reply.send(self._book.sequence)

    def _see(self, message: See, reply: Reply | None) -> None:
        if message.quotes:
            self._last_ns = max(self._last_ns, *(q.ts_ns for q in message.quotes.values()))
        if message.equity is not None:
            self._equity_seen(message.equity, None)
        self.core.at(message.stamp)
        self._take(self.core.see(message.position, message.quotes, message.extremes, self._now()))
        if message.sampled:
            self._take(self.core.sample(message.sampled))

    def _journal_samples(self, message: JournalSamples, reply: Reply | None) -> None:
        assert reply is not None
        self._take(self.core.journal_samples())
        self._promise(reply, self._book.sequence)

    def _equity_seen(self, message: EquitySeen, reply: Reply | None) -> None:
        self.core.equity = Equity(message.equity, message.day_start, message.peak)

    def _match(self, message: MatchTick, reply: Reply | None) -> None:
        assert reply is not None
        tick = message.window.ticks[message.index]
        self._last_ns = max(self._last_ns, tick.ts_ns)
        self.core.at(Stamp.before(tick.position))
        asked = msgspec.structs.replace(message, cursor=self._book.cursor)
        self._asked += 1
        self.request(self._session, asked, partial(Matched, reply), timeout_s=VENUE_TIMEOUT_S)

    def _matched(self, message: Matched, _: Reply | None) -> None:
        self._asked -= 1
        answer = message.answer
        if isinstance(answer, VenueUnreachable | OutcomeUnknown):
            message.reply.fail(answer)
            return
        self._news(performed_of(answer))
        self._settling.append(message.reply)

    def _caught_up(self, message: CaughtUp, reply: Reply | None) -> None:
        assert reply is not None
        self._back = True
        self._settling.append(reply)

    def _settle(self, message: Settle, reply: Reply | None) -> None:
        assert reply is not None
        self.core.at(message.stamp)
        self._settling.append(reply)

    def _exit(self, message: ExitTrades, reply: Reply | None) -> None:
        self._last_ns = max(self._last_ns, message.ts_ns)
        self.core.at(message.stamp)
        point("executor.exit.before")
        self._take(self.core.exit_trades(message.wishes, message.source, self._now()))

    def _trail(self, message: TrailStop, reply: Reply | None) -> None:
        self._last_ns = max(self._last_ns, message.ts_ns)
        self.core.at(message.stamp)
        point("executor.trail.before")
        self._take(self.core.move_stop(message.trade_id, message.stop, message.best, None, self._now()))

    def _trip(self, message: TripRisk, reply: Reply | None) -> None:
        self.core.at(message.stamp)
        self._take(self.core.latch(message.latch, message.reason, "risk", self._now()))
        self._alert("critical", message.reason)

    def _note(self, message: Note, reply: Reply | None) -> None:
        record = msgspec.structs.replace(
            message.record, stamp=self.core.stamp, ts_ns=message.record.ts_ns or self._now()
        )
        self._commit_record(record)


_HANDLERS: dict[type, Callable[[Any, Any, Reply | None], None]] = {
    Decide: Executor._decide,
    See: Executor._see,
    EquitySeen: Executor._equity_seen,
    JournalSamples: Executor._journal_samples,
    MatchTick: Executor._match,
    Settle: Executor._settle,
    CaughtUp: Executor._caught_up,
    Attach: Executor._attach,
    ReadEntries: Executor._read_entries,
    Cut: Executor._cut,
    ExitTrades: Executor._exit,
    TrailStop: Executor._trail,
    TripRisk: Executor._trip,
    FailStrategy: Executor._fail_strategy,
    Note: Executor._note,
    ChangeParameters: Executor._change_parameters,
    TakeNoMore: Executor._take_no_more,
    HoldEntries: Executor._hold_entries,
    EndWorking: Executor._end_working,
    CloseExecution: Executor._close,
    AccountCommand: Executor._command,
    Describe: Executor._describe,
    ReconcileNow: Executor._again,
    ReconcileAgain: Executor._again,
    AskAgain: Executor._ask_again,
    CloseAgain: Executor._close_again,
    Committed: Executor._committed,
    Done: Executor._performed,
    Matched: Executor._matched,
    Looked: Executor._looked,
    SideRead: Executor._read,
}


_WHEN_OVER = frozenset({AccountCommand, Attach, CaughtUp, Committed, Describe, ReadEntries, Settle})
"""What is still heard when the execution is closed: none of it writes. There is nothing to do for whatever else comes."""


__all__ = ["Chronicle", "Executor", "ExecutorSettings"]
