"""What strategies ask for is the same however far the data goes, and behind a saved state: shown of those that come with us."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache

import pytest
from msgspec import structs

from tests.unit.backtest import bench
from tests.unit.backtest.scene import EUR, Script, account, buy, tape
from tradekeel.backtest.analysing.asked import Held, Portions, Run, conduct
from tradekeel.backtest.analysing.comparing import behind, changes, up_to
from tradekeel.backtest.analysing.portions import mirrored, portioned, until
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.source import TicksSource
from tradekeel.domain.messages import Stamp
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.errors import DataError
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.donchian import DonchianBreakout, DonchianParameters

TICKS = 900
FRAMES = {EUR: ("5s",)}


@cache
def ticks() -> list[Tick]:
    return [tick for window in bench.market(TICKS).windows() for tick in window.ticks]


@cache
def setup() -> Setup:
    """All strategies that come with us, on one account."""
    channel = DonchianParameters(timeframe="5s", entry_bars=6, exit_bars=3, atr_bars=4, stop_atr=Decimal(1))
    strategies: dict[str, AnyStrategy] = {
        "ema": bench.ema(),
        "floor": bench.floor(),
        "donchian": DonchianBreakout(channel),
    }
    return bench.setup(strategies, exits_at_venue=False)


def windows(after: int = 0) -> Iterator[TickWindow]:
    return TicksSource(ticks(), window_ticks=128, timeframes=FRAMES).windows(after)


@cache
def whole() -> Run:
    return conduct(setup(), windows())


CUTS = [1, 300, 557, TICKS - 1]


def test_all_of_them_decide_and_become_warm() -> None:
    assert {asked.strategy for asked in whole().asked} == {"ema", "floor", "donchian"}
    assert whole().warm_at.keys() == {"ema", "floor", "donchian"}
    assert (whole().ticks, whole().first_ns, whole().last_ns) == (TICKS, ticks()[0].ts_ns, ticks()[-1].ts_ns)


@pytest.mark.parametrize("size", [1, 50])
def test_other_portions_change_nothing(size: int) -> None:
    assert changes(whole().asked, conduct(setup(), portioned(windows(), lambda: size)).asked) == []


@pytest.mark.parametrize("position", CUTS)
def test_another_future_changes_nothing(position: int) -> None:
    cut = conduct(setup(), until(windows(), position))
    assert changes(up_to(position, whole().asked), cut.asked) == []
    opposite = conduct(setup(), mirrored(windows(), position, FRAMES))
    assert changes(up_to(position, whole().asked), up_to(position, opposite.asked)) == []


@pytest.mark.parametrize("position", CUTS)
def test_what_was_saved_goes_on_as_if_nothing_had_been(position: int) -> None:
    cut = conduct(setup(), until(windows(), position), saves=True)
    rest = conduct(setup(), windows(position), saved=cut.saved)
    assert changes(behind(position, whole().asked), rest.asked) == []


def test_the_tick_at_which_a_strategy_is_warm_is_known_where_ticks_come_one_by_one() -> None:
    portions = Portions(fine=True)
    alone = structs.replace(setup(), traded=(setup().traded[0],))
    fine = conduct(alone, portioned(windows(), portions.size), portions=portions)
    assert fine.warm_at == {"ema": 34}
    assert not portions.fine, "from there on they come as usual"


def test_holdings_are_followed() -> None:
    market = tape(*["1.10000 1.10010"] * 8)
    line = [buy("1000", exit_at_ns=market[4].ts_ns)]
    run = conduct(account({"s": Script({2: line})}), TicksSource(market).windows())
    (asked,) = run.asked
    assert (asked.stamp, asked.position, asked.requests) == (Stamp.after(2), 2, tuple(line))
    pending, held, *_, flat = run.held["s"]
    assert pending == Held(Stamp.after(2), ("EUR_USD LONG 1000 for 0",))
    assert (Stamp.position(held.stamp), held.trades) == (3, ("EUR_USD LONG 1000 for 1100.10000",))
    assert flat.trades == ()


def test_marks_are_ticks_with_their_times() -> None:
    assert whole().marks
    assert all(ticks()[position - 1].ts_ns == ts_ns for position, ts_ns in whole().marks)


def test_without_ticks_there_is_nothing_to_analyse() -> None:
    with pytest.raises(DataError, match="no ticks"):
        conduct(setup(), [])
