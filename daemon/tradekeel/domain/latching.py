"""Pause, reduce-only, halt: what may be traded, and who may say so. And which strategies there are to trade it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.account import Step
from tradekeel.domain.bookstate import StrategyLine
from tradekeel.domain.closing import Closing
from tradekeel.domain.effects import Effects
from tradekeel.domain.money import ledger
from tradekeel.domain.orders import Purpose
from tradekeel.domain.rows import Latch, StrategyRow, StrategyStatus

NOT_CONFIGURED = "it is no longer in the configuration: its open trades keep their exits"
NOT_ENABLED = "it is no longer enabled: its open trades keep their exits"
DRAFTED = "it is not enabled in the configuration"


class Latching(Closing):
    """What may be traded."""

    def register(self, configured: Sequence[StrategyRow], now_ns: int) -> Effects:
        """The strategies as the configuration has them: active ones, and drafts. Whoever is not among them any more is stopped.

        A draft that has traded in this execution before it was disabled is stopped, too: it owns what it has decided.
        """
        step = Step(self.book)
        for wanted in configured:
            row = structs.replace(wanted, execution=self.book.execution_id)
            if row.status is StrategyStatus.DRAFT:
                self._register_draft(step, row, now_ns)
            else:
                self._register_active(step, row, now_ns)
        names = {row.strategy for row in configured}
        for name in [name for name in self.book.strategies if name not in names]:
            self._stop(step, name, NOT_CONFIGURED, now_ns)
        return step.effects()

    def _register_active(self, step: Step, row: StrategyRow, now_ns: int) -> None:
        execution, line = self.book.execution, self.book.strategies.get(row.strategy)
        if execution is not None and execution.paused:
            why = "the account was paused when it was registered"
            row = structs.replace(row, status=StrategyStatus.PAUSED, status_reason=why)
        known = None if line is None else line.row
        stays = known is not None and known.status in (row.status, StrategyStatus.FAILED)
        if known is None or not stays or _terms(known) != _terms(row):
            step.record(r.StrategyRegistered(ts_ns=now_ns, stamp=self.stamp, row=row))

    def _register_draft(self, step: Step, row: StrategyRow, now_ns: int) -> None:
        line = self.book.strategies.get(row.strategy)
        if line is not None and self._has_traded(line):
            self._stop(step, row.strategy, NOT_ENABLED, now_ns)
        elif line is None or line.row.status is not row.status or _terms(line.row) != _terms(row):
            row = structs.replace(row, status_reason=DRAFTED)
            step.record(r.StrategyRegistered(ts_ns=now_ns, stamp=self.stamp, row=row))

    def _has_traded(self, line: StrategyLine) -> bool:
        """Whether it decided something in this execution, or has trades from the one before it."""
        return line.row.decisions > 0 or any(t.strategy == line.row.strategy for t in self.book.trades.values())

    def _stop(self, step: Step, strategy: str, reason: str, now_ns: int) -> None:
        """It sees no ticks any more. Its working entries are cancelled once it is known what became of them (see recover)."""
        stopped = StrategyStatus.STOPPED
        if self.book.strategies[strategy].row.status is not stopped:
            step.record(
                r.StrategyStatusChanged(
                    ts_ns=now_ns, stamp=self.stamp, strategy=strategy, status=stopped, reason=reason
                )
            )

    def pause(self, paused: bool, reason: str, by: str, now_ns: int) -> Effects:
        """No new entries, or entries again."""
        step = Step(self.book)
        row = self.book.execution
        if row is not None and row.paused is not paused:
            self._record_latch(step, paused, row.latch, reason, by, now_ns)
            for client_order_id in list(self.book.waiting if paused else ()):
                order = self.book.orders[client_order_id]
                if order.purpose is Purpose.ENTRY:  # not even after a resume: what it was decided on may be long past
                    self._cancel(step, client_order_id, None, "paused", now_ns)
        return step.effects()

    def latch(self, latch: Latch, reason: str, by: str, now_ns: int) -> Effects:
        """Reduce-only or halted, never back: see :meth:`release`."""
        step = Step(self.book)
        self._latch(step, latch, reason, by, now_ns)
        return step.effects()

    def _latch(self, step: Step, latch: Latch, reason: str, by: str, now_ns: int) -> None:
        row = self.book.execution
        if row is None or not latch.is_above(row.latch):
            return
        self._record_latch(step, row.paused, latch, reason, by, now_ns)
        if latch is Latch.HALTED:
            self._give_up_waiting(step, f"{latch}: {reason}", now_ns)
        self._cancel_entries(step, f"{latch}: {reason}", now_ns)

    def release(self, reason: str, by: str, now_ns: int) -> Effects:
        """A person ends a halt or a reduce-only state."""
        step = Step(self.book)
        row = self.book.execution
        if row is not None and row.latch is not Latch.OPEN:
            self._record_latch(step, row.paused, Latch.OPEN, reason, by, now_ns)
            if row.latch is Latch.HALTED and self._may_ask:
                with ledger():
                    for trade_id in list(self.book.trades):
                        self._keep_protecting(step, trade_id, now_ns)
                    self._stay_flat(step, now_ns)
        return step.effects()

    def retire(self, strategy: str, status: StrategyStatus, reason: str, now_ns: int) -> Effects:
        """A strategy decides nothing any more: its entries are cancelled, its open trades keep their exits."""
        step = Step(self.book)
        step.record(
            r.StrategyStatusChanged(ts_ns=now_ns, stamp=self.stamp, strategy=strategy, status=status, reason=reason)
        )
        if self.is_retired(strategy):
            self._cancel_entries(step, f"strategy {strategy} is {status}", now_ns, strategy)
        return step.effects()

    def cancel_entries(self, reason: str, now_ns: int) -> Effects:
        """Cancel every working order that would add exposure; protective orders stay."""
        step = Step(self.book)
        self._cancel_entries(step, reason, now_ns)
        return step.effects()

    def end(self, reason: str, now_ns: int) -> Effects:
        """The run is over: cancel every working order, protective ones, too, and take no new ones."""
        step = Step(self.book)
        if not self.book.ending:
            step.record(r.ExecutionEnding(ts_ns=now_ns, stamp=self.stamp, reason=reason))
        self._cancel_entries(step, reason, now_ns)
        for order in list(self.book.orders.values()):
            if order.purpose is Purpose.EXIT:
                self._cancel(step, order.client_order_id, None, reason, now_ns, for_good=True)
        return step.effects()


def _terms(row: StrategyRow) -> tuple[Any, ...]:
    """What the configuration says of a strategy: a difference registers it anew."""
    return row.kind, row.parameters, row.instruments
