"""Signals in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Unpack

from msgspec import structs
from sqlalchemy import ColumnElement

from tradekeel.domain.messages import Signal, SignalStatus
from tradekeel.errors import IllegalTransition
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed
from tradekeel.ports.repositories.signals import SignalStatuses
from tradekeel.storage.repositories.base import Repository, bounded, changed, fields_changed, timeout_of
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.repositories.listing import Listing, matching, of_account, word_of

DESCRIPTIVE = frozenset({"session", "pattern_type", "rl_state_key", "rl_action_key"})
"""What says of a signal what it is, and steers nothing."""

_FIXED = frozenset({"signal_id", "execution", "executed", "execution_status", "trade_id"})
_BEGUN = (SignalStatus.PENDING, SignalStatus.ORDERED)
_STEERS = "a signal"


class SqlSignalRepository(Repository[Signal]):
    """See :class:`~tradekeel.ports.repositories.SignalRepository`."""

    listing: ClassVar[Listing] = Listing(
        row_type=Signal,
        time="generated_at_ns",
        key=("signal_id",),
        sorts=("generated_at_ns", "symbol", "strategy", "execution_status", "confidence", "signal_id"),
    )

    # --- writing ---------------------------------------------------------------------------------------------------------

    async def save_signal(self, signal: Signal, **call: Unpack[Timed]) -> Signal:
        """Add a signal."""
        [saved] = await self._add("save_signal", [signal], _STEERS, timeout_of(call))
        return saved

    async def save_signals(self, signals: Sequence[Signal], **call: Unpack[Timed]) -> int:
        """Add many, all or none."""
        return len(await self._add("save_signals", bounded(signals, "signals"), _STEERS, timeout_of(call)))

    async def update_signal_execution(
        self,
        signal_id: str,
        status: SignalStatus | str,
        *,
        trade_id: str | None = None,
        reason: str = "",
        **call: Unpack[Timed],
    ) -> Signal:
        """Say what became of a signal."""
        wanted = word_of(SignalStatus, status, "status")

        def apply(before: Signal) -> Signal:
            if before.execution_status not in _BEGUN and before.execution_status is not wanted:
                raise IllegalTransition("signal", before.execution_status, wanted)
            return structs.replace(
                before,
                execution_status=wanted,
                executed=wanted is SignalStatus.EXECUTED,
                status_reason=reason or before.status_reason,
                trade_id=trade_id if trade_id is not None else before.trade_id,
            )

        return await self._change("update_signal_execution", signal_id, apply, timeout_of(call))

    async def update_signal(self, signal_id: str, changes: Mapping[str, object], **call: Unpack[Timed]) -> Signal:
        """Change the named fields and nothing else."""

        def apply(before: Signal) -> Signal:
            return changed(before, changes, _FIXED)

        return await self._change("update_signal", signal_id, apply, timeout_of(call))

    async def _change(
        self, action: str, signal_id: str, apply: Callable[[Signal], Signal], timeout_s: float | None
    ) -> Signal:
        async def work(change: Change) -> Signal:
            before = await self._before(change, f"signal {signal_id}", self.table.c.signal_id == signal_id)
            after = apply(before)
            steering = sorted(fields_changed(before, after) - DESCRIPTIVE)
            steers = f"the {', '.join(steering)} of a signal" if steering else None
            [saved] = await change.replace(before.execution, [after], steers=steers)
            return saved

        return await self.database.write(action, work, timeout_s)

    # --- reading ---------------------------------------------------------------------------------------------------------

    async def get_signal_by_id(self, signal_id: str, **call: Unpack[Timed]) -> Signal | None:
        """One signal."""
        return await self._first("reading a signal", [self.table.c.signal_id == signal_id], call)

    async def get_recent_signals(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        status: SignalStatuses = None,
        session: str | None = None,
        pattern_type: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[Signal]:
        """Signals by their generation, the newest first."""
        where = self._where(symbol, strategy, status, session, pattern_type, account, execution)
        return await self._page("listing signals", where, paging)

    async def get_signals_by_status(self, status: SignalStatuses, **paging: Unpack[Paging]) -> Page[Signal]:
        """Signals of one status, or of several."""
        return await self.get_recent_signals(status=status, **paging)

    async def get_signals_by_symbol(self, symbol: str, **paging: Unpack[Paging]) -> Page[Signal]:
        """Signals of an instrument."""
        return await self.get_recent_signals(symbol=symbol, **paging)

    async def count_signals(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        status: SignalStatuses = None,
        session: str | None = None,
        pattern_type: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
        where = self._where(symbol, strategy, status, session, pattern_type, account, execution)
        return await self._count("counting signals", where, span)

    def _where(
        self,
        symbol: str | None,
        strategy: str | None,
        status: SignalStatuses,
        session: str | None,
        pattern_type: str | None,
        account: str | None,
        execution: str | None,
    ) -> list[ColumnElement[bool]]:
        words = matching(
            self.table,
            symbol=symbol,
            strategy=strategy,
            execution_status=status,
            session=session,
            pattern_type=pattern_type,
            execution=execution,
        )
        return words + of_account(self.table, account)
