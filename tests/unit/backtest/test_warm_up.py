"""Ticks before the beginning of a backtest warm strategies up: nothing is entered there, and no figure knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from msgspec import Struct, structs

from tests.unit.backtest import bench
from tests.unit.backtest.scene import EUR, Played, account, buy, play, sell
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.around import DAY_NS, WarmUpSource
from tradekeel.backtest.executor import BacktestExecutor
from tradekeel.backtest.run import run
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.source import TicksSource
from tradekeel.domain import records as r
from tradekeel.domain.messages import Fill, Request
from tradekeel.domain.orders import Order, OrderStatus
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import DataError
from tradekeel.feeds.zones import parse_instant
from tradekeel.strategies.base import Strategy, StrategyContext

TICKS, COLD = 1_200, 400
"""Of them so many come before the beginning."""

MEMORY = 150
"""Prices until the strategy calls itself warm."""


class Nothing(Struct, frozen=True):
    """No parameters."""


class Averages(Struct, frozen=True):
    """Of all prices so far, and on which side the quick one was."""

    quick: Decimal = Decimal(0)
    slow: Decimal = Decimal(0)
    seen: int = 0
    side: int = 0


class Crosser(Strategy[Nothing, Averages]):
    """Turns round at each cross of two averages, and never asks whether it may. ``begun`` is what it has seen before the run."""

    kind = "crosser"
    Params = Nothing
    State = Averages

    def __init__(self, begun: Averages | None = None) -> None:
        super().__init__(Nothing())
        self._begun = begun or Averages()
        self.warm_at: list[tuple[int, bool]] = []

    def initial_state(self) -> Averages:
        return self._begun

    def is_warm(self, state: Averages) -> bool:
        return state.seen >= MEMORY

    def on_tick(self, tick: Tick, state: Averages, context: StrategyContext) -> tuple[Averages, Sequence[Request]]:
        self.warm_at.append((tick.ts_ns, context.warm))
        state, crossed = after(state, tick)
        if not crossed:
            return state, ()
        order = buy if state.side > 0 else sell
        return state, (order("1000", reverse=True),)


def after(state: Averages, tick: Tick) -> tuple[Averages, bool]:
    """What a price does to the averages, and whether they cross."""
    mid = tick.mid
    if not state.seen:
        return Averages(mid, mid, 1, 0), False
    quick = (state.quick * 7 + mid) / 8
    slow = (state.slow * 31 + mid) / 32
    side = 1 if quick > slow else -1
    return Averages(quick, slow, state.seen + 1, side), side != state.side


def ticks() -> list[Tick]:
    return [tick for window in bench.market(TICKS).windows() for tick in window.ticks]


def behind(all_ticks: Sequence[Tick], count: int) -> list[Tick]:
    """The ticks without the first so many, numbered anew."""
    return [structs.replace(tick, position=number) for number, tick in enumerate(all_ticks[count:], start=1)]


def begun_at(setup: Setup, tick: Tick) -> Setup:
    return structs.replace(setup, begins_ns=tick.ts_ns)


def orders_of(played: Played) -> list[Order]:
    return [order for order in played.orders if order.status is not OrderStatus.DENIED]


def test_it_trades_as_one_that_had_seen_those_ticks_before_it_began() -> None:
    market = ticks()
    seen = Averages()
    for tick in market[:COLD]:
        seen, _ = after(seen, tick)
    warmed = play(begun_at(bench.setup({"c": Crosser()}), market[COLD]), market)
    knowing = play(bench.setup({"c": Crosser(seen)}), behind(market, COLD))

    assert len(orders_of(warmed)) > 10, "something happens"
    assert [fill._replace(tick=fill.tick - COLD) for fill in warmed.fills] == knowing.fills
    assert warmed.trades == knowing.trades
    assert warmed.kernel.monitor.report() == knowing.kernel.monitor.report(), "no figure knows of what came before"
    assert curve(warmed) == curve(knowing)


def curve(played: Played) -> list[tuple[int, Decimal | None]]:
    """The snapshots."""
    taken = [entry.record.snapshot for entry in played.entries if isinstance(entry.record, r.SnapshotTaken)]
    assert len(taken) > 3
    return [(each.ts_ns, each.equity) for each in taken]


def test_what_is_asked_for_before_is_denied_and_says_why() -> None:
    market = ticks()
    played = play(begun_at(bench.setup({"c": Crosser()}), market[COLD]), market)
    early = [order for order in played.orders if order.created_ns < market[COLD].ts_ns]
    assert len(early) > 5
    assert {order.status for order in early} == {OrderStatus.DENIED}
    assert all(order.status_reason.startswith("not_ready: ") for order in early), early[0].status_reason
    assert min(fill.tick for fill in played.fills) > COLD


@pytest.mark.parametrize("cold", [MEMORY - 50, MEMORY, COLD], ids=["too few ticks for it", "just enough", "more"])
def test_a_strategy_is_warm_when_it_has_begun_and_has_seen_enough(cold: int) -> None:
    market, strategy = ticks(), Crosser()
    play(begun_at(bench.setup({"c": strategy}), market[cold]), market)
    first_warm = next(ts_ns for ts_ns, warm in strategy.warm_at if warm)
    assert first_warm == market[max(cold, MEMORY)].ts_ns, "it is asked with what it has seen before the tick"


def test_figures_begin_with_the_first_tick_that_counts() -> None:
    market = ticks()
    between = (market[COLD].ts_ns + market[COLD - 1].ts_ns) // 2
    report = play(structs.replace(bench.setup({"c": Crosser()}), begins_ns=between), market).kernel.monitor.report()
    assert report.first_ns == market[COLD].ts_ns
    assert report.ticks == TICKS - COLD
    change = (market[-1].mid / market[COLD].mid - 1) * 100
    assert abs(report.market.change_percent[EUR] - change) < Decimal("1e-4")


def test_data_that_begins_later_is_traded_from_its_first_tick() -> None:
    market = ticks()
    plain = bench.setup({"c": Crosser()})
    played = play(structs.replace(plain, begins_ns=market[0].ts_ns - 1), market)
    assert bench.written(played.entries) == bench.written(play(plain, market).entries)


def test_data_that_ends_before_is_refused_and_not_traded_at_all() -> None:
    market = ticks()
    setup = structs.replace(bench.setup({"c": Crosser()}), begins_ns=market[-1].ts_ns + 1)
    journal = MemoryJournal()
    with pytest.raises(
        DataError, match=r"ends before the start, 2\S+Z: nothing can be tested on its 1,200 ticks of warm-up"
    ):
        run(setup, TicksSource(market), journal)
    assert not [entry for entry in journal.entries if isinstance(entry.record, r.SnapshotTaken)]
    assert not [row for entry in journal.entries for row in entry.rows if isinstance(row, Fill)]


def test_one_tick_behind_the_start_is_enough() -> None:
    market = ticks()
    played = play(begun_at(bench.setup({"c": Crosser()}), market[-1]), market)
    report = played.kernel.monitor.report()
    assert (report.ticks, report.first_ns) == (1, market[-1].ts_ns)


def test_from_python_it_is_the_same() -> None:
    market = ticks()
    result = BacktestExecutor(market, Crosser(), Decimal(10_000), begins_ns=market[COLD].ts_ns).execute()
    played = play(begun_at(account({"crosser": Crosser()}), market[COLD]), market)
    assert result.balance == played.kernel.account.book.money.balance
    assert [fill.price for fill in result.fills] == [fill.price for fill in played.fills]
    assert EUR in {trade.symbol for trade in result.trades}


# --- how much of it there is ----------------------------------------------------------------------------------------------


def warmed_up_with(first: str, *, after: int = 0) -> WarmUpSource:
    """A source of 3,000 minutes from ``first`` on, read to its end: asked for were two days before Wednesday, 2024-01-10."""
    begins_ns = parse_instant("2024-01-10")
    first_ns = parse_instant(first)
    ticks = [
        Tick(EUR, first_ns + n * 60 * NS_PER_S, Decimal("1.1"), Decimal("1.2"), n + 1, None, None) for n in range(3_000)
    ]
    source = WarmUpSource(TicksSource(ticks), begins_ns - 2 * DAY_NS, begins_ns, rests=True)
    windows = list(source.windows(after))
    assert sum(len(window.ticks) for window in windows) == 3_000 - after
    return source


@pytest.mark.parametrize("after", [0, 1, 2_999])
def test_ticks_before_the_start_are_counted_wherever_a_run_goes_on_from(after: int) -> None:
    source = warmed_up_with("2024-01-09T12:00Z", after=after)
    assert (source.ticks, source.first_ns) == (720, parse_instant("2024-01-09T12:00Z"))
    assert warmed_up_with("2024-01-10", after=after).ticks == 0


def test_a_warm_up_is_short_where_more_than_a_tenth_of_it_is_not_there() -> None:
    assert not warmed_up_with("2024-01-08T04:00Z").is_short
    assert warmed_up_with("2024-01-08T05:00Z").is_short


def test_a_weekend_is_nothing_that_a_market_lacks_which_rests_then() -> None:
    begins_ns = parse_instant("2024-01-08")  # a Monday; the market opens on Sunday at 22:00
    tick = Tick(EUR, parse_instant("2024-01-07T22:00:01Z"), Decimal("1.1"), Decimal("1.2"), 1, None, None)
    for rests in (True, False):
        source = WarmUpSource(TicksSource([tick]), begins_ns - 2 * DAY_NS, begins_ns, rests=rests)
        assert (len(list(source.windows())), source.is_short) == (1, not rests)
