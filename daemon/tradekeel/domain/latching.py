"""Pause, reduce-only, halt: what may be traded, and who may say so."""

from __future__ import annotations

from tradekeel.domain import records as r
from tradekeel.domain.account import Step
from tradekeel.domain.effects import Effects
from tradekeel.domain.orders import Purpose
from tradekeel.domain.sending import Sending


class Latching(Sending):
    """What may be traded."""

    def pause(self, paused: bool, reason: str, by: str, now_ns: int) -> Effects:
        """No new entries, or entries again."""
        step = Step(self.book)
        row = self.book.execution
        if row is not None and row.paused is not paused:
            self._record_latch(step, paused, row.latch, reason, by, now_ns)
        return step.effects()

    def latch(self, latch: r.Latch, reason: str, by: str, now_ns: int) -> Effects:
        """Reduce-only or halted, never back: see :meth:`release`."""
        step = Step(self.book)
        self._latch(step, latch, reason, by, now_ns)
        return step.effects()

    def _latch(self, step: Step, latch: r.Latch, reason: str, by: str, now_ns: int) -> None:
        row = self.book.execution
        if row is None or not latch.is_above(row.latch):
            return
        self._record_latch(step, row.paused, latch, reason, by, now_ns)
        self._cancel_entries(step, f"{latch}: {reason}", now_ns)

    def release(self, reason: str, by: str, now_ns: int) -> Effects:
        """A person ends a halt or a reduce-only state."""
        step = Step(self.book)
        row = self.book.execution
        if row is not None and row.latch is not r.Latch.OPEN:
            self._record_latch(step, row.paused, r.Latch.OPEN, reason, by, now_ns)
        return step.effects()

    def retire(self, strategy: str, status: r.StrategyStatus, reason: str, now_ns: int) -> Effects:
        """A strategy decides nothing any more: its entries are cancelled, its open trades keep their exits."""
        step = Step(self.book)
        step.record(
            r.StrategyStatusChanged(ts_ns=now_ns, stamp=self.stamp, strategy=strategy, status=status, reason=reason)
        )
        if self.is_retired(strategy):
            self._cancel_entries(step, f"strategy {strategy} is {status}", now_ns, strategy)
        return step.effects()

    def cancel_entries(self, reason: str, now_ns: int, *, everything: bool = False) -> Effects:
        """Cancel every working order that would add exposure; protective orders stay, unless ``everything`` is to go."""
        step = Step(self.book)
        self._cancel_entries(step, reason, now_ns)
        if everything:
            for order in list(self.book.orders.values()):
                if order.purpose is Purpose.EXIT:
                    self._cancel(step, order.client_order_id, None, reason, now_ns)
        return step.effects()
