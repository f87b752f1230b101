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

from decimal import Decimal

from tradekeel.domain import records as r
from tradekeel.domain.account import Step
from tradekeel.domain.booking import Booking
from tradekeel.domain.doubting import Doubting
from tradekeel.domain.effects import Effects
from tradekeel.domain.trades import tightens


class ExecutorCore(Booking, Doubting):
    """See the module. Every public method of its layers is one step."""

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
