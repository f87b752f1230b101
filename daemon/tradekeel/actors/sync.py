"""Sync: fetches what the venue says, again and again where that is needed, and hands it to the executor, which applies it.

It answers two questions. *What is the venue's side?* asked once at the start of every executor incarnation, and on a
schedule. *What became of this order?* asked for every order in doubt, until the venue knows it, it is proved that it
never arrived, or only a person can tell (:mod:`tradekeel.domain.evidence`).
"""

from __future__ import annotations

from typing import Any

from tradekeel.domain.evidence import NEVER_ARRIVED, EvidenceRules, Look, NotFoundEvidence, Verdict, look, next_look_ns
from tradekeel.domain.protocol import LookedUp, LookUp, Reconcile, VenueSide
from tradekeel.errors import ErrorAction, TradekeelError, action_of
from tradekeel.ports import VenueCapabilities
from tradekeel.runtime.actor import Actor, ActorRef, Reply
from tradekeel.runtime.restart import Backoff, backoff_delay_s

RETRY = Backoff(initial_s=0.1, factor=2.0, max_s=30.0)
FETCH_TIMEOUT_S = 60.0
LOOK_INTERVAL_S = 1.0


class Sync(Actor):
    """See the module."""

    def __init__(self, session: ActorRef, capabilities: VenueCapabilities) -> None:
        self._session = session
        self._rules = EvidenceRules.of(
            capabilities.proof,
            capabilities.request_timeout_s,
            capabilities.lag_margin_s,
            matches_ticks=capabilities.matches_ticks,
        )

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert reply is not None
        match message:
            case Reconcile():
                self.spawn(self._reconcile, message, reply)
            case LookUp():
                self.spawn(self._look_up, message, reply)
            case _:
                raise TypeError(f"sync does not know {type(message).__name__}")

    async def _reconcile(self, message: Reconcile, reply: Reply) -> None:
        """One attempt: the executor decides whether to ask again."""
        try:
            reply.send(await self._session.ask(message, timeout_s=FETCH_TIMEOUT_S))
        except TradekeelError as error:
            reply.fail(error)

    async def _look_up(self, message: LookUp, reply: Reply) -> None:
        client_id = message.client_order_id
        evidence = NotFoundEvidence(client_order_id=client_id, left_by_ns=message.left_by_ns)
        failures = 0
        while True:
            asked_ns = self.clock.now_ns()
            side = await self._fetch(message)
            if side is None:
                failures += 1
                evidence = look(evidence, Look(asked_ns=asked_ns, found=False, complete=False), self._rules)
                await self.clock.sleep(backoff_delay_s(RETRY, failures, self.system.random))
                continue
            failures = 0
            found = side.orders[client_id] is not None or any(t.client_order_id == client_id for t in side.transactions)
            # The session does one thing at a time, so by the time it answers, the request itself is over.
            evidence = look(evidence, Look(asked_ns=asked_ns, found=found), self._rules)
            if evidence.verdict is not Verdict.SEARCHING:
                reply.send(self._answer(evidence, side))
                return
            wait_s = (next_look_ns(evidence, self._rules) - self.clock.now_ns()) / 1e9
            await self.clock.sleep(min(max(wait_s, 0.01), LOOK_INTERVAL_S))

    async def _fetch(self, message: LookUp) -> VenueSide | None:
        question = Reconcile(message.epoch, message.cursor, (message.client_order_id,))
        try:
            side = await self._session.ask(question, timeout_s=FETCH_TIMEOUT_S)
        except TradekeelError as error:
            if action_of(error) is not ErrorAction.RETRY:
                raise
            return None  # counted as a look that proves nothing; the loop asks again
        assert isinstance(side, VenueSide)
        return side

    @staticmethod
    def _answer(evidence: NotFoundEvidence, side: VenueSide) -> LookedUp:
        reasons = {
            Verdict.FOUND: "the venue knows it",
            Verdict.PROVED: NEVER_ARRIVED,
            Verdict.NEEDS_PERSON: "this venue offers no proof that an order never arrived: a person has to resolve it",
        }
        return LookedUp(
            client_order_id=evidence.client_order_id,
            found=evidence.verdict is Verdict.FOUND,
            never_arrived=evidence.verdict is Verdict.PROVED,
            reason=reasons[evidence.verdict],
            transactions=side.transactions,
        )
