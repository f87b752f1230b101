"""The venue session: the connection, the last check before the wire, and the venue's news.

Requests are performed one after the other, in the order in which the executor released them. The last check runs in
the synchronous step that hands the bytes over: a pause or a halt that came a moment ago stops the request there, and
then it is *certain* that nothing was sent. Everything else that goes wrong is either certain (the venue refused, or
could not be reached) or unknown; nothing is tried again.

The session belongs to no executor incarnation: work of an earlier one that has not begun is dropped, and what is on
the wire is waited for before anything is looked up for the new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from tradekeel.domain.effects import AmendOrder, CancelOrder, LookUpOrder, PlaceOrder, VenueAsk
from tradekeel.domain.messages import VenueOrder, VenueTransaction
from tradekeel.domain.money import parse_amount
from tradekeel.domain.protocol import (
    AskSession,
    MatchTick,
    MissTicks,
    Outcome,
    OutcomeKind,
    Perform,
    Performed,
    QuietUntil,
    Reconcile,
    SessionState,
    SetLatch,
    VenuePassed,
    VenueSide,
)
from tradekeel.domain.rows import Latch
from tradekeel.errors import ErrorCategory, OutcomeUnknown, VenueRefused, VenueUnreachable
from tradekeel.ports import TickMatcher, Venue
from tradekeel.runtime.actor import Actor, MailboxLimits, Reply
from tradekeel.runtime.clock import Clock
from tradekeel.runtime.faults import point
from tradekeel.runtime.loop import in_order
from tradekeel.runtime.restart import Backoff, backoff_delay_s

CONNECT_BACKOFF = Backoff(initial_s=0.2, factor=2.0, max_s=30.0)
NEWS_ROWS_MAX = 1_000
PERFORMED_AT_ONCE_MAX = 64


class _Next(Struct, frozen=True):
    """The piece of work in hand is done."""


class _ConnectAgain(Struct, frozen=True):
    """The pause behind a failed attempt is over."""


class _Held(VenueUnreachable):
    """Our own last check said no; nothing was sent."""

    category = ErrorCategory.BUSINESS_LOGIC


Work = tuple[int, Callable[[], Any], Reply | None]  # no reply: nobody waits for this one


class Session(Actor):
    """See the module."""

    mailbox_limits = MailboxLimits(reliable_max=1_024)

    def __init__(
        self,
        make_venue: Callable[[], Venue],
        deadline_clock: Clock | None,
        lease_left_ns: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``lease_left_ns`` says for how long no other daemon may trade the account; None where none waits for that."""
        self._make_venue = make_venue
        self._lease_left_ns = lease_left_ns
        self._deadline_clock = deadline_clock  # None in replay: event time does not pass while we work
        self._venue: Venue | None = None
        self._matcher: TickMatcher | None = None  # the same venue, if our feed drives it
        self._connected = False
        self._connecting = False
        self._why = "not connected yet"
        self._failures = 0
        self._epoch = 0
        self._paused = False
        self._latch = Latch.OPEN
        self._queue: deque[Work] = deque()
        self._busy = False
        self._calls = 0  # of the venue; one piece of work may be many, and each that comes back is progress

    async def on_start(self) -> None:
        self._venue = venue = self._make_venue()
        if venue.capabilities.matches_ticks and isinstance(venue, TickMatcher):
            self._matcher = venue
        self.resources.push_async_callback(venue.close)
        await self._connect()

    async def _connect(self) -> None:
        assert self._venue is not None
        self._connecting = True
        try:
            await self._venue.connect()
        except VenueUnreachable as error:
            self._why = str(error)
            self._failures += 1
            self.spawn(self._connect_later)
            return
        finally:
            self._connecting = False
        self._connected, self._why, self._failures = True, "", 0

    async def _connect_later(self) -> None:
        await self.clock.sleep(backoff_delay_s(CONNECT_BACKOFF, self._failures, self.system.random))
        self.post(_ConnectAgain())

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case QuietUntil(window, start, stop):
                assert reply is not None
                matcher = self._matcher
                reply.send(stop if matcher is None else min(stop, matcher.quiet_until(window, start)))
            case VenuePassed():
                self._passed(message)
            case MatchTick():
                self._enqueue(self._epoch, lambda: self._match(message), reply)
            case MissTicks(position):
                self._enqueue(self._epoch, lambda: self._miss(position), reply)
            case Perform(epoch=epoch):
                self._begin_epoch(epoch)
                self._enqueue(epoch, lambda: self._perform(message), reply)
            case Reconcile(epoch=epoch):
                self._begin_epoch(epoch)
                self._enqueue(epoch, lambda: self._read_everything(message), reply)
            case SetLatch(paused, latch):
                self._paused, self._latch = paused, latch
            case AskSession():
                assert reply is not None
                position = getattr(self._venue, "position", 0)
                reply.send(SessionState(self._connected, self._why, position))
            case _Next():
                self._busy = False
            case _ConnectAgain():
                self.spawn(self._connect)
            case _:
                raise TypeError(f"the session does not know {type(message).__name__}")
        self._start_next()

    # --- one thing at a time ---------------------------------------------------------------------------------------------

    def _begin_epoch(self, epoch: int) -> None:
        """A new executor incarnation: what an older one asked for and has not begun is dropped."""
        if epoch <= self._epoch:
            return
        self._epoch = epoch
        kept: deque[Work] = deque()
        for work in self._queue:
            asked_in, _, reply = work
            if asked_in < epoch and reply is not None:
                reply.fail(VenueUnreachable("dropped: the executor that asked has been restarted"))
            else:
                kept.append(work)
        self._queue = kept

    def _enqueue(self, epoch: int, work: Callable[[], Any], reply: Reply | None) -> None:
        self._queue.append((epoch, work, reply))

    def _start_next(self) -> None:
        if self._queue and not self._busy:
            self._busy = True
            _, work, reply = self._queue.popleft()
            self.spawn(self._work, work, reply, name="work")

    async def _work(self, work: Callable[[], Any], reply: Reply | None) -> None:
        try:
            answer = await work()
        except (VenueUnreachable, OutcomeUnknown) as error:
            if reply is not None:
                reply.fail(error)
        else:
            if reply is not None:
                reply.send(answer)
        self.post(_Next())

    # --- the work --------------------------------------------------------------------------------------------------------

    def _ready(self) -> Venue:
        if self._venue is None or not self._connected:
            raise VenueUnreachable(self._why)
        self._calls += 1
        return self._venue

    def _passed(self, message: VenuePassed) -> None:
        """Noted at once, unless something is under way that came before it."""
        if self._busy or self._queue:
            self._enqueue(self._epoch, lambda: self._pass(message), None)
        else:
            self._note_passed(message)

    async def _pass(self, message: VenuePassed) -> None:
        self._note_passed(message)

    def _note_passed(self, message: VenuePassed) -> None:
        if self._matcher is not None:
            self._matcher.advance(message.window, message.stop)

    async def _match(self, message: MatchTick) -> Performed:
        matcher = self._matcher
        if matcher is not None:
            point("session.match.before")
            await matcher.match(message.window, message.index)
            point("session.match.after")
        return Performed((), await self._news(self._ready(), message.cursor))

    async def _miss(self, position: int) -> bool:
        if self._matcher is not None:
            await self._matcher.skip(position)
        return True

    async def _news(self, venue: Venue, cursor: int) -> Sequence[VenueTransaction]:
        news: list[VenueTransaction] = []
        while True:
            page = await venue.transactions(news[-1].sequence if news else cursor, NEWS_ROWS_MAX)
            news.extend(page)
            self._calls += 1
            if len(page) < NEWS_ROWS_MAX:
                return news

    async def _perform(self, message: Perform) -> Performed:
        venue = self._venue
        calls = [partial(self._perform_one, ask, message.epoch) for ask in message.asks]
        # Where order is kept anyway nobody waits for the answer to the request before: one trip there, one commit.
        at_once = PERFORMED_AT_ONCE_MAX if venue is not None and venue.capabilities.keeps_order else 1
        outcomes = [outcome for outcome in await in_order(calls, at_once) if outcome is not None]
        try:
            news = await self._news(self._ready(), message.cursor)
        except (VenueUnreachable, OutcomeUnknown):
            news = ()  # what was asked has an outcome all the same; the news is read the next time
        return Performed(tuple(outcomes), news)

    async def _perform_one(self, ask: VenueAsk, epoch: int) -> Outcome | None:
        """One request and how it ended; None where the end comes as news and nothing can be lost."""

        def check() -> None:
            # Cancels and amends take risk away: nothing but the end of whoever asked holds them back. But for a protective
            # order that gives way to an exit: a halt would leave the trade without either.
            self._check_epoch(epoch)
            if isinstance(ask, CancelOrder) and ask.protective:
                self._check_halt()

        match ask:
            case PlaceOrder():
                return await self._place(ask, epoch)
            case CancelOrder(client_id):
                point("session.cancel.before")
                ended = await self._send(client_id, lambda venue: venue.cancel(client_id, check))
                point("session.cancel.after")
                return _unless_answered(ask, ended)
            case AmendOrder(client_id, price):
                level = parse_amount(price)
                point("session.amend.before")
                ended = await self._send(client_id, lambda venue: venue.amend(client_id, level, check))
                point("session.amend.after")
                return _unless_answered(ask, ended)
            case LookUpOrder():
                raise TypeError("lookups go to sync")

    async def _place(self, ask: PlaceOrder, epoch: int) -> Outcome:
        request = ask.request

        def check() -> None:
            self._check_epoch(epoch)
            self._check(ask.adds_exposure, ask.deadline_ns)
            point("session.place.on_the_wire")

        point("session.place.before")
        outcome = await self._send(request.client_order_id, lambda venue: venue.place(request, check))
        point("session.place.after")
        return outcome

    async def _send(self, client_id: str, call: Callable[[Venue], Any]) -> Outcome:
        try:
            await call(self._ready())
        except VenueUnreachable as error:
            return Outcome(client_id, OutcomeKind.NOT_SENT, str(error))
        except VenueRefused as error:
            return Outcome(client_id, OutcomeKind.REFUSED, str(error))
        except OutcomeUnknown as error:
            return Outcome(client_id, OutcomeKind.UNKNOWN, str(error))
        return Outcome(client_id, OutcomeKind.ANSWERED)

    def _check(self, adds_exposure: bool, deadline_ns: int | None) -> None:
        """The last look before the bytes leave, in the same synchronous step."""
        self._check_halt()
        if adds_exposure and (self._paused or self._latch is not Latch.OPEN):
            raise _Held("held back: no new entries while the account is paused or reduce-only")
        if deadline_ns is not None and self._deadline_clock is not None and self._deadline_clock.now_ns() > deadline_ns:
            raise _Held("held back: it could not be sent in time")

    def _check_halt(self) -> None:
        if self._latch is Latch.HALTED:
            raise _Held("held back: the account is halted")

    def _check_epoch(self, epoch: int) -> None:
        """What a dead executor asked for is not sent any more: the one after it asks about it, and decides.

        Nor is anything when another daemon may have taken over, in a process that was stopped for a while.
        """
        left_ns = self._lease_left_ns()
        if left_ns is not None and left_ns <= 0:
            raise _Held("held back: our lease of the account is over, another daemon may have taken over")
        if epoch < self._epoch:
            raise _Held("held back: the executor that asked has been restarted")

    async def _read_everything(self, message: Reconcile) -> VenueSide:
        venue = self._ready()
        point("session.read.before")
        matcher = self._matcher
        if matcher is not None and message.run is not None:
            await matcher.begin(message.run)
        news = await self._news(venue, message.cursor)
        orders: dict[str, VenueOrder | None] = {}
        for client_id in message.wanted:
            orders[client_id] = await venue.order(client_id)
            self._calls += 1
        return VenueSide(news, orders, await venue.open_orders(), await venue.positions(), await venue.balance())

    @property
    def works(self) -> bool:
        return self._busy or self._connecting

    @property
    def progress(self) -> int:
        return super().progress + self._calls

    def settled(self) -> bool:
        return not self._busy and not self._queue and super().settled()


def _unless_answered(ask: CancelOrder | AmendOrder, ended: Outcome) -> Outcome | None:
    if ended.kind in (OutcomeKind.NOT_SENT, OutcomeKind.UNKNOWN):
        return Outcome(ask.client_order_id, ended.kind, ended.reason, again=ask)
    return None
