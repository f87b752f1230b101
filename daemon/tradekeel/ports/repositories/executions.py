"""Executions: runs of a daemon, backtests, and what scripts keep by themselves."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol, Unpack, runtime_checkable

from tradekeel.domain.rows import ExecutionRow, Mode
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed


@runtime_checkable
class ExecutionRepository(Protocol):
    """Executions of accounts. Amounts in the account's currency, times in UTC nanoseconds."""

    async def create_execution(
        self,
        account: str,
        *,
        execution: str | None = None,
        venue: str = "manual",
        currency: str = "USD",
        opening_balance: Decimal = ...,
        **call: Unpack[Timed],
    ) -> ExecutionRow:
        """Begin an execution of mode ``manual``: one that a script keeps, and no daemon goes on with.

        Its number is the account's next. Without a name its id is derived from account and number. AlreadyExists for a known id;
        InputError for an account that a daemon trades on: its books are the daemon's.
        """

    async def close_execution(self, execution: str, reason: str, **call: Unpack[Timed]) -> ExecutionRow:
        """End a manual execution; the row after. NotFound, DaemonsOwn; InputError where it has ended already."""

    async def get_execution(self, execution: str, **call: Unpack[Timed]) -> ExecutionRow | None:
        """One execution, None if there is none."""

    async def get_latest_execution(
        self, account: str, mode: Mode | str | None = None, **call: Unpack[Timed]
    ) -> ExecutionRow | None:
        """The account's execution with the highest number (of a mode), None if it has none."""

    async def list_executions(
        self,
        *,
        account: str | None = None,
        mode: Mode | str | tuple[Mode | str, ...] | None = None,
        status: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[ExecutionRow]:
        """Executions by their start, the newest first; ``status`` is running or closed.

        Sorted by started_ns, closed_ns, account, number, mode or status.
        """

    async def count_executions(
        self,
        *,
        account: str | None = None,
        mode: Mode | str | tuple[Mode | str, ...] | None = None,
        status: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many there are."""
