"""What a venue must offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol, runtime_checkable

from msgspec import Struct

from tradekeel.domain.evidence import Proof
from tradekeel.domain.messages import OrderRequest, VenueBalance, VenueOrder, VenuePosition, VenueTransaction
from tradekeel.domain.ticks import TickWindow


class VenueCapabilities(Struct, frozen=True, kw_only=True):
    """What a venue declares about itself; the executor decides by these, never by the venue's name."""

    proof: Proof
    hedging: bool = False
    matches_ticks: bool = False  # it is driven by our own feed: see TickMatcher
    keeps_order: bool = False  # requests arrive in the order in which they were begun, answered or not
    request_timeout_s: float = 10.0
    lag_margin_s: float = 2.0  # how late its record may show what has happened


LastCheck = Callable[[], None]
"""Called in the same synchronous step that hands the bytes to the wire; raises to stop them."""


@runtime_checkable
class Venue(Protocol):
    """Where orders go. A call that fails raises VenueRefused, VenueUnreachable or OutcomeUnknown, nothing else."""

    name: str
    account: str
    capabilities: VenueCapabilities

    async def connect(self) -> None:
        """Open what is needed; VenueUnreachable if it cannot be."""

    async def close(self) -> None:
        """Let go of everything. Called once, also after a failed connect."""

    async def place(self, request: OrderRequest, last_check: LastCheck) -> None:
        """Send one order. Returns when the venue has answered; the news itself comes through :meth:`transactions`."""

    async def cancel(self, client_order_id: str, last_check: LastCheck) -> None:
        """Ask for a cancel. Cancelling twice, or too late, is answered by a CANCEL_REFUSED transaction, not an error."""

    async def amend(self, client_order_id: str, price: Decimal, last_check: LastCheck) -> None:
        """Move the price of a working order; answered by ORDER_AMENDED, or by CANCEL_REFUSED with that price."""

    async def transactions(self, after: int, rows_max: int = 1000) -> Sequence[VenueTransaction]:
        """The account's record after sequence ``after``, ascending, without gaps; empty when there is no more."""

    async def order(self, client_order_id: str) -> VenueOrder | None:
        """The latest order with this client id, or None if the venue does not know it."""

    async def open_orders(self) -> Sequence[VenueOrder]:
        """All working orders of the account, ours or not."""

    async def positions(self) -> Sequence[VenuePosition]:
        """All open positions."""

    async def balance(self) -> VenueBalance:
        """The account's figures now."""


@runtime_checkable
class TickMatcher(Protocol):
    """A venue that is driven by our feed (paper): it looks ahead without acting, then acts on one tick.

    ``quiet_until`` and ``match`` are called with ascending positions; positions that were seen already are skipped, so a feed
    that resumes earlier does no harm.
    """

    position: int
    """The last tick that it has durably seen, when it was connected; afterwards the last it has seen."""

    async def begin(self, run: str) -> None:
        """A run of the feed begins, or goes on: in another run positions count anew and nothing is working."""

    async def skip(self, position: int) -> None:
        """The ticks up to ``position`` never come. Durable when it returns."""

    def quiet_until(self, window: TickWindow, start: int) -> int:
        """First index from ``start`` at which this venue would do anything, or ``len(window.ticks)``.

        Everything before ``start`` has happened; ticks between ``start`` and the answer change nothing but marks.
        """

    async def match(self, window: TickWindow, index: int) -> None:
        """Act on one tick: triggers, fills, expiries, financing, margin. Durable in the venue's ledger when it returns."""

    def advance(self, window: TickWindow, stop: int) -> None:
        """All ticks before ``stop`` have passed quietly: remember marks and position. Never waits; durable with the next act."""
