"""What happened: strategies' own events, and the journal."""

from __future__ import annotations

from typing import Protocol, Unpack, runtime_checkable

from msgspec import Struct

from tradekeel.domain.records import Record
from tradekeel.domain.rows import StrategyEvent
from tradekeel.ports.repositories.paging import Page, Paging, Span, Timed


class JournalRecord(Struct, frozen=True):
    """One numbered record of an execution's journal."""

    execution: str
    sequence: int
    type: str
    ts_ns: int
    correlation_id: str
    record: Record


@runtime_checkable
class EventRepository(Protocol):
    """Strategy events and the journal. Times are nanoseconds UTC."""

    async def append_event(self, event: StrategyEvent, **call: Unpack[Timed]) -> StrategyEvent:
        """Add an event of a strategy. AlreadyExists for a known number, NotFound, InputError, DaemonsOwn."""

    async def list_events(
        self,
        *,
        strategy: str | None = None,
        type: str | None = None,  # noqa: A002  # the field's name
        execution: str | None = None,
        account: str | None = None,
        **paging: Unpack[Paging],
    ) -> Page[StrategyEvent]:
        """Events by their time, the newest first; sorted by ts_ns, sequence or type."""

    async def get_events_since(
        self, execution: str, strategy: str, after: int, limit: int = ..., **span: Unpack[Span]
    ) -> list[StrategyEvent]:
        """A strategy's events behind number ``after``, in order; the times are about ``ts_ns``."""

    async def get_journal_since(
        self,
        execution: str,
        after: int = 0,
        limit: int = ...,
        *,
        type: str | None = None,  # noqa: A002
        **span: Unpack[Span],
    ) -> list[JournalRecord]:
        """Records behind number ``after`` in order, checked one by one; empty when there is no more.

        The times are about ``ts_ns``, which is 0 in records from before any feed had a time. StoreCorrupt, and InputError where
        some of these records are archived.
        """

    async def count_events(
        self,
        *,
        strategy: str | None = None,
        type: str | None = None,  # noqa: A002
        execution: str | None = None,
        account: str | None = None,
        **span: Unpack[Span],
    ) -> int:
        """How many events of strategies there are."""
