"""Signals: what strategies wanted, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Unpack, runtime_checkable

from tradekeel.domain.messages import Signal, SignalStatus
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed

SignalStatuses = SignalStatus | str | tuple[SignalStatus | str, ...] | None


@runtime_checkable
class SignalRepository(Protocol):
    """Signals. Prices in quote currency, exact. What is written is described in :mod:`tradekeel.ports.repositories`.

    Lists have the newest first by ``generated_at_ns``, which ``since_ns`` and ``until_ns`` are about; they can be sorted by
    generated_at_ns, symbol, strategy, execution_status, confidence and signal_id.
    """

    async def save_signal(self, signal: Signal, **call: Unpack[Timed]) -> Signal:
        """Add a signal; it is not executed unless it says so. AlreadyExists; NotFound for an unknown execution; InputError."""

    async def save_signals(self, signals: Sequence[Signal], **call: Unpack[Timed]) -> int:
        """Add many, all or none, ROWS_MAX at most; how many."""

    async def get_signal_by_id(self, signal_id: str, **call: Unpack[Timed]) -> Signal | None:
        """One signal, None if there is none."""

    async def update_signal_execution(
        self,
        signal_id: str,
        status: SignalStatus | str,
        *,
        trade_id: str | None = None,
        reason: str = "",
        **call: Unpack[Timed],
    ) -> Signal:
        """Say what became of a signal, and which trade it led to; the signal after.

        NotFound; IllegalTransition where it was executed, denied or failed before; DaemonsOwn.
        """

    async def update_signal(self, signal_id: str, changes: Mapping[str, object], **call: Unpack[Timed]) -> Signal:
        """Change the named fields and nothing else, not the execution; the signal after. NotFound, InputError, DaemonsOwn."""

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

    async def get_signals_by_status(self, status: SignalStatuses, **paging: Unpack[Paging]) -> Page[Signal]:
        """Signals of one status, or of several."""

    async def get_signals_by_symbol(self, symbol: str, **paging: Unpack[Paging]) -> Page[Signal]:
        """Signals of an instrument."""

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
