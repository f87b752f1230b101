"""Nothing that a backtest decides, or fills, knows of a tick that comes later.

Whatever lies behind a tick is cut off, or becomes another market: up to that tick the journal is the same to the last byte.
And an order meets the venue's next look at the market: never the tick that it was decided on, never one before it has arrived.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache

import pytest
from msgspec import Struct, structs

from tests.unit.backtest import bench
from tests.unit.backtest.lively import MIDS, World, market
from tests.unit.backtest.scene import EUR, Nothing, Played, account, alone, buy, filled, leave, play, tape
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.setup import Setup, begin
from tradekeel.backtest.snapshots import Snapshots, every
from tradekeel.backtest.source import TicksSource
from tradekeel.domain.entries import Entry
from tradekeel.domain.matching import PaperSettings
from tradekeel.domain.messages import Enter, Exit, Request, Stamp, TransactionKind
from tradekeel.domain.orders import Order, OrderType, Side
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_MS, NS_PER_S
from tradekeel.strategies.base import AnyStrategy, Strategy, StrategyContext

pytestmark = pytest.mark.untraced
"""The lines of a run are those of the tests of its exactness."""

TICKS = 200
CUTS = 5
BEHIND = 40
"""Ticks of another market behind a cut: enough for it to show."""

SEED = 7

WORLDS = {
    "netting": World(),
    "netting, exits at the venue, bars": World(exits_at_venue=True, bars=True),
    "latency, sizes": World(exits_at_venue=True, sizes=True, latency_ms=1_500),
    "hedging in euros, bars": World(hedging=True, currency="EUR", sizes=True, bars=True),
    "a bad line": World(hedging=True, exits_at_venue=True, faults="0.1"),
    "margin calls": World(deposit="240", call_level="1.05"),
}


class Case(Struct, frozen=True):
    """A run that can be made again on other ticks."""

    setup: Setup
    ticks: list[Tick]
    timeframes: Mapping[str, Sequence[str]]

    def journal(self, ticks: Sequence[Tick], window_ticks: int = 2_048) -> list[Entry]:
        """The journal of a run over these ticks, behind the last of them: it has not been told that there are no more."""
        journal = MemoryJournal()
        kernel = begin(self.setup, journal, ticks[0].ts_ns)
        for window in TicksSource(ticks, window_ticks=window_ticks, timeframes=self.timeframes).windows():
            kernel.conduct(window)
        kernel.rest()
        return journal.entries


@cache
def case(name: str) -> Case:
    if name == "averages of bars and of ticks, and layers":
        found = [tick for window in bench.market(600).windows() for tick in window.ticks]
        strategies: dict[str, AnyStrategy] = {
            "bars": bench.ema(timeframe="5s", fast=3, slow=9),
            "floor": bench.floor(),
            "ticks": bench.ema(),
        }
        return Case(bench.setup(strategies, exits_at_venue=False), found, {EUR: ("5s",)})
    world = WORLDS[name.removesuffix(SNAPSHOTS)]
    bars = dict.fromkeys(MIDS, ("5t",)) if world.bars else {}
    every_ns = 20 * NS_PER_S if name.endswith(SNAPSHOTS) else 0
    setup = structs.replace(world.setup(SEED), snapshots=Snapshots(every(every_ns)) if every_ns else None)
    return Case(setup, market(SEED, TICKS, sizes=world.sizes), bars)


@cache
def whole(name: str) -> list[Entry]:
    """The journal with all of the data."""
    return case(name).journal(case(name).ticks)


def up_to(position: int, entries: Sequence[Entry]) -> list[bytes]:
    """What is journaled up to a tick and all that was decided on it."""
    return bench.written([entry for entry in entries if entry.record.stamp <= Stamp.after(position)])


def places(name: str) -> list[int]:
    """Ticks to cut at: some by lot, and some of those at which something was decided, or filled."""
    draw, last = random.Random(f"cuts {name}"), len(case(name).ticks)
    busy = sorted({Stamp.position(entry.record.stamp) for entry in whole(name)} - {0, last})
    return sorted({draw.randrange(1, last), last - 1, *draw.sample(busy, CUTS)})


CASES = [*WORLDS, "averages of bars and of ticks, and layers"]
SNAPSHOTS = ", snapshots"
"""They are taken when the first tick behind their time has come, so they are no part of what is cut off before it."""


# --- what comes later is not known ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CASES, f"netting{SNAPSHOTS}"])
def test_a_run_that_is_shown_one_tick_at_a_time_comes_to_the_same(name: str) -> None:
    """This is every cut at once: when a tick is conducted, nothing behind it exists."""
    entries = whole(name)
    assert len(entries) > 50, "something happens"
    assert bench.written(case(name).journal(case(name).ticks, window_ticks=1)) == bench.written(entries)


@pytest.mark.parametrize("name", CASES)
def test_what_is_cut_off_behind_a_tick_changes_nothing_up_to_it(name: str) -> None:
    made = case(name)
    for position in places(name):
        cut = made.journal(made.ticks[:position])
        assert bench.written(cut) == up_to(position, whole(name)), f"cut behind tick {position}"


@pytest.mark.parametrize("name", [*CASES, f"netting{SNAPSHOTS}"])
def test_another_market_behind_a_tick_changes_nothing_up_to_it(name: str) -> None:
    made, different = case(name), 0
    for position in places(name):
        end = position + BEHIND
        other = made.journal([*made.ticks[:position], *shaken(made.ticks[position:end], seed=position)])
        assert up_to(position, other) == up_to(position, whole(name)), f"another market behind tick {position}"
        different += bench.written(other) != up_to(end, whole(name))
    assert different > CUTS // 2, "behind the tick something else happens, or nothing would be shown"


def shaken(ticks: Sequence[Tick], seed: int) -> list[Tick]:
    """The same moments with other prices and sizes."""
    draw = random.Random(f"shaken {seed}")
    found = []
    for tick in ticks:
        by = Decimal(draw.randint(-60, 60)).scaleb(-5)
        room = None if tick.bid_size is None else Decimal(draw.choice((300, 700, 5_000)))
        found.append(structs.replace(tick, bid=tick.bid + by, ask=tick.ask + by, bid_size=room, ask_size=room))
    return found


# --- what is decided meets a later tick -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_no_order_meets_the_tick_it_was_decided_on_nor_one_before_it_has_arrived(name: str) -> None:
    latency_ns = WORLDS[name].latency_ms * NS_PER_MS
    quiet = structs.replace(WORLDS[name], slips=False)
    ticks = market(SEED, TICKS, sizes=quiet.sizes)
    done = play(quiet.setup(SEED), ticks)
    orders: dict[str | None, Order] = {order.client_order_id: order for order in done.orders}
    accepted = {
        news.client_order_id: news.position for news in done.record if news.kind is TransactionKind.ORDER_ACCEPTED
    }
    seen = 0
    for news in done.record:
        fill = news.fill
        if fill is None or fill.client_order_id is None:
            continue  # a margin call is the venue's own, and closes at the quote that brought it
        order, tick = orders[fill.client_order_id], ticks[news.position - 1]
        decided = Stamp.position(order.stamp)
        assert decided < news.position, order.client_order_id
        assert accepted[order.client_order_id] < news.position, order.client_order_id
        assert order.parent_id is not None or fill.ts_ns >= ticks[decided - 1].ts_ns + latency_ns
        # Its price is the market's at the tick that it met: an earlier, better one is not to be had.
        assert (fill.instrument, fill.ts_ns) == (tick.instrument, tick.ts_ns)
        assert fill.price == (tick.ask if fill.side is Side.BUY else tick.bid)
        seen += 1
    assert seen > 30


def test_whoever_sees_a_spike_cannot_trade_at_it() -> None:
    done = alone(
        {3: [buy("1000")], 4: [leave()]},  # bought where the market is low, sold where it is high: if that could be had
        tape("1.10000 1.10010", "1.10000 1.10010", "1.09000 1.09010", "1.11000 1.11010", "1.10000 1.10010"),
    )
    assert done.fills == [
        filled(4, "buy", "1000", "1.11010"),
        filled(5, "sell", "1000", "1.10000", realised="-10.10"),
    ]


# --- data that is shifted ---------------------------------------------------------------------------------------------


class Last(Struct, frozen=True):
    """The middle of the last tick."""

    mid: Decimal | None = None


class Chaser(Strategy[Nothing, Last]):
    """Buys what rises and leaves what falls: what it does follows from two ticks, wherever they stand."""

    kind = "chaser"
    Params = Nothing
    State = Last

    def on_tick(self, tick: Tick, state: Last, context: StrategyContext) -> tuple[Last, Sequence[Request]]:
        moved = Decimal(0) if state.mid is None else tick.mid - state.mid
        wanted: list[Request] = []
        if moved >= Decimal("0.00008") and not context.open_trades:
            wanted.append(
                Enter(
                    instrument=tick.instrument,
                    side=Side.BUY,
                    quantity=Decimal(1000),
                    type=OrderType.LIMIT,
                    price=tick.ask + Decimal("0.00005"),
                    stop_loss=tick.bid - Decimal("0.00060"),
                )
            )
        elif moved <= Decimal("-0.00008") and context.open_trades:
            wanted.append(Exit(instrument=tick.instrument))
        return Last(tick.mid), wanted


@pytest.mark.parametrize("latency_ms", [0, 1_500])
@pytest.mark.parametrize("by", [1, 2, 7, 63])
def test_data_that_comes_so_many_ticks_later_is_traded_so_many_ticks_later(by: int, latency_ms: int) -> None:
    draw, mid, lines = random.Random("shift"), 110_000, []
    for _ in range(400):
        mid += draw.randint(-14, 14)
        lines.append(f"{mid / 100_000:.5f} {(mid + 10) / 100_000:.5f}")
    setup = account(
        {"one": Chaser(Nothing()), "two": Chaser(Nothing())},
        hedging=True,
        settings=PaperSettings(latency_ms=latency_ms),
    )
    plain, late = play(setup, tape(*lines)), play(setup, tape(*[lines[0]] * by, *lines))
    assert len(plain.fills) > 40
    assert story(late, by) == story(plain)


def story(done: Played, by: int = 0) -> list[object]:
    """What was decided when, and what was filled when, counted as if everything had come ``by`` ticks earlier."""
    decided = [
        (Stamp.position(order.stamp) - by, order.created_ns - by * NS_PER_S, order.type, order.price, order.status)
        for order in done.orders
    ]
    return [*decided, *(fill._replace(tick=fill.tick - by) for fill in done.fills)]
