"""The paper venue as the rest of the house sees it: a :class:`~tradekeel.ports.Venue` that our own feed drives.

Every act is one synchronous step of the matcher on the event loop, handed to the ledger as a batch, and one hop to a
worker that commits it. Acts that overlap share a commit. Nobody is told anything that is not durable: questions wait
for what is under way.

A paper order is never refused by an exception: rejections are entries of the record, as at a real venue. What can be
thrown is misbehaviour on purpose (``timeout_rate``, ``drop_rate``), and a ledger that fails: then what was under way
is unknown, memory is given up because it may be ahead of the disk, and whatever is asked next fails as the ledger did, until
:meth:`PaperVenue.connect` has read the file again. That is no venue that is away and comes back: nobody would wait for it in
vain, whoever asks has to begin anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradekeel.domain.evidence import Proof
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.matching import Matcher, Misbehaviour, PaperAccount, PaperSettings, WorkingOrder, describe
from tradekeel.domain.messages import OrderRequest, VenueBalance, VenueOrder, VenuePosition, VenueTransaction
from tradekeel.domain.ticks import TickWindow
from tradekeel.errors import OutcomeUnknown, StoreError, VenueUnreachable
from tradekeel.ports import LastCheck, VenueCapabilities
from tradekeel.venues.paper.ledger import PaperLedger

TAIL_ENTRIES_MAX = 512
"""The newest entries of the record that are kept in memory, so that following it costs no reading. Whoever is further behind
reads the file."""

Run = Callable[..., Awaitable[Any]]
"""Runs a blocking function with its arguments on a worker, one call after the other, and returns its result."""


class PaperVenue:
    """One paper account. ``run`` runs the ledger's blocking calls; ``point`` is told the moments around its commits."""

    def __init__(
        self,
        path: Path,
        account: PaperAccount,
        instruments: Mapping[str, Instrument],
        settings: PaperSettings,
        *,
        run: Run,
        point: Callable[[str], None] | None = None,
        opened_ns: int = 0,
    ) -> None:
        self.name = account.venue
        self.account = account.account
        self.capabilities = VenueCapabilities(
            proof=Proof.CURSOR,
            hedging=account.hedging,
            matches_ticks=True,
            keeps_order=True,
            lag_margin_s=0.0,
        )
        self._terms = account
        self._instruments = instruments
        self._settings = settings
        self._opened_ns = opened_ns
        self._run = run
        self._ledger = PaperLedger(path, account, point)
        self._matcher: Matcher | None = None
        self._tail: deque[VenueTransaction] = deque(maxlen=TAIL_ENTRIES_MAX)
        self._failure = "it is not connected"
        self._failed: StoreError | None = None  # the ledger, since it was opened
        self._misbehaviour = Misbehaviour(settings)

    # --- connection ------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the ledger; a new one gets the deposit as its first entry.

        Raises StoreUnavailable, StoreCorrupt, StoreTooNew or DataError: the file is ours, and waiting does not mend
        it.
        """
        self._matcher, self._failed = None, None
        self._tail.clear()
        state = await self._run(self._ledger.open)
        matcher = Matcher(self._terms, self._instruments, self._settings, state)
        if not matcher.is_open:
            matcher.open(self._opened_ns)
        self._matcher = matcher
        if matcher.has_changes:
            await self._save("open", matcher)

    async def close(self) -> None:
        """Save the position reached, and let go of the file."""
        try:
            if self._matcher is not None:
                await self.checkpoint()
        finally:
            self._matcher, self._failed = None, None
            self._failure = "it is closed"
            await self._run(self._ledger.close)

    async def checkpoint(self) -> None:
        """Make the feed's position and the marks durable, which otherwise waits for the next act."""
        matcher = self._ready()
        if matcher.has_moved or matcher.has_changes:
            await self._save("checkpoint", matcher)
        else:
            await self._settle()

    @property
    def position(self) -> int:
        """The last tick of the feed that it has seen, and just after a connect durably; zero while it is not connected."""
        return 0 if self._matcher is None else self._matcher.position

    # --- orders ----------------------------------------------------------------------------------------------------

    async def place(self, request: OrderRequest, last_check: LastCheck) -> None:
        """Take or reject one order; the answer is in the record when this returns.

        Raises OutcomeUnknown for the share of orders that ``drop_rate`` loses and ``timeout_rate`` leaves without an
        answer.
        """
        matcher = self._ready()
        last_check()
        if self._misbehaviour.loses(request, matcher.position):
            raise OutcomeUnknown(f"order {request.client_order_id}: the connection was lost (simulated)")
        matcher.place(request)
        await self._send("place", matcher, request.client_order_id)
        if self._misbehaviour.keeps_silent(request, self.position):
            raise OutcomeUnknown(f"order {request.client_order_id}: no answer in time (simulated)")

    async def cancel(self, client_order_id: str, last_check: LastCheck) -> None:
        """End an open order; answered by ORDER_CANCELED or CANCEL_REFUSED."""
        matcher = self._ready()
        last_check()
        matcher.cancel(client_order_id)
        await self._send("cancel", matcher, client_order_id)

    async def amend(self, client_order_id: str, price: Decimal, last_check: LastCheck) -> None:
        """Move an open order's price; answered by ORDER_AMENDED, or by CANCEL_REFUSED with that price."""
        matcher = self._ready()
        last_check()
        matcher.amend(client_order_id, price)
        await self._send("amend", matcher, client_order_id)

    # --- questions -------------------------------------------------------------------------------------------------

    async def transactions(self, after: int, rows_max: int = 1000) -> Sequence[VenueTransaction]:
        """The durable record after entry ``after``."""
        await self._settle()
        matcher = self._ready()
        if after >= matcher.sequence:
            return []
        if self._tail and self._tail[0].sequence <= after + 1:
            first = after + 1 - self._tail[0].sequence
            return [self._tail[i] for i in range(first, min(first + rows_max, len(self._tail)))]
        entries: list[VenueTransaction] = await self._run(self._ledger.entries, after, rows_max)
        return entries

    async def order(self, client_order_id: str) -> VenueOrder | None:
        """The open order with this client id, or else the latest one that ended."""
        await self._settle()
        found = self._ready().order(client_order_id)
        if found is not None:
            return found
        ended: WorkingOrder | None = await self._run(self._ledger.latest_order, client_order_id)
        return None if ended is None else describe(ended)

    async def open_orders(self) -> Sequence[VenueOrder]:
        """The working orders; exits that wait for their entry's first fill are not among them."""
        await self._settle()
        return self._ready().open_orders()

    async def positions(self) -> Sequence[VenuePosition]:
        """The open positions."""
        await self._settle()
        return self._ready().positions()

    async def balance(self) -> VenueBalance:
        """The account's figures at the last marks."""
        await self._settle()
        return self._ready().balance()

    # --- ticks -----------------------------------------------------------------------------------------------------

    async def begin(self, run: str) -> None:
        """A run of a feed begins, or goes on: see :meth:`Matcher.begin`."""
        matcher = self._ready()
        matcher.begin(run)
        if matcher.has_changes:
            await self._save("begin", matcher)

    async def skip(self, position: int) -> None:
        """The ticks up to ``position`` never come. Durable when this returns."""
        self._ready().skip(position)
        await self.checkpoint()

    def quiet_until(self, window: TickWindow, start: int) -> int:
        """First index from ``start`` at which this venue may do anything, or ``len(window.ticks)``."""
        return self._ready().quiet_until(window, start)

    async def match(self, window: TickWindow, index: int) -> None:
        """Act on one tick; what it did is durable when this returns. Raises StoreError if it cannot be."""
        matcher = self._ready()
        matcher.advance(window, index)
        matcher.on_tick(window.ticks[index])
        if matcher.has_changes:
            await self._save("match", matcher)

    def advance(self, window: TickWindow, stop: int) -> None:
        """All ticks before ``stop`` have passed quietly. Durable with the next act or :meth:`checkpoint`."""
        self._ready().advance(window, stop)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _ready(self) -> Matcher:
        if self._failed is not None:
            raise self._failed
        if self._matcher is None:
            raise VenueUnreachable(f"the paper venue of account {self.account} cannot be used: {self._failure}")
        return self._matcher

    async def _send(self, label: str, matcher: Matcher, client_order_id: str) -> None:
        """Commit an act that somebody asked for; if that fails nobody knows whether it happened."""
        try:
            await self._save(label, matcher)
        except StoreError as error:
            raise OutcomeUnknown(f"{label} of order {client_order_id}: {error}") from error

    async def _save(self, label: str, matcher: Matcher) -> None:
        changes = matcher.take_changes()
        self._tail.extend(changes.transactions)
        self._ledger.queue(label, changes)
        await self._flush()

    async def _settle(self) -> None:
        """Wait until everything that has happened is durable."""
        self._ready()
        while not self._ledger.is_durable:
            await self._flush()

    async def _flush(self) -> None:
        try:
            await self._run(self._ledger.flush)
        except StoreError as error:
            self._matcher, self._failed = None, error
            raise
