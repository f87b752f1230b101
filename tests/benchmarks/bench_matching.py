"""The matching core on recorded EUR/USD ticks: an order every 52 ticks, stepped bare as a backtest does.

Each figure stands beside its floor: to create what the step leaves behind, the order and its entries of the record, and nothing
else. The best of a few runs.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from statistics import median

from tests.benchmarks.report import Result, standalone
from tests.benchmarks.support import real_ticks
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import (
    Commission,
    Matcher,
    OrderState,
    PaperAccount,
    PaperSettings,
    Slippage,
    WorkingOrder,
)
from tradekeel.domain.messages import Fill, Liquidity, OrderRequest, TransactionKind, VenueTransaction
from tradekeel.domain.money import ONE, ZERO
from tradekeel.domain.orders import AttachedExit, OrderType, Side
from tradekeel.domain.positions import Position
from tradekeel.domain.ticks import Tick, TickWindow

EUR = "EUR_USD"
DAYS = ("20140507", "20140508")
TICKS, QUICK_TICKS = 60_000, 10_000
ROUNDS, QUICK_ROUNDS = 5, 2
WINDOW_TICKS = 2_048
TICKS_PER_ORDER = 52

Wish = Callable[[int, Tick], OrderRequest]
"""What is ordered: by its number, and the tick it is decided on."""

COSTS = PaperSettings(
    slippage=Slippage(model="fixed", pips=Decimal("0.2")), commission=Commission(model="per_lot", taker=Decimal("3.5"))
)


def order(number: int, type_: OrderType, quantity: int, distance: int = 0, tick: Tick | None = None) -> OrderRequest:
    """Buys and sells in turn; ``distance`` pips behind the market."""
    side = Side.BUY if number % 2 else Side.SELL
    price = None if tick is None else tick.bid - side.sign * distance * CATALOGUE[EUR].pip_size
    return OrderRequest(
        client_order_id=f"o{number}",
        instrument=EUR,
        side=side,
        type=type_,
        quantity=Decimal(quantity),
        price=price if type_ is OrderType.LIMIT else None,
    )


def flip(number: int, tick: Tick) -> OrderRequest:
    return order(number, OrderType.MARKET, 100_000 if number == 1 else 200_000)


def rest(number: int, tick: Tick) -> OrderRequest:
    return order(number, OrderType.LIMIT, 10_000, 1, tick)


def protect(number: int, tick: Tick) -> OrderRequest:
    entry = order(number, OrderType.MARKET, 1_000)
    far = entry.side.sign * 8 * CATALOGUE[EUR].pip_size
    stop = AttachedExit(client_order_id=f"s{number}", type=OrderType.STOP, stop_price=tick.bid - far)
    target = AttachedExit(client_order_id=f"t{number}", type=OrderType.LIMIT, price=tick.bid + far)
    return OrderRequest(
        client_order_id=entry.client_order_id,
        instrument=EUR,
        side=entry.side,
        type=entry.type,
        quantity=entry.quantity,
        attached=(stop, target),
    )


SCENARIOS: tuple[tuple[str, Wish, PaperSettings], ...] = (
    ("market, flips", flip, PaperSettings()),
    ("market, flips, no margin call", flip, PaperSettings(margin_call_level=None)),
    ("market, flips, slippage and commission", flip, COSTS),
    ("market with stop and target", protect, COSTS),
    ("limit", rest, COSTS),
)


def took_us(ticks: Sequence[Tick], wish: Wish, settings: PaperSettings) -> tuple[float, float, float]:
    """Microseconds of a placing and of a tick that acts, the medians; and of a tick between orders, the mean.

    The mean is of processor time, since whatever else the machine does would be in it.
    """
    terms = PaperAccount(account="bench", currency="USD", deposit=Decimal(100_000), leverage=Decimal(30))
    matcher = Matcher(terms, CATALOGUE, settings)
    matcher.open()
    placed: list[int] = []
    acted: list[int] = []
    between_ns, clock, used = 0, time.perf_counter_ns, time.thread_time_ns
    for start in range(0, len(ticks), WINDOW_TICKS):
        window = TickWindow(ticks[start : start + WINDOW_TICKS])
        index, count = 0, len(window.ticks)
        while index < count:
            orders_at = min(index + -(start + index) % TICKS_PER_ORDER, count - 1)
            began = used()
            acts = matcher.quiet_until(window, index)
            last = min(acts, orders_at)
            matcher.advance(window, last if acts == last else last + 1)
            between_ns += used() - began
            if acts == last:
                began = clock()
                matcher.on_tick(window.ticks[acts])
                acted.append(clock() - began)
            if last == orders_at:
                request = wish(len(placed) + 1, window.ticks[last])
                began = clock()
                matcher.place(request)
                placed.append(clock() - began)
            index = last + 1
        matcher.take_changes()
    return median(placed) / 1000, median(acted) / 1000, between_ns / len(ticks) / 1000


def structs_us(rounds: int = 2_000) -> tuple[float, float]:
    """Median microseconds to create an order with its first entry; and a fill with its entry and the position after it."""
    kind, side, price, quantity = TransactionKind.ORDER_FILLED, Side.BUY, Decimal("1.38676"), Decimal(100_000)
    type_, state, liquidity = OrderType.MARKET, OrderState.WORKING, Liquidity.TAKER
    orders, fills = [], []
    for number in range(rounds):
        began = time.perf_counter_ns()
        WorkingOrder(
            venue_order_id="7",
            client_order_id="o",
            instrument=EUR,
            side=side,
            type=type_,
            quantity=quantity,
            state=state,
            rank=number,
            accepted_position=number,
            due_ns=number,
        )
        VenueTransaction(sequence=number, kind=kind, ts_ns=number, quantity=quantity, balance=price)
        orders.append(time.perf_counter_ns() - began)
        began = time.perf_counter_ns()
        fill = Fill(
            "7",
            "bench",
            "paper",
            EUR,
            side=side,
            quantity=quantity,
            price=price,
            fee=ZERO,
            realised=price,
            rate=ONE,
            liquidity=liquidity,
            ts_ns=number,
            venue_order_id="7",
            client_order_id="o",
            venue_sequence=number,
        )
        VenueTransaction(sequence=number, kind=kind, ts_ns=number, quantity=quantity, fill=fill, balance=price)
        Position(EUR, quantity, price)
        fills.append(time.perf_counter_ns() - began)
    return median(orders) / 1000, median(fills) / 1000


def bench(quick: bool) -> list[Result]:
    """Microseconds an order, a tick that acts, and a tick that does not."""
    ticks = real_ticks(DAYS, QUICK_TICKS if quick else TICKS)
    if ticks is None:
        return [Result("matching: skipped, no recorded ticks at hand", 0.0, "us")]
    results: list[Result] = []
    gc.disable()  # as the daemon, which collects seldom
    for name, wish, settings in SCENARIOS:
        runs = [(*took_us(ticks, wish, settings), *structs_us()) for _ in range(QUICK_ROUNDS if quick else ROUNDS)]
        gc.collect()
        place, act, between, to_place, to_fill = map(min, zip(*runs, strict=True))
        for what, value, floor in (("place", place, to_place), ("a tick that acts", act, to_fill)):
            results.append(Result(f"{name}: {what}", value, "us", floor, "the structs of one", value / floor))
        results.append(Result(f"{name}: a tick between orders", between, "us"))
    gc.enable()
    return results


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
