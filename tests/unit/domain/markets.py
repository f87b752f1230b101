"""Random markets for the world: a walk that a seed draws, in one instrument or two, with sizes or without."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

from tests.unit.domain.world import EUR, NS, START_NS
from tradekeel.domain.ticks import Bar, Tick

D = Decimal
STEP = D("0.00001")
MIDS = {"EUR_USD": 110_000, "GBP_USD": 160_000, "AUD_USD": 70_000}


def walk(
    seed: int, ticks: int = 120, *, symbols: Sequence[str] = (EUR,), sizes: bool = False, jump: int = 0, step_s: int = 1
) -> list[Tick]:
    """So many ticks, a pip or so apart; with ``jump`` one of them leaps by so many steps."""
    chance = random.Random(seed)
    mids = dict(MIDS)
    leap_at = chance.randrange(ticks // 3, ticks) if jump else -1
    found: list[Tick] = []
    for index in range(ticks):
        symbol = chance.choice(symbols)
        mids[symbol] += chance.randint(-12, 12) + (jump if index == leap_at else 0)
        bid = D(mids[symbol]) * STEP
        ask = bid + D(chance.choice([5, 10, 10, 20])) * STEP
        room = [D(chance.choice([400, 1000, 5000])) for _ in range(2)] if sizes else [None, None]
        found.append(Tick(symbol, START_NS + index * step_s * NS, bid, ask, index + 1, *room))
    return found


def tick_bars(ticks: Sequence[Tick], every: int = 5) -> dict[int, tuple[Bar, ...]]:
    """A bar of each ``every`` ticks, complete before the tick behind them."""
    bars: dict[int, tuple[Bar, ...]] = {}
    for end in range(every, len(ticks), every):
        part = ticks[end - every : end]
        mids = [tick.mid for tick in part]
        bars[end] = (
            Bar(
                part[0].instrument,
                f"{every}t",
                part[0].ts_ns,
                part[-1].ts_ns + 1,
                mids[0],
                max(mids),
                min(mids),
                mids[-1],
                every,
                ticks[end].position,
            ),
        )
    return bars
