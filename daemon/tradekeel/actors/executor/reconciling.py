"""Our books and the venue's side by side: at the start of every incarnation, and on a schedule."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import structs

from tradekeel.actors.executor.shell import TRADING, VENUE_TIMEOUT_S, ReconcileAgain, Shell, SideRead
from tradekeel.domain.protocol import Performed, Reconcile, VenueSide
from tradekeel.domain.reconcile import Finding, OurSide, Resolution, TheirSide, compare
from tradekeel.domain.records import Reconciled
from tradekeel.domain.rows import Latch
from tradekeel.errors import ErrorAction, FailureWord, action_of
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.faults import point
from tradekeel.runtime.restart import Backoff, backoff_delay_s

RECONCILE_BACKOFF = Backoff(initial_s=0.2, factor=2.0, max_s=30.0)


RECONCILE_ROUNDS_MAX = 100


NEWS_PAGE_MAX = 1_000
"""Entries of the venue's record that are booked in one step; behind it the loop turns, and they become durable."""


class Reconciling(Shell):
    """Compares the books, and applies what follows."""

    def _reconcile(self) -> None:
        wanted = tuple(o.client_order_id for o in self._book.orders.values() if o.parent_id is None)
        question = Reconcile(self.incarnation, self._book.cursor, wanted, self._book.execution_id)
        self._asked += 1
        self._rounds += 1
        self.request(self._sync, question, partial(SideRead, self._book.cursor), timeout_s=VENUE_TIMEOUT_S)

    def _read(self, message: SideRead, _: Reply | None) -> None:
        self._asked -= 1
        answer = message.answer
        if isinstance(answer, Exception):
            if action_of(answer) is not ErrorAction.RETRY:
                raise answer
            self._try_again(f"the venue cannot be reached: {answer}")
            return
        assert isinstance(answer, VenueSide)
        point("executor.reconcile.read")
        page, rest = answer.transactions[:NEWS_PAGE_MAX], answer.transactions[NEWS_PAGE_MAX:]
        self._news(Performed((), page))
        if rest:
            self._asked += 1
            self.post(SideRead(message.asked_at, structs.replace(answer, transactions=rest)))
            return
        if not self.core.ready:
            self._take(self.core.recover(self._now()))
            point("executor.reconcile.recovering")
        if self._book.cursor > answer.balance.last_sequence >= message.asked_at and self._rounds < RECONCILE_ROUNDS_MAX:
            self._reconcile()  # we have booked news since the venue was asked: its answer is old, not wrong
            return
        findings = compare(self._our_side(), self._their_side(answer))
        if any(f.resolution is Resolution.READ_ON for f in findings):
            if self._rounds < RECONCILE_ROUNDS_MAX:
                self._reconcile()
            else:  # nothing was compared: that is no agreement
                self._try_again("the venue's record grows faster than it is read")
            return
        self._failures = 0
        self._apply(findings, answer)

    def _try_again(self, why: str) -> None:
        """Not trading until the books were compared once. However often that fails, one attempt waits for its turn."""
        self._failures += 1
        if not self.core.ready:
            self._not_trading(why)
        elif self._failures == 1:
            self._alert(
                "warning", f"{self.terms.account}: the books could not be compared, which is tried again: {why}"
            )
        if not self._waits_to_try_again:
            self._waits_to_try_again = True
            self.spawn(self._again_later)

    async def _again_later(self) -> None:
        await self.clock.sleep(backoff_delay_s(RECONCILE_BACKOFF, self._failures, self.system.random))
        self._waits_to_try_again = False
        self.post(ReconcileAgain())

    def _again(self, message: Any, reply: Reply | None) -> None:
        self._rounds = 0
        self._reconcile()
        if reply is not None:
            reply.send(True)

    def _our_side(self) -> OurSide:
        book = self._book
        return OurSide(
            cursor=book.cursor,
            balance=book.money.balance,
            positions={key: position.quantity for key, position in book.positions.items()},
            orders=dict(book.orders),
            ended={k: o.status for k, o in book.ended.items()},
        )

    @staticmethod
    def _their_side(side: VenueSide) -> TheirSide:
        return TheirSide(
            last_sequence=side.balance.last_sequence,
            balance=side.balance.balance,
            positions={(p.instrument, p.ref): p.quantity for p in side.positions},
            orders=tuple(side.open_orders),
            looked_up=dict(side.orders),
        )

    def _apply(self, findings: list[Finding], side: VenueSide) -> None:
        halting = [f for f in findings if f.resolution is Resolution.HALT]
        for finding in findings:
            if finding.resolution is Resolution.MAKE_UNKNOWN and finding.client_order_id is not None:
                self._take(self.core.missing(finding.client_order_id, str(finding), self._now()))
            if finding.word is FailureWord.DEGRADE:
                self._alert("warning", str(finding))
        record = Reconciled(
            ts_ns=self._now(),
            stamp=self.core.stamp,
            balanced=not halting,
            findings=tuple(str(f) for f in findings),
            balance=side.balance.balance,
        )
        self._commit_record(record)
        if halting:
            reason = "; ".join(str(f) for f in halting)
            self._take(self.core.latch(Latch.HALTED, f"the books do not match: {reason}", "reconcile", self._now()))
            self._alert("critical", f"the books do not match the venue's: {reason}")
        point("executor.reconcile.after")
        self.core.ready = True
        self._state = TRADING  # as far as the latch lets it
        self._announce(not halting, "" if not halting else "the books do not match")
