"""Steps on an account with much open business: twice as much of it takes twice as long, not four times.

A step runs whole on the event loop, and the process ends when that stands still for `stall_limit_s`. So each figure is a step
at 2N beside the same step at N.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from decimal import Decimal

from tests.benchmarks.report import Result, at_most, standalone
from tests.unit.domain.executor_desk import EUR, ExecutorDesk, K, buy, placed_in
from tradekeel.domain.book import Book
from tradekeel.domain.risk_limits import RiskLimits

TRADES, QUICK_TRADES = 4_000, 300
ROUNDS, QUICK_ROUNDS = 5, 3
RATIO_MAX = 3.0  # two is linear, four would be the square

Step = Callable[[ExecutorDesk], Callable[[], object]]
"""Gets a desk ready for one step, and returns it."""


def desk_with(trades: int, hedging: bool) -> tuple[ExecutorDesk, bytes]:
    """An account that holds so many trades, and its books as they are saved."""
    limits = RiskLimits(position_max=Decimal(10**9)) if hedging else None
    desk = ExecutorDesk(at_venue=False, hedging=hedging, limits=limits)
    for number in range(trades):
        desk.open(buy(1), ref=f"p{number}" if hedging else None)
    return desk, desk.book.save()


def flatten(desk: ExecutorDesk) -> Callable[[], object]:
    return lambda: desk.core.flatten("bench", desk.now_ns)


def exits_fill(desk: ExecutorDesk) -> Callable[[], object]:
    exits = [desk.order(asked) for asked in placed_in(desk.core.flatten("bench", desk.now_ns))]
    entries = [desk.fill_entry(e, ref=_ref(desk, e.trade_id), balance=None) for e in exits]
    return lambda: desk.core.news(entries, desk.now_ns)


def _ref(desk: ExecutorDesk, trade_id: str | None) -> str | None:
    trade = desk.book.trade(trade_id)
    return None if trade is None else trade.position_ref


def roll_over(desk: ExecutorDesk) -> Callable[[], object]:
    amount = Decimal("-0.01")
    trades = desk.book.trades.values()
    refs = [trade.position_ref for trade in trades] if desk.terms.hedging else [None]
    entries = [desk.entry(K.FINANCED, instrument=EUR, venue_order_id=ref, amount=amount, balance=None) for ref in refs]
    return lambda: desk.core.news(entries, desk.now_ns)


def enter(desk: ExecutorDesk) -> Callable[[], object]:
    return lambda: desk.decide(buy(1))


def describe(desk: ExecutorDesk) -> Callable[[], object]:
    return lambda: {symbol: str(net) for symbol, net in desk.book.nets().items()}


STEPS: tuple[tuple[str, bool, Step], ...] = (
    ("flatten, netting", False, flatten),
    ("flatten, hedging", True, flatten),
    ("all exits fill at one tick, netting", False, exits_fill),
    ("all exits fill at one tick, hedging", True, exits_fill),
    ("rollover, netting", False, roll_over),
    ("rollover, hedging", True, roll_over),
    ("an entry under a position limit, hedging", True, enter),
    ("the positions in the status, hedging", True, describe),
)


def took_s(desk: ExecutorDesk, saved: bytes, step: Step, rounds: int) -> float:
    """The best of a few, each from the same books."""
    best = float("inf")
    gc.disable()  # as the daemon, which collects seldom: a collection takes the longer the more there is, whoever it meets
    for _ in range(rounds):
        desk._begin(Book.load(saved))
        desk.core.ready = True
        desk.sequence = desk.book.cursor
        act = step(desk)
        began = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - began)
        gc.collect()
    gc.enable()
    return best


def bench(quick: bool) -> list[Result]:
    """Seconds of one step with 2N open trades, beside the same with N."""
    trades, rounds = (QUICK_TRADES, QUICK_ROUNDS) if quick else (TRADES, ROUNDS)
    results: list[Result] = []
    for hedging in (False, True):
        few, many = desk_with(trades, hedging), desk_with(2 * trades, hedging)
        for name, wants_hedging, step in STEPS:
            if wants_hedging is hedging:
                floor, value = (took_s(*desk, step, rounds) * 1000 for desk in (few, many))
                results.append(
                    at_most(
                        f"{name}: {2 * trades:,} open trades",
                        value,
                        "ms",
                        floor=floor,
                        floor_name=f"{trades:,}",
                        ratio_max=RATIO_MAX,
                    )
                )
    return results


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
