"""What followers are given: a place to begin, the entries since, and a moment at which everybody is saved."""

from __future__ import annotations

from collections import deque

from tradekeel.actors.executor.shell import Shell
from tradekeel.domain.effects import Effects
from tradekeel.domain.entries import Entry
from tradekeel.domain.protocol import Attach, Attached, Cut, ReadEntries
from tradekeel.domain.recovery import AccountState, encode_account_state, nearest, view_at
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint, StrategyStatus
from tradekeel.runtime.actor import Reply

ACCOUNT_STATE_VERSION = 1


class Following(Shell):
    """Serves the monitor and the strategists."""

    def _attach(self, message: Attach, reply: Reply | None) -> None:
        assert reply is not None
        if not self.core.ready or self._unacknowledged:
            self._waiting_ready.append((message, reply))
            return
        saved = self._cut_monitor if message.strategy is None else None
        position, inbox = self._cut_position, self._cut_inbox
        checkpoint = self._saved.get(message.strategy) if message.strategy is not None else None
        if checkpoint is not None:
            saved, position, inbox = checkpoint.state, checkpoint.position, checkpoint.inbox
        entries = tuple(self._tail)
        view = view_at(nearest(self._on_the_way, inbox) or self._cut_book, entries, message.strategy, inbox)
        reply.send(
            Attached(
                execution=self._book.execution_id,
                saved=saved,
                view=view,
                entries=tuple(e for e in entries if e.sequence > view.inbox),
                position=position,
                frontier=self._book.stamp,
                turn=self._book.turn,
                ts_ns=self._last_ns,
                failed=message.strategy is not None and self._has_failed(message.strategy),
                joins=message.strategy is not None and self._joins(message.strategy, checkpoint),
            )
        )

    def _has_failed(self, strategy: str) -> bool:
        line = self._book.strategies.get(strategy)
        return line is not None and line.row.status is StrategyStatus.FAILED

    def _joins(self, strategy: str, saved: Checkpoint | None) -> bool:
        """Whether it came to a run under way, and has not been saved since."""
        line = self._book.strategies.get(strategy)
        joined = 0 if line is None else line.joined
        return joined > 0 and (saved is None or saved.inbox < joined)

    def _read_entries(self, message: ReadEntries, reply: Reply | None) -> None:
        assert reply is not None
        found: deque[Entry] = deque()
        for entry in reversed(self._tail):
            if entry.sequence <= message.after:
                break
            found.appendleft(entry)
        reply.send(tuple(found))

    def _cut(self, message: Cut, reply: Reply | None) -> None:
        assert reply is not None
        if self._book.sequence != message.sequence:
            reply.send(0)
            return
        state = AccountState(
            book=self._book.save(),
            monitor=message.monitor,
            memories=self.core.memories,
            rates=self.core.gate.saved_rates(),
            position=message.position,
            ts_ns=message.ts_ns,
            quotes=self.core.quotes,
        )
        own = Checkpoint(
            execution=self._book.execution_id,
            owner=ACCOUNT_OWNER,
            position=message.position,
            inbox=self._book.sequence,
            ts_ns=message.ts_ns,
            version=ACCOUNT_STATE_VERSION,
            state=encode_account_state(state),
        )
        self._take(Effects(checkpoints=(own, *message.checkpoints)))
        self._settling.append(reply)
