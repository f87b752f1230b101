"""A small backtest for tests: a lively market that is made up, an account, and who trades it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import structs

from tests.unit.backtest.scene import EUR, account
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.snapshots import Snapshots, every
from tradekeel.backtest.source import FeedSource
from tradekeel.bootstrap.backtesting import NO_CLOCK
from tradekeel.domain.entries import Entry
from tradekeel.domain.matching import PaperSettings
from tradekeel.domain.records import encode_record
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.times import NS_PER_S
from tradekeel.feeds import FEEDS, FeedContext, SyntheticFeedSettings
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters
from tradekeel.strategies.floor import FloorParameters, FloorStrategy


def market(
    ticks: int, *, seed: int = 11, timeframes: Sequence[str] = (), window_ticks: int = 64, **more: Any
) -> FeedSource:
    """A made-up market, in which something happens every few seconds."""
    settings = SyntheticFeedSettings(
        instruments=(EUR,),
        seed=seed,
        start="2024-01-03T13:00:00Z",
        ticks=ticks,
        interval_ms=500,
        volatility=Decimal("0.4"),
        spread_pips=Decimal("0.6"),
        **more,
    )
    context = FeedContext(name="market", sleeper=NO_CLOCK, timeframes={EUR: tuple(timeframes)})
    return FeedSource(FEEDS["synthetic"].build(settings, context), window_ticks=window_ticks)


def ema(**parameters: Any) -> EmaCross:
    """A strategy that trades every minute or so, with exits of all kinds."""
    exits = {"stop_loss_pips": Decimal(3), "take_profit_pips": Decimal(5), "trailing_pips": Decimal(2)}
    chosen: dict[str, Any] = {"fast": 8, "slow": 34, **exits, **parameters}
    return EmaCross(EmaCrossParameters(**chosen))


def floor() -> FloorStrategy:
    """A strategy of several layers."""
    return FloorStrategy(
        FloorParameters(retracement_pips=Decimal(2), take_profit_pips=Decimal(3), floor_stop_pips=Decimal(12))
    )


EACH_MINUTE = Snapshots(every(60 * NS_PER_S))


def setup(
    strategies: Mapping[str, AnyStrategy],
    *,
    exits_at_venue: bool = True,
    hedging: bool = False,
    settings: PaperSettings | None = None,
    limits: RiskLimits | None = None,
    sample_ticks_every: int = 0,
    snapshots: Snapshots | None = EACH_MINUTE,
) -> Setup:
    """An account in dollars that these strategies trade."""
    made = account(strategies, exits_at_venue=exits_at_venue, hedging=hedging, settings=settings, limits=limits)
    return structs.replace(
        made,
        execution="bt",
        sample_ticks_every=sample_ticks_every,
        snapshots=snapshots,
    )


def written(entries: Sequence[Entry]) -> list[bytes]:
    """The journal as it would stand on a disk."""
    return [encode_record(entry.record) for entry in entries]
