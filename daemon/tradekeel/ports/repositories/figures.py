"""Figures over time, changed parameters, and how far each venue was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Unpack, runtime_checkable

from tradekeel.domain.rows import ParameterChange, PerformanceSnapshot, VenueCursor
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed


@runtime_checkable
class PerformanceRepository(Protocol):
    """Performance snapshots: figures of an account at a time, in its currency, ratios None where they are undefined.

    They describe, so that they can be added to any execution. Lists have the newest first by ``ts_ns`` and can be sorted by
    ts_ns, pnl, equity, win_rate, sharpe and max_drawdown.
    """

    async def save_snapshot(self, snapshot: PerformanceSnapshot, **call: Unpack[Timed]) -> PerformanceSnapshot:
        """Add a snapshot. NotFound for an unknown execution; InputError where the counts do not add up."""

    async def save_snapshots(self, snapshots: Sequence[PerformanceSnapshot], **call: Unpack[Timed]) -> int:
        """Add many, all or none, ROWS_MAX at most; how many."""

    async def get_latest_snapshot(
        self, account: str | None = None, execution: str | None = None, **call: Unpack[Timed]
    ) -> PerformanceSnapshot | None:
        """The newest one, None if there is none."""

    async def list_snapshots(
        self,
        *,
        session: str | None = None,
        parameter_mode: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[PerformanceSnapshot]:
        """Snapshots by their time, the newest first."""

    async def get_snapshots_by_session(self, session: str, **paging: Unpack[Paging]) -> Page[PerformanceSnapshot]:
        """Snapshots of a session."""

    async def count_snapshots(
        self,
        *,
        session: str | None = None,
        parameter_mode: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""


@runtime_checkable
class ParameterHistoryRepository(Protocol):
    """Changed parameters: old and new value, why, and by whom (system_auto, learning_agent, manual or emergency).

    The record describes, so that it can be added to any execution; nothing is changed by it. Lists have the newest first by
    ``ts_ns`` and can be sorted by ts_ns, name and changed_by.
    """

    async def record_change(self, change: ParameterChange, **call: Unpack[Timed]) -> ParameterChange:
        """Add a change. NotFound for an unknown execution; InputError for somebody who is none of the four."""

    async def record_changes(self, changes: Sequence[ParameterChange], **call: Unpack[Timed]) -> int:
        """Add many, all or none, ROWS_MAX at most; how many."""

    async def get_latest_change(
        self, name: str, *, account: str | None = None, execution: str | None = None, **call: Unpack[Timed]
    ) -> ParameterChange | None:
        """The newest change of a parameter, None if there is none."""

    async def list_changes(
        self,
        *,
        name: str | None = None,
        strategy: str | None = None,
        session: str | None = None,
        parameter_mode: str | None = None,
        changed_by: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[ParameterChange]:
        """Changes by their time, the newest first."""

    async def count_changes(
        self,
        *,
        name: str | None = None,
        strategy: str | None = None,
        session: str | None = None,
        parameter_mode: str | None = None,
        changed_by: str | None = None,
        account: str | None = None,
        execution: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""


@runtime_checkable
class CursorRepository(Protocol):
    """How far the account record of each venue was booked, in each execution."""

    async def get_cursor(self, execution: str, venue: str, **call: Unpack[Timed]) -> VenueCursor | None:
        """One cursor, None where nothing was read yet."""

    async def set_cursor(self, execution: str, venue: str, sequence: int, **call: Unpack[Timed]) -> VenueCursor:
        """The venue's record was read up to ``sequence``. NotFound; DaemonsOwn; InputError where that is back."""

    async def list_cursors(
        self, *, execution: str | None = None, account: str | None = None, **paging: Unpack[Paging]
    ) -> Page[VenueCursor]:
        """Cursors by their last move, the newest first; sorted by updated_ns, venue or sequence."""
