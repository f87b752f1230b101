"""Positions: what accounts hold, computed from their fills whenever somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, Unpack, runtime_checkable

from msgspec import Struct

from tradekeel.domain.orders import Side
from tradekeel.domain.positions import Position, Quote
from tradekeel.ports.repositories.paging import Span, Timed

POSITIONS_TIMEOUT_S = 60.0
"""The deadline of a call that names none: it goes through every fill that counts."""


class PositionNote(Struct, frozen=True, kw_only=True):
    """What somebody has attached to a position."""

    note: str = ""
    tag: str = ""
    owner: str = ""
    updated_ns: int = 0


class HeldPosition(Struct, frozen=True, kw_only=True):
    """A position of an account. Its quantity is signed (long above zero), its cost the signed money laid out, quote currency."""

    account: str
    position: Position
    last_fill_ns: int | None = None  # None: taken over from before, or from an archive, and not touched since
    note: PositionNote | None = None

    @property
    def instrument(self) -> str:
        """What is held."""
        return self.position.instrument

    @property
    def quantity(self) -> Decimal:
        """How much, signed."""
        return self.position.quantity


class Valued(Struct, frozen=True, kw_only=True):
    """A position at a price; None where no price was given for its instrument. Quote currency."""

    held: HeldPosition
    mark: Decimal | None  # longs at the bid, shorts at the ask
    unrealised: Decimal | None


class Exposure(Struct, frozen=True, kw_only=True):
    """What is at stake: by quote currency, at the prices given, or at cost where none was; and net of every currency."""

    gross: dict[str, Decimal]
    net: dict[str, Decimal]
    by_currency: dict[str, Decimal]


class NetPosition(Struct, frozen=True, kw_only=True):
    """One instrument over accounts and positions: long less short. ``by_venue`` says what the fills of each venue come to."""

    instrument: str
    quantity: Decimal
    cost: Decimal
    by_venue: dict[str, Decimal] = {}


class Realised(Struct, frozen=True, kw_only=True):
    """What the venues booked on the fills of a period, account currency: profit, and fees (a cost is above zero)."""

    realised: Decimal
    fees: Decimal
    fills: int

    @property
    def net(self) -> Decimal:
        """Profit less fees."""
        return self.realised - self.fees


class Period(StrEnum):
    """How realised amounts are grouped: by UTC hours, days or months."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class PositionSummary(Struct, frozen=True, kw_only=True):
    """Counts of open positions, and the accounts and instruments that they are in."""

    count: int
    long: int
    short: int
    accounts: tuple[str, ...]
    instruments: tuple[str, ...]


class CloseOut(Struct, frozen=True, kw_only=True):
    """The order that would close a position."""

    held: HeldPosition
    side: Side
    quantity: Decimal


@runtime_checkable
class PositionRepository(Protocol):
    """Positions. Nothing is stored of them but what people attach: a note, a tag, an owner.

    A position of an account is the fold of the fills of a daemon's executions since the account last began afresh, from the
    first one's opening on, and of all executions that scripts keep for the account; backtests count only where ``execution``
    names one. All amounts are exact. Lists are in the order of account, instrument and position.
    """

    async def get_position(
        self, account: str, instrument: str, ref: str | None = None, **call: Unpack[Timed]
    ) -> HeldPosition | None:
        """One open position, None where nothing is held. ``ref`` tells those of a hedging account apart."""

    async def get_all_positions(
        self, account: str | None = None, *, execution: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """Every position that there ever was, those that are flat among them, with a quantity of zero."""

    async def get_open_positions(
        self, account: str | None = None, *, execution: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """What is held now."""

    async def get_positions_at(
        self, ts_ns: int, account: str | None = None, *, execution: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """What was held at a time: the fills before ``ts_ns``. InputError where some of those since then are archived."""

    async def get_positions_by_strategy(
        self, strategy: str, account: str | None = None, **call: Unpack[Timed]
    ) -> list[HeldPosition]:
        """What the fills of a strategy's orders come to."""

    async def get_net_by_symbol(self, account: str | None = None, **call: Unpack[Timed]) -> dict[str, NetPosition]:
        """Open instruments, each netted over its positions and accounts."""

    async def get_net_across_venues(self, account: str | None = None, **call: Unpack[Timed]) -> dict[str, NetPosition]:
        """The same, with the quantity at each venue beside it; also of instruments that are flat in sum alone."""

    async def get_exposure(
        self, prices: Mapping[str, Quote] | None = None, account: str | None = None, **call: Unpack[Timed]
    ) -> Exposure:
        """Gross and net exposure by quote currency, and net by currency."""

    async def get_unrealised(
        self, prices: Mapping[str, Quote], account: str | None = None, **call: Unpack[Timed]
    ) -> list[Valued]:
        """Open positions at the prices given."""

    async def get_realised(
        self, period: Period | str = Period.DAY, account: str | None = None, **span: Unpack[Span]
    ) -> dict[str, Realised]:
        """What was realised in each period that has fills in the books, as 2026-01-31T13, 2026-01-31 or 2026-01; oldest first."""

    async def get_summary(self, account: str | None = None, **call: Unpack[Timed]) -> PositionSummary:
        """How many, which way, where."""

    async def get_close_out(self, account: str | None = None, **call: Unpack[Timed]) -> list[CloseOut]:
        """What would have to be sent to hold nothing."""

    async def count_positions(self, account: str | None = None, **call: Unpack[Timed]) -> int:
        """How many are open."""

    async def annotate(
        self,
        account: str,
        instrument: str,
        ref: str | None = None,
        *,
        note: str = "",
        tag: str = "",
        owner: str = "",
        **call: Unpack[Timed],
    ) -> PositionNote:
        """Attach a note, a tag and an owner, in place of those before; all empty removes them. AlreadyRunning beside a daemon."""
