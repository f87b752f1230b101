"""Trades closed whole, for the monitor, a person, or the end of a run; and the wish that nothing is open, while it stands."""

from __future__ import annotations

from collections.abc import Sequence

from tradekeel.domain import records as r
from tradekeel.domain.account import Step
from tradekeel.domain.deciding import Asker, Deciding
from tradekeel.domain.effects import Effects
from tradekeel.domain.intents import exit_order
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.sending import Drafted
from tradekeel.domain.trades import CloseReason

ACCOUNT_DECIDER = "#account"
"""Who decided an order that no strategy decided; part of its id."""

FLATTEN = "flatten"
"""Why an account is paused in which everything was to end."""


class Closing(Deciding):
    """Closes trades."""

    def exit_trades(self, wishes: Sequence[tuple[str, str]], source: str, now_ns: int) -> Effects:
        """Close trades whole, (trade id, reason) each, for the monitor or a person.

        Trades that are claimed already are left alone.
        """
        step = Step(self.book)
        with ledger():
            self._exit_all(step, wishes, source, now_ns)
        return step.effects()

    def flatten(self, by: str, now_ns: int, *, for_stop: bool = False) -> Effects:
        """Cancel entries, close every trade, then pause; and until somebody resumes, whatever still comes in goes, too.

        ``for_stop``: the wish ends with the stop, which resumes what it has paused. Of an account that a person had paused
        before nothing is noted, or nobody would take it back.
        """
        step = Step(self.book)
        with ledger():
            self._cancel_entries(step, FLATTEN, now_ns)
            self._exit_all(step, self._all_by_hand(), "operator", now_ns)
            row = self.book.execution
            if row is not None and not (row.paused and (self.book.flattened or for_stop)):
                self._record_latch(step, True, row.latch, FLATTEN, by, now_ns, flatten=True)
        return step.effects()

    def stay_flat(self, now_ns: int) -> Effects:
        """Ask once more for what a flatten has not closed."""
        step = Step(self.book)
        with ledger():
            self._stay_flat(step, now_ns)
        return step.effects()

    def _stay_flat(self, step: Step, now_ns: int) -> None:
        """While a flatten stands: an entry may have filled behind it, or an exit of it may have closed too little.

        Not for exits that the venue has rejected, or it would be asked for ever.
        """
        if self.book.flattened and self._may_ask and not self.is_halted:
            self._exit_all(step, self._all_by_hand(), "operator", now_ns)

    def _all_by_hand(self) -> list[tuple[str, str]]:
        return [(trade_id, CloseReason.MANUAL.value) for trade_id in self.book.trades]

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
            order = exit_order(self._wish(trade, closable, reason, by, drafted), self.book.numbering)
            denial = self.gate.check_exit(order, self._exit_view(closable), now_ns)
            drafted.add(order if denial is None else self._denied(order, denial))
        if drafted.orders:
            step.record(r.OrdersIntended(ts_ns=now_ns, stamp=self.stamp, orders=tuple(drafted.orders), reason=source))
            self._release_new(step, drafted.orders, now_ns)
