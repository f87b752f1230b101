"""The venue session on its own: what it says of requests that nobody answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tradekeel.actors.session import Session
from tradekeel.domain.effects import AmendOrder, CancelOrder, VenueAsk
from tradekeel.domain.evidence import Proof
from tradekeel.domain.messages import OrderRequest, VenueBalance, VenueOrder, VenuePosition, VenueTransaction
from tradekeel.domain.protocol import OutcomeKind, Perform, Performed
from tradekeel.errors import OutcomeUnknown
from tradekeel.ports import LastCheck, VenueCapabilities
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.clock import ManualClock
from tradekeel.runtime.restart import Intensity, Strategy
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.runtime.system import ActorSystem


class SilentVenue:
    """A venue that answers no cancel and no amendment until it is told to; it remembers what it was asked."""

    name, account = "silent", "a"
    capabilities = VenueCapabilities(proof=Proof.NONE)

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = False

    async def connect(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def place(self, request: OrderRequest, last_check: LastCheck) -> None:
        raise AssertionError("no order is placed here")

    async def cancel(self, client_order_id: str, last_check: LastCheck) -> None:
        last_check()
        self.asked.append(client_order_id)
        if not self.answers:
            raise OutcomeUnknown("no answer in time")

    async def amend(self, client_order_id: str, price: Any, last_check: LastCheck) -> None:
        await self.cancel(client_order_id, last_check)

    async def transactions(self, after: int, rows_max: int = 1000) -> Sequence[VenueTransaction]:
        return []

    async def order(self, client_order_id: str) -> VenueOrder | None:
        return None

    async def open_orders(self) -> Sequence[VenueOrder]:
        return []

    async def positions(self) -> Sequence[VenuePosition]:
        return []

    async def balance(self) -> VenueBalance:
        raise AssertionError("nobody asks for the balance here")


async def perform(venue: SilentVenue, ask: VenueAsk, lease_left_ns: int | None = None) -> Performed:
    """Have a session perform one request, and end it."""
    system = ActorSystem(ManualClock())
    answers: list[Performed] = []

    async def drive() -> None:
        answer = await system.ref("session").ask(Perform(1, (ask,), 0), timeout_s=5)
        assert isinstance(answer, Performed)
        answers.append(answer)
        system.request_stop()

    class Driver(Session):
        """Nothing of a session's: it asks the other one and ends."""

        async def on_start(self) -> None:
            self.spawn(drive)

    children = [
        ChildSpec("session", lambda: Session(lambda: venue, None, lambda: lease_left_ns)),
        ChildSpec("driver", lambda: Driver(lambda: venue, None)),
    ]
    await system.run(Supervisor("root", Strategy.ONE_FOR_ALL, children, Intensity(0, 1.0)))
    return answers[0]


ASKS = (CancelOrder("tk1"), AmendOrder("tk1", "1.10500"))


@pytest.mark.parametrize("ask", ASKS)
async def test_a_request_that_nobody_answered_is_handed_back_to_be_asked_for_again(ask: VenueAsk) -> None:
    venue = SilentVenue()

    performed = await perform(venue, ask)

    (outcome,) = performed.outcomes
    assert (outcome.kind, outcome.again) == (OutcomeKind.UNKNOWN, ask)
    assert venue.asked == ["tk1"]


@pytest.mark.parametrize("ask", ASKS)
async def test_nothing_leaves_when_another_daemon_may_have_taken_over(ask: VenueAsk) -> None:
    venue = SilentVenue()

    performed = await perform(venue, ask, lease_left_ns=0)

    (outcome,) = performed.outcomes
    assert (outcome.kind, venue.asked) == (OutcomeKind.NOT_SENT, [])
    assert "our lease of the account is over" in outcome.reason


@pytest.mark.parametrize("ask", ASKS)
async def test_one_that_was_answered_has_no_outcome_of_its_own_because_its_end_comes_as_news(ask: VenueAsk) -> None:
    venue = SilentVenue()
    venue.answers = True

    performed = await perform(venue, ask)

    assert performed.outcomes == ()
