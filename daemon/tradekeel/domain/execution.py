"""The executor's core: decisions become intents, venue news becomes books, and every doubt becomes a question.

One instance owns the book of one account. Each public method is one step: it decides, applies its records to the book
at once (the core runs ahead of the disk), and returns :class:`~tradekeel.domain.effects.Effects`. The shell makes
records, rows and checkpoints durable in one transaction and only then performs the requests, in order.

Three parties may want out of one trade: its strategy, the monitor, a person. The first takes the claim: what a later
one may ask for is what is held less what live, unsent and unknown exits may already take (:meth:`Book.closable`).
Protective orders that the venue holds are cancelled first, and their end is confirmed before the exit takes their
place.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tradekeel.domain import records as r
from tradekeel.domain.account import Step
from tradekeel.domain.booking import Booking
from tradekeel.domain.deciding import Asker, Deciding
from tradekeel.domain.doubting import Doubting
from tradekeel.domain.effects import Effects
from tradekeel.domain.intents import exit_order
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.sending import FLATTEN, Drafted
from tradekeel.domain.trades import CloseReason, tightens

ACCOUNT_DECIDER = "#account"
"""Who decided an order that no strategy decided; part of its id."""


class ExecutorCore(Deciding, Booking, Doubting):
    """See the module. Every public method of its layers is one step."""

    def exit_trades(self, wishes: Sequence[tuple[str, str]], source: str, now_ns: int) -> Effects:
        """Close trades whole, (trade id, reason) each, for the monitor or a person.

        Trades that are claimed already are left alone.
        """
        step = Step(self.book)
        with ledger():
            self._exit_all(step, wishes, source, now_ns)
        return step.effects()

    def _exit_all(self, step: Step, wishes: Sequence[tuple[str, str]], source: str, now_ns: int) -> None:
        drafted = Drafted()
        number = self.book.exit_decisions + 1
        for leg, (trade_id, reason) in enumerate(wishes):
            trade = self.book.trades.get(trade_id)
            if trade is None:
                continue
            closable = self.book.closable(trade)
            if closable <= ZERO:
                continue
            by = Asker(source, ACCOUNT_DECIDER, number, leg, now_ns)
            order = exit_order(self._wish(trade, closable, reason, by, drafted), self.book.execution_id)
            denial = self.gate.check_exit(order, self._exit_view(closable), now_ns)
            drafted.add(order if denial is None else self._denied(order, denial))
        if drafted.orders:
            step.record(r.OrdersIntended(ts_ns=now_ns, stamp=self.stamp, orders=tuple(drafted.orders), reason=source))
            self._release_new(step, drafted.orders, now_ns)

    def move_stop(
        self, trade_id: str, stop: Decimal, best: Decimal | None, worst: Decimal | None, now_ns: int
    ) -> Effects:
        """The monitor trailed a stop that we keep."""
        step = Step(self.book)
        trade = self.book.trades.get(trade_id)
        if trade is not None and tightens(trade, stop):
            step.record(
                r.StopMoved(
                    ts_ns=now_ns,
                    stamp=self.stamp,
                    correlation_id=trade.correlation_id,
                    trade_id=trade_id,
                    stop_loss=stop,
                    take_profit=None,
                    source="trailing",
                    best=best,
                    worst=worst,
                )
            )
        return step.effects()

    def flatten(self, by: str, now_ns: int) -> Effects:
        """Cancel entries, close every trade, then pause."""
        step = Step(self.book)
        with ledger():
            self._cancel_entries(step, FLATTEN, now_ns)
            wishes = [(trade_id, CloseReason.MANUAL.value) for trade_id in self.book.trades]
            self._exit_all(step, wishes, "operator", now_ns)
            row = self.book.execution
            if row is not None and not row.paused:
                self._record_latch(step, True, row.latch, FLATTEN, by, now_ns)
        return step.effects()
