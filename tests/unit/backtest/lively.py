"""Lively markets of several instruments, and strategies that want anything at all on them, on all kinds of terms."""

from __future__ import annotations

import random
from decimal import Decimal

from msgspec import Struct

from tests.unit.backtest.scene import account, ns
from tests.unit.domain.gambler import Gambler, GamblerParams, Reckless
from tradekeel.backtest.setup import Setup
from tradekeel.domain.matching import Commission, FinancingRate, PaperSettings, Slippage
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S

MIDS = {"EUR_USD": 110_000, "GBP_USD": 127_000, "EUR_GBP": 86_600, "USD_CAD": 134_000}
"""In hundred-thousandths. Their quote currencies lead to a dollar directly, by the inverse pair, or not at all."""

NIGHTS = {
    symbol: FinancingRate(long=Decimal("-2.1"), short=Decimal("0.7")) for symbol in ("EUR_USD", "EUR_GBP", "USD_CAD")
}


class World(Struct, frozen=True, kw_only=True):
    """On what terms is traded."""

    hedging: bool = False
    exits_at_venue: bool = False
    currency: str = "USD"
    deposit: str = "10000"
    call_level: str = "0.5"
    sizes: bool = False
    latency_ms: int = 0
    maker: str = "10"
    faults: str = "0"
    slips: bool = True
    bars: bool = False  # the strategies hear of bars of five ticks, too

    def setup(self, seed: int) -> Setup:
        settings = PaperSettings(
            slippage=Slippage(model="random", pips=Decimal("0.4")) if self.slips else Slippage(),
            latency_ms=self.latency_ms,
            commission=Commission(
                model="per_million", taker=Decimal(30), maker=Decimal(self.maker), minimum=Decimal("0.05")
            ),
            financing=NIGHTS,
            margin_call_level=Decimal(self.call_level),
            reject_rate=Decimal(self.faults),
            drop_rate=Decimal(self.faults),
            timeout_rate=Decimal(self.faults),
            seed=seed,
        )
        return account(
            {
                "first": Gambler(GamblerParams(seed=seed, one_in=4, open_max=6, bars=self.bars)),
                "second": Reckless(
                    GamblerParams(seed=seed + 1_000, one_in=6, open_max=4, answers=True, bars=self.bars)
                ),
            },
            instruments=tuple(MIDS),
            currency=self.currency,
            deposit=self.deposit,
            hedging=self.hedging,
            exits_at_venue=self.exits_at_venue,
            settings=settings,
        )


def market(seed: int, ticks_count: int, *, sizes: bool) -> list[Tick]:
    """Each instrument once, then any of them, some seconds apart; in the middle a night, later a weekend."""
    draw = random.Random(f"market {seed}")
    mids, ts_ns = dict(MIDS), ns("2024-01-03T21:00:00Z")
    ticks = []
    for position in range(1, ticks_count + 1):
        symbol = list(mids)[position - 1] if position <= len(mids) else draw.choice(list(mids))
        ts_ns += draw.choice((0, 1, 1, 2)) * NS_PER_S
        ts_ns = max(ts_ns, ns("2024-01-04T09:00:00Z")) if position >= ticks_count // 3 else ts_ns
        ts_ns = max(ts_ns, ns("2024-01-08T09:00:00Z")) if position >= ticks_count * 2 // 3 else ts_ns
        mids[symbol] += draw.randint(-14, 14) + (draw.choice((-90, 90)) if draw.random() < 0.02 else 0)
        spread = draw.choice((5, 8, 10))
        room = [Decimal(draw.choice((300, 700, 5_000))) if sizes else None for _ in range(2)]
        bid, ask = (Decimal(mids[symbol] + side).scaleb(-5) for side in (0, spread))
        ticks.append(Tick(symbol, ts_ns, bid, ask, position, *room))
    return ticks
