"""The built-in strategies on recorded EUR/USD ticks: what must hold whatever the market does.

The market of the driver calls every handler twice and takes the state through msgpack at every decision; these tests add
what each strategy promises about its layers and trades. 2014-05-08 is the day on which the euro turned at 1.399.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.strategies.driver import ENCODER, D, Market, enters, events
from tradekeel.domain.bars import parse_timeframe
from tradekeel.domain.messages import Emit
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.donchian import DonchianBreakout
from tradekeel.strategies.ema_cross import EmaCross
from tradekeel.strategies.floor import FloorStrategy

TICKS_MAX = 15_000  # from 12:00 UTC on: the press conference and what followed
DAY = "20140508"


def recorded(data_dir: Path) -> list[Tick]:
    path = data_dir / "oanda" / "tick" / "eurusd" / f"{DAY}_quote.zip"
    midnight_ns = int(datetime(2014, 5, 8, tzinfo=UTC).timestamp()) * 1_000_000_000
    with zipfile.ZipFile(path) as archive:
        rows = archive.read(archive.namelist()[0]).decode("ascii").split()
    ticks: list[Tick] = []
    for row in rows:
        ms, bid, ask = row.split(",")
        if int(ms) >= 12 * 3_600_000:
            ticks.append(
                Tick(
                    "EUR_USD",
                    midnight_ns + int(ms) * 1_000_000,
                    Decimal(bid),
                    Decimal(ask),
                    len(ticks) + 1,
                )
            )
        if len(ticks) == TICKS_MAX:
            break
    return ticks


def with_bars(ticks: list[Tick], timeframe: str) -> Iterator[tuple[Tick, Bar | None]]:
    """Each tick with the bar that it completed: the dumbest way to build bars."""
    span_ns = parse_timeframe(timeframe).span_ns
    inside: list[Tick] = []
    for tick in ticks:
        if inside and tick.ts_ns // span_ns != inside[0].ts_ns // span_ns:
            mids = [t.mid for t in inside]
            start_ns = inside[0].ts_ns // span_ns * span_ns
            yield (
                tick,
                Bar(
                    "EUR_USD",
                    timeframe,
                    start_ns,
                    start_ns + span_ns,
                    mids[0],
                    max(mids),
                    min(mids),
                    mids[-1],
                    len(mids),
                ),
            )
            inside = []
        else:
            yield tick, None
        inside.append(tick)


@pytest.fixture(scope="module")
def ticks(data_dir: Path) -> list[Tick]:
    return recorded(data_dir)


FLOOR: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep and locked often": {
        "max_layers": 7,
        "retracement_pips": D(3),
        "take_profit_pips": D(5),
        "volatility_threshold": D("0.1"),
        "volatility_window_s": 300,
    },
    "short with a floor": {"direction": "short", "floor_stop_pips": D(6), "retracement_pips": D(4)},
    "auto, growing": {
        "direction": "auto",
        "progression": "multiplicative",
        "progression_factor": D(2),
        "retracement_pips": D(4),
        "take_profit_pips": D(4),
        "volatility_window_s": 600,
        "units_max": D(6000),
        "stop_loss_pips": D(25),
    },
}


@pytest.mark.parametrize("params", FLOOR.values(), ids=FLOOR.keys())
def test_floor_keeps_its_promises(ticks: list[Tick], params: dict[str, Any]):
    strategy = FloorStrategy(FloorStrategy.Params(**params))
    m = Market(strategy)
    for tick in ticks:
        locked = m.state.locked
        requests = m.feed(tick)
        entries = enters(requests)
        if requests:
            told_now = events(requests)
            locked = "layer_locked" in told_now or (locked and "layer_unlocked" not in told_now)
            assert len(entries) <= 1
            assert not (entries and locked), "a layer opened while locked"
            slots = [trade.metadata["layer"] for trade in m.open]
            assert len(slots) == len(set(slots)) <= strategy.params.max_layers
            assert {trade.metadata["cycle"] for trade in m.open} <= {m.state.cycle}
            limit = strategy.params.units_max
            assert not limit or sum(trade.open_quantity for trade in m.open) <= limit
        assert not m.state.desk.in_flight
    told = Counter(events(m.log))
    assert told["layer_opened"] == len(m.trades)
    assert told["layer_closed"] == len(m.trades) - len(m.open)
    assert told["cycle_started"] - told["cycle_closed"] == (1 if m.open else 0)
    assert told["layer_opened"] > 3, "the market never tried this strategy"


def test_floor_locks_and_unlocks_in_turn(ticks: list[Tick]):
    m = Market(FloorStrategy(FloorStrategy.Params(**FLOOR["deep and locked often"])))
    for tick in ticks:
        m.feed(tick)
    turns = [r.type for r in m.log if isinstance(r, Emit) and r.type in ("layer_locked", "layer_unlocked")]
    assert len(turns) > 2
    assert turns == ["layer_locked", "layer_unlocked"] * (len(turns) // 2) + ["layer_locked"] * (len(turns) % 2)


def test_ema_cross_is_always_in_the_market_on_the_side_of_its_last_signal(ticks: list[Tick]):
    m = Market(EmaCross(EmaCross.Params(fast=10, slow=100)))
    for tick in ticks[:4_000]:
        if m.feed(tick):
            (trade,) = m.open
            assert trade.side.sign == m.state.above
    assert events(m.log).count("ema_cross") == len(m.trades) > 50


def test_donchian_trades_breakouts_of_bars(ticks: list[Tick]):
    m = Market(DonchianBreakout(DonchianBreakout.Params(timeframe="1m", entry_bars=5, exit_bars=3)))
    for tick, bar in with_bars(ticks, "1m"):
        if bar is not None:
            m.bar(bar)
        if m.feed(tick):
            assert bar is not None, "decided between two bars"
            assert len(m.open) <= 1
    assert events(m.log).count("breakout") == len(m.trades) > 3


@pytest.mark.parametrize(
    "strategy",
    [
        FloorStrategy(FloorStrategy.Params(retracement_pips=D(3), take_profit_pips=D(4))),
        EmaCross(EmaCross.Params()),
    ],
    ids=["floor", "ema_cross"],
)
def test_a_run_from_a_saved_state_equals_one_that_was_not_interrupted(ticks: list[Tick], strategy: AnyStrategy):
    straight, parts = Market(strategy), Market(strategy)
    for number, tick in enumerate(ticks[:4_000]):
        straight.feed(tick)
        if number % 1_000 == 999:
            saved = parts.decoder.decode(_encoded(parts.state))
            again = Market(strategy, resumed_state=saved)
            for name in ("trades", "orders", "last", "log"):
                setattr(again, name, getattr(parts, name))
            parts = again
        parts.feed(tick)
    assert parts.log == straight.log
    assert parts.state == straight.state
    assert straight.log


def _encoded(state: Any) -> bytes:
    return ENCODER.encode(state)
