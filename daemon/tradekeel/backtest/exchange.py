"""The paper venue without its ledger and its session: asked, checked and answered in one step.

It does what :class:`~tradekeel.actors.session.Session` and :class:`~tradekeel.venues.paper.PaperVenue` do between an order that
is durable and the venue's record, with the same matcher, the same last check and the same simulated losses.
"""

from __future__ import annotations

from collections.abc import Sequence

from tradekeel.domain.effects import AmendOrder, CancelOrder, LookUpOrder, PlaceOrder, VenueAsk
from tradekeel.domain.matching import Matcher, Misbehaviour, PaperSettings
from tradekeel.domain.messages import VenueTransaction
from tradekeel.domain.money import parse_amount
from tradekeel.domain.protocol import Outcome, OutcomeKind
from tradekeel.domain.rows import ExecutionRow, Latch
from tradekeel.domain.ticks import TickWindow

_HALTED = "held back: the account is halted"
_NO_ENTRIES = "held back: no new entries while the account is paused or reduce-only"


class Exchange:
    """One account at the venue. ``news`` is its record since it was last taken."""

    def __init__(self, matcher: Matcher, settings: PaperSettings) -> None:
        self.matcher = matcher
        self._misbehaviour = Misbehaviour(settings)
        self._news: list[VenueTransaction] = []

    def begin(self, execution: str, ts_ns: int) -> None:
        """A new account gets its deposit; a run of a feed begins."""
        if not self.matcher.is_open:
            self._news.extend(self.matcher.open(ts_ns))
        self._news.extend(self.matcher.begin(execution))

    def match(self, window: TickWindow, index: int) -> None:
        """Act on one tick."""
        self.matcher.advance(window, index)
        self._news.extend(self.matcher.on_tick(window.ticks[index]))

    def take_news(self) -> Sequence[VenueTransaction]:
        """The entries of the record that nobody has been told of."""
        news, self._news = self._news, []
        return news

    def perform(self, ask: VenueAsk, row: ExecutionRow) -> Outcome | None:
        """Do one request and say how it ended, as far as this side knows; None where that comes as news."""
        match ask:
            case PlaceOrder():
                return self._place(ask, row)
            case CancelOrder(client_order_id, protective):
                if protective and row.latch is Latch.HALTED:
                    return Outcome(client_order_id, OutcomeKind.NOT_SENT, _HALTED, again=ask)
                self._news.extend(self.matcher.cancel(client_order_id))
            case AmendOrder(client_order_id, price):
                self._news.extend(self.matcher.amend(client_order_id, parse_amount(price)))
            case LookUpOrder():
                raise TypeError("what became of an order is asked with knows()")
        return None

    def knows(self, client_order_id: str) -> bool:
        """Whether an order is among the venue's open ones. One that has ended is in its record."""
        return self.matcher.order(client_order_id) is not None

    def _place(self, ask: PlaceOrder, row: ExecutionRow) -> Outcome | None:
        request, matcher = ask.request, self.matcher
        key = request.client_order_id
        if row.latch is Latch.HALTED:
            return Outcome(key, OutcomeKind.NOT_SENT, _HALTED)
        if ask.adds_exposure and (row.paused or row.latch is not Latch.OPEN):
            return Outcome(key, OutcomeKind.NOT_SENT, _NO_ENTRIES)
        if self._misbehaviour.loses(request, matcher.position):
            return Outcome(key, OutcomeKind.UNKNOWN, f"order {key}: the connection was lost (simulated)")
        self._news.extend(matcher.place(request))
        if self._misbehaviour.keeps_silent(request, matcher.position):
            return Outcome(key, OutcomeKind.UNKNOWN, f"order {key}: no answer in time (simulated)")
        return None
