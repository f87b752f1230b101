"""What a core gives back: records and rows to make durable, and requests to perform once they are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import OrderRequest
from tradekeel.domain.records import Group
from tradekeel.domain.rows import Checkpoint


class PlaceOrder(Struct, frozen=True, tag=True):
    """Send one order, attached exits included. Checked once more in the step that writes to the wire."""

    request: OrderRequest
    adds_exposure: bool
    deadline_ns: int | None = None


class CancelOrder(Struct, frozen=True, tag=True):
    """Ask the venue to cancel. Asking twice is harmless."""

    client_order_id: str
    protective: bool = False  # a stop or target that the venue keeps for us: not while the account is halted


class AmendOrder(Struct, frozen=True, tag=True):
    """Move the price of a working order that the venue keeps for us. Asking twice is harmless."""

    client_order_id: str
    price: str  # decimal text


class LookUpOrder(Struct, frozen=True, tag=True):
    """Find out what became of an order in doubt."""

    client_order_id: str


VenueAsk = PlaceOrder | CancelOrder | AmendOrder | LookUpOrder


class Effects(Struct, frozen=True):
    """One step's outcome. Nothing in ``requests`` happens before everything else is durable."""

    entries: tuple[Entry, ...] = ()  # records with the numbers they will have and the rows they change
    checkpoints: tuple[Checkpoint, ...] = ()
    requests: tuple[VenueAsk, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entries or self.checkpoints or self.requests)

    def group(self, execution: str) -> Group:
        """What is committed together."""
        return Group(
            execution=execution,
            records=tuple(entry.record for entry in self.entries),
            rows=tuple(row for entry in self.entries for row in entry.rows),
            checkpoints=self.checkpoints,
        )


def merged(steps: Sequence[Effects]) -> Effects:
    """Several steps as one, in order. Of an owner's states only the last is kept: it includes the others."""
    if len(steps) == 1:
        return steps[0]
    checkpoints = {checkpoint.owner: checkpoint for step in steps for checkpoint in step.checkpoints}
    return Effects(
        tuple(entry for step in steps for entry in step.entries),
        tuple(checkpoints.values()),
        tuple(request for step in steps for request in step.requests),
    )
