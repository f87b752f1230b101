"""Strategies of an execution: what is configured, and how it stands."""

from __future__ import annotations

from typing import Protocol, Unpack, runtime_checkable

from tradekeel.domain.rows import StrategyRow, StrategyStatus
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed


@runtime_checkable
class StrategyRepository(Protocol):
    """Strategies, known by execution and name. What is written is described in :mod:`tradekeel.ports.repositories`."""

    async def create_strategy(self, strategy: StrategyRow, **call: Unpack[Timed]) -> StrategyRow:
        """Add a strategy to its execution. AlreadyExists, or NotFound for an execution that there is not."""

    async def get_strategy_by_id(self, execution: str, strategy: str, **call: Unpack[Timed]) -> StrategyRow | None:
        """One strategy of one execution, None if there is none."""

    async def get_strategy_by_name(
        self, strategy: str, account: str | None = None, **call: Unpack[Timed]
    ) -> StrategyRow | None:
        """The strategy of this name as it was last, in the newest execution (of an account) that has it; None if none has."""

    async def update_strategy(
        self, execution: str, strategy: str, changes: dict[str, object], **call: Unpack[Timed]
    ) -> StrategyRow:
        """Change the named fields (kind, instruments, parameters, status, status_reason); the row after. NotFound, InputError."""

    async def update_strategy_status(
        self, execution: str, strategy: str, status: StrategyStatus | str, reason: str = "", **call: Unpack[Timed]
    ) -> StrategyRow:
        """Change the status, and say why; the row after. NotFound, or InputError for a word that is none."""

    async def delete_strategy(self, execution: str, strategy: str, **call: Unpack[Timed]) -> bool:
        """Remove it; False if there was none. InputError while signals, trades, orders or events refer to it."""

    async def list_strategies(
        self,
        *,
        status: StrategyStatus | str | None = None,
        type: str | None = None,  # noqa: A002  # the word that people use
        instrument: str | None = None,
        execution: str | None = None,
        account: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[StrategyRow]:
        """Strategies by their last change (``updated_ns``), the newest first; ``type`` is their kind.

        Sorted by updated_ns, strategy, kind, status or decisions.
        """

    async def get_strategies_by_status(
        self, status: StrategyStatus | str, **paging: Unpack[Paging]
    ) -> Page[StrategyRow]:
        """:meth:`list_strategies` of one status."""

    async def get_strategies_by_type(
        self,
        type: str,  # noqa: A002
        **paging: Unpack[Paging],
    ) -> Page[StrategyRow]:
        """:meth:`list_strategies` of one kind."""

    async def count_strategies(
        self,
        *,
        status: StrategyStatus | str | None = None,
        type: str | None = None,  # noqa: A002
        instrument: str | None = None,
        execution: str | None = None,
        account: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are; the times are about ``updated_ns``."""
