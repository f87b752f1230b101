"""The path of an order: from the tick to the bytes at the venue, and how many orders become durable a second."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from tests.benchmarks.report import Result, at_most, reaches, standalone
from tests.benchmarks.support import (
    BenchBuilder,
    MemoryFeed,
    Nothing,
    made_ticks,
    percentile,
    plan_of,
    raw_commits,
    run_house,
)
from tradekeel.actors.session import Session
from tradekeel.domain.evidence import Proof
from tradekeel.domain.messages import (
    Decision,
    Enter,
    OrderRequest,
    Request,
    TransactionKind,
    VenueBalance,
    VenueTransaction,
)
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import OrderType, Side
from tradekeel.domain.positions import Quote
from tradekeel.domain.protocol import AccountReady, CaughtUp, Decide, See, Settle
from tradekeel.domain.ticks import Tick
from tradekeel.ports import LastCheck, Venue, VenueCapabilities
from tradekeel.runtime import collector
from tradekeel.runtime.actor import Actor, ActorRef, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.loop import run
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.restart import Intensity
from tradekeel.runtime.restart import Strategy as Restarts
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.runtime.system import ActorSystem
from tradekeel.statedir import StateDir
from tradekeel.strategies.base import Strategy
from tradekeel.venues.paper import PaperVenue

CONFIG = """
[daemon]
name = "bench"
state_dir = "state"
[storage]
checkpoint_every_s = 3600
snapshot_schedule = 0
[feeds.memory]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = 1
[accounts.a]
venue = "paper"
feed = "memory"
sync_schedule = 0
[strategies.s]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
"""
EVERY = 4  # ticks between two entries


class Seen(Struct, frozen=True):
    """How many ticks went by."""

    ticks: int = 0


class EnterOften(Strategy[Nothing, Seen]):
    """A market entry on every fourth tick, in turn long and short."""

    kind = "enter_often"
    Params = Nothing
    State = Seen

    def on_tick(self, tick: Tick, state: Seen, context: Any) -> tuple[Seen, Sequence[Request]]:
        after = Seen(state.ticks + 1)
        if after.ticks % EVERY:
            return after, ()
        side = Side.BUY if (after.ticks // EVERY) % 2 else Side.SELL
        return after, (Enter(instrument="EUR_USD", side=side, quantity=Decimal(1000)),)


class TimedVenue(PaperVenue):
    """The paper venue, noting when the bytes of each order arrive."""

    arrived: list[float]

    async def place(self, request: OrderRequest, last_check: LastCheck) -> None:
        self.arrived.append(time.perf_counter())
        await super().place(request, last_check)


class TimedBuilder(BenchBuilder):
    """A house whose venue notes arrivals."""

    arrived: list[float]

    def _make_venue(self, account: Any, worker: Any) -> PaperVenue:
        venue = TimedVenue(
            self.statedir.paper_ledger("a"),
            account.paper,
            self._instruments(account),
            account.settings,
            run=worker.call,
        )
        venue.arrived = self.arrived
        return venue


def latency(folder: Path, orders: int, config: str = CONFIG, environ: Mapping[str, str] | None = None) -> list[float]:
    """Seconds from a tick's delivery to the order's bytes at the venue, sorted; the intent is durable in between."""
    plan = plan_of(folder, config, environ)
    account = plan.accounts[0]
    strategy = msgspec.structs.replace(account.strategies[0], cls=EnterOften, params=Nothing())
    plan = msgspec.structs.replace(plan, accounts=(msgspec.structs.replace(account, strategies=(strategy,)),))
    feed = MemoryFeed(made_ticks(orders * EVERY + 2), window_max=1)
    arrived: list[float] = []

    class Builder(TimedBuilder):
        pass

    Builder.arrived = arrived
    run_house(plan, feed, Builder)
    decided_at = [feed.handed_s[(n + 1) * EVERY] for n in range(len(arrived))]
    return sorted(at - handed for at, handed in zip(arrived, decided_at, strict=True))


# --- sustained ---------------------------------------------------------------------------------------------------------------


class AcceptingVenue:
    """Accepts every order at once and remembers nothing but its record: what is measured is ours."""

    capabilities = VenueCapabilities(proof=Proof.CURSOR)

    def __init__(self) -> None:
        self.name, self.account = "accepting", "a"
        self.record: list[VenueTransaction] = []

    async def connect(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def place(self, request: OrderRequest, last_check: LastCheck) -> None:
        last_check()
        number = len(self.record) + 1
        self.record.append(
            VenueTransaction(
                sequence=number,
                kind=TransactionKind.ORDER_ACCEPTED,
                ts_ns=number,
                client_order_id=request.client_order_id,
                venue_order_id=str(number),
                instrument=request.instrument,
                quantity=request.quantity,
            )
        )

    async def transactions(self, after: int, rows_max: int = 1000) -> Sequence[VenueTransaction]:
        return self.record[after : after + rows_max]

    async def order(self, client_order_id: str) -> None:
        return None

    async def open_orders(self) -> Sequence[Any]:
        return []

    async def positions(self) -> Sequence[Any]:
        return []

    async def balance(self) -> VenueBalance:
        return VenueBalance(
            currency="USD",
            balance=ZERO,
            unrealised=ZERO,
            margin_used=ZERO,
            deposits=ZERO,
            realised=ZERO,
            financing=ZERO,
            fees=ZERO,
            last_sequence=len(self.record),
        )


class Driver(Actor):
    """Hands the executor one decision after the other, as fast as it takes them, and ends when all are durable and sent."""

    def __init__(self, executor: ActorRef, count: int, taken: list[float]) -> None:
        self._executor = executor
        self._count = count
        self._taken = taken

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if isinstance(message, AccountReady):
            self.spawn(self._drive)

    async def _drive(self) -> None:
        base = 1_399_507_200_000_000_000
        quote = Quote(Decimal("1.39101"), Decimal("1.39114"), base)
        await self._executor.send(See(1, 3, {"EUR_USD": quote}, {}))
        await self._executor.ask(CaughtUp(), timeout_s=60)
        enter = Enter(
            instrument="EUR_USD", side=Side.BUY, quantity=Decimal(1000), type=OrderType.LIMIT, price=Decimal("1.38000")
        )
        start = time.perf_counter()
        for number in range(1, self._count + 1):
            decision = Decision(
                strategy="s",
                number=number,
                position=1,
                inbox=0,
                stamp=3,
                ts_ns=base,
                requests=(enter,),
                state=b"x" * 200,
            )
            await self._executor.ask(Decide(decision), timeout_s=60)
        await self._executor.ask(Settle(3), timeout_s=60)
        self._taken.append(time.perf_counter() - start)
        self.system.request_stop()


def sustained(folder: Path, orders: int, config: str = CONFIG) -> float:
    """Orders a second that were decided, made durable, sent and booked as accepted, with everything that belongs to it."""
    plan = plan_of(folder, config)
    statedir = StateDir(plan.config.state_dir)
    statedir.lock()
    taken: list[float] = []

    async def reload() -> str:
        raise RuntimeError("nobody reloads a benchmark")

    async def main() -> None:
        system = ActorSystem()
        made = BenchBuilder(plan, statedir, system, Notifier(), reload)
        made.feed = MemoryFeed(made_ticks(2))
        account = plan.accounts[0]
        executor = system.ref("a/executor")
        children = [
            ChildSpec("recorder", made._recorder),
            ChildSpec("control", lambda: Driver(executor, orders, taken)),
            ChildSpec("a/session", lambda: Session(cast(Callable[[], Venue], AcceptingVenue), None)),
            ChildSpec("a/sync", lambda: made._sync(account)),
            ChildSpec("a/executor", lambda: made._executor(account)),
        ]
        with collector.seldom():  # as the daemon does
            await system.run(Supervisor("root", Restarts.ONE_FOR_ALL, children, Intensity(0, 1.0)))
        for worker in made.workers:
            await worker.close()

    try:
        run(main)
    finally:
        statedir.release()
    return orders / taken[0]


def bench(quick: bool) -> list[Result]:
    """Latency of an order beside a raw commit, and durable orders a second."""
    orders = 200 if quick else 2_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = raw_commits(folder, 500 if quick else 3_000)
        taken = latency(folder, orders)
    with tempfile.TemporaryDirectory() as name:
        rate = max(sustained(Path(name), 2_000 if quick else 20_000) for _ in range(1))
    ms = 1_000.0
    return [
        at_most(
            "tick in → durable → bytes at the venue, p50",
            percentile(taken, 0.50) * ms,
            "ms",
            floor=percentile(raw, 0.50) * ms,
            floor_name="raw FULL commit p50",
            ratio_max=3,
            plus=0.5,
        ),
        at_most(
            "tick in → durable → bytes at the venue, p99",
            percentile(taken, 0.99) * ms,
            "ms",
            floor=percentile(raw, 0.99) * ms,
            floor_name="raw FULL commit p99",
            ratio_max=5,
        ),
        reaches(
            "durable orders, sustained",
            rate,
            "orders/s",
            minimum=5_000,
            floor=1 / percentile(raw, 0.50),
            floor_name="raw FULL commits",
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
