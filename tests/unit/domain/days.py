"""Random days: a world with gamblers, what it comes to, and the journal that it writes."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any

from tests.unit.domain.gambler import Gambler, GamblerParams
from tests.unit.domain.markets import walk
from tests.unit.domain.world import Unlucky, World
from tradekeel.domain import records as r
from tradekeel.domain.matching import Commission, FinancingRate, PaperSettings, Slippage

D = Decimal
costs = PaperSettings(
    slippage=Slippage(model="random", pips=D("0.4")),
    latency_ms=500,
    latency_jitter_ms=2500,
    commission=Commission(model="per_million", taker=D(35), minimum=D("0.02")),
    reject_rate=D("0.05"),
    financing={"EUR_USD": FinancingRate(long=D("-3.1"), short=D("1.7"))},
)


def world(seed: int, unlucky: Unlucky | None = None, **more: Any) -> World:
    """Two gamblers who share an instrument, or one whose exits the venue keeps; sizes on every third day."""
    at_venue = more.pop("exits_at_venue", bool(seed & 1))
    names = ["a"] if at_venue and not more.get("hedging") else ["a", "b"]
    gamblers = {name: Gambler(GamblerParams(seed=seed * 3 + n, answers=bool(seed & 2))) for n, name in enumerate(names)}
    ticks = more.pop("ticks", None) or walk(seed, sizes=seed % 3 == 0)
    return World(ticks, gamblers, exits_at_venue=at_venue, unlucky=unlucky, **more)


def story(done: World) -> dict[str, Any]:
    """What a run comes to, without ids and without what restarts write into the journal."""
    book = done.book
    left_out = {
        "entry_order_id",
        "exit_order_ids",
        "venue_order_id",
        "venue_trade_ids",
        "version",
        "updated_ns",
        "position_ref",
    }
    trades = [
        {name: getattr(trade, name) for name in trade.__struct_fields__ if name not in left_out}
        for trade in (*book.trades.values(), *book.closed.values())
    ]
    fills = [e.fill for e in done.record if e.fill is not None]
    return {
        "fills": [(f.side, f.quantity, f.price, f.fee, f.realised, f.ts_ns) for f in fills],
        "trades": sorted(trades, key=lambda trade: trade["trade_id"]),
        "decisions": {key: (d.position, len(d.requests), d.warm) for key, d in done.decisions.items()},
        "told": {name: core.state for name, core in done.strategists.items()},
        "money": book.money,
        "figures": done.monitor.tracker.state,
    }


@cache
def journal(seed: int) -> tuple[tuple[int, r.Record], ...]:
    """What a random day wrote, as it is read back."""
    return tuple(world(seed, settings=costs if seed % 2 else None).run().decoded())
