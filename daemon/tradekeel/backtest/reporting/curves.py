"""What a report computes from the books: how far equity was below its peak, the benchmark, the Sharpe ratio over time, layers."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from tradekeel.backtest.lttb import kept
from tradekeel.backtest.reporting.held import total_of
from tradekeel.backtest.reporting.model import CurvePoint, FundsMove, PricePoint
from tradekeel.domain.money import WORKING, ZERO, Rounding, divide, ledger
from tradekeel.domain.performance import middle
from tradekeel.domain.performance_days import HUNDRED, RATIO_STEP, RETURN_STEP, Shares, sharpe
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.positions import COST_STEP
from tradekeel.domain.times import NS_PER_S
from tradekeel.domain.trades import Trade, TradeStatus

ROLLING_DAYS = 30
"""Trading days that a point of the rolling Sharpe ratio looks back."""

ROLLING_DAYS_MIN = 10
"""Of fewer days the ratio says nothing."""


def under_water(equity: Sequence[CurvePoint], moves: Sequence[FundsMove] = ()) -> tuple[CurvePoint, ...]:
    """``(equity / highest so far - 1) * 100`` at each point, zero or below.

    By shares of the equity, as the steepest fall is (:class:`~tradekeel.domain.performance_days.Shares`): ``moves`` behind the
    first point, ascending, change the highest by the share by which they change the equity of the point before them.
    """
    points: list[CurvePoint] = []
    shares, waiting, seen = Shares(None, None), deque(moves), ZERO
    for point in equity:
        while waiting and waiting[0].ts_ns <= point.ts_ns:
            amount = waiting.popleft().amount
            shares.move(seen, amount)
            seen = WORKING.add(seen, amount)
        seen = point.value
        shares.observe(seen, point.ts_ns)
        points.append(CurvePoint(point.ts_ns, _below(point.value, shares.peak)))
    return tuple(points)


def _below(value: Decimal, peak: Decimal | None) -> Decimal:
    if peak is None or peak <= ZERO:
        return ZERO
    return divide(WORKING.multiply(WORKING.subtract(value, peak), HUNDRED), peak, RATIO_STEP, Rounding.DISPLAY)


def buy_and_hold(
    stake: Decimal, prices: Mapping[str, Sequence[PricePoint]], moves: Sequence[FundsMove] = ()
) -> tuple[CurvePoint, ...]:
    """What ``stake`` would have come to, spread evenly over the instruments at their first quotes and held.

    ``shares * mean(mid / first mid)``, an instrument at its first mid until it is quoted; without costs and conversion. There
    are as many shares as the stake has units of money. ``moves`` behind its beginning, ascending, buy and sell shares at their
    price then, all that there are at most: the same money comes and goes as on the account, and is no gain and no loss.
    """
    quoted = {symbol: points for symbol, points in prices.items() if points}
    first = {symbol: middle(points[0].bid, points[0].ask) for symbol, points in quoted.items()}
    grown = {symbol: Decimal(1) for symbol, mid in first.items() if mid > ZERO}
    moments = sorted(
        (point.ts_ns, symbol, middle(point.bid, point.ask)) for symbol in grown for point in quoted[symbol]
    )
    points: dict[int, Decimal] = {}
    shares, waiting = stake, deque(moves)
    for ts_ns, symbol, mid in moments:
        while waiting and waiting[0].ts_ns < ts_ns:
            move = waiting.popleft()
            shares = _bought(shares, move.amount, grown.values())
            if points:
                points[move.ts_ns] = _worth(shares, grown.values())
        grown[symbol] = divide(mid, first[symbol], RETURN_STEP, Rounding.DISPLAY)
        points[ts_ns] = _worth(shares, grown.values())
    for move in waiting if points else ():
        shares = _bought(shares, move.amount, grown.values())
        points[move.ts_ns] = _worth(shares, grown.values())
    return tuple(CurvePoint(ts_ns, value) for ts_ns, value in points.items())


def _worth(shares: Decimal, grown: Collection[Decimal]) -> Decimal:
    with ledger():
        total = sum(grown, ZERO)
    return divide(WORKING.multiply(shares, total), Decimal(len(grown)), COST_STEP, Rounding.DISPLAY)


def _bought(shares: Decimal, amount: Decimal, grown: Collection[Decimal]) -> Decimal:
    """The shares behind a movement of funds. Where they are worth nothing, none can be had for money."""
    with ledger():
        total = sum(grown, ZERO)
    if total <= ZERO:
        return shares
    more = divide(WORKING.multiply(amount, Decimal(len(grown))), total, RETURN_STEP, Rounding.DISPLAY)
    return max(WORKING.add(shares, more), ZERO)


def rolling_sharpe(figures: PerformanceReport | None, days: int = ROLLING_DAYS) -> tuple[CurvePoint, ...]:
    """The Sharpe ratio of the last ``days`` days at the end of each; :func:`~tradekeel.domain.performance_days.sharpe`.

    Of trading days that are over, as the run's own: the last one may have begun an hour before the end.
    """
    if figures is None:
        return ()
    rows = [(day, row.return_percent) for day, row in figures.periods.by_day.items() if row.return_percent is not None]
    rows = rows[: figures.returns.days]
    points = []
    for index in range(ROLLING_DAYS_MIN - 1, len(rows)):
        gains = [gain for _, gain in rows[max(0, index + 1 - days) : index + 1]]
        with ledger():
            total, squares = sum(gains, ZERO), sum((gain * gain for gain in gains), ZERO)
        value = sharpe(len(gains), total, squares, figures.days_a_year)
        if value is not None:
            points.append(CurvePoint(_end_of(rows[index][0]), value))
    return tuple(points)


def _end_of(day: str) -> int:
    """Midnight behind a day, in nanoseconds: good enough for the axis of a chart."""
    after = date.fromisoformat(day) + timedelta(days=1)
    return int(datetime(after.year, after.month, after.day, tzinfo=UTC).timestamp()) * NS_PER_S


def thinned(points: Sequence[CurvePoint], count: int) -> list[CurvePoint]:
    """The points that a chart shows; see :mod:`tradekeel.backtest.lttb`."""
    return [points[i] for i in kept([p.ts_ns for p in points], [p.value for p in points], count)]


# --- layers ---------------------------------------------------------------------------------------------------------------


class LayerFigures(Struct, frozen=True, kw_only=True):
    """The trades of one layer of a FloorStrategy, or of one of its cycles."""

    strategy: str
    symbol: str
    number: int  # of the layer from 0, of the cycle from 1
    trades: int
    open: int
    winning: int
    pnl: Decimal  # of closed trades
    unrealised: Decimal | None  # of open ones at the last quotes; None where one of them is not known
    units: Decimal  # entered
    held_ns: int | None  # mean, of closed trades
    deepest: int  # layer: of a cycle how many it opened, less one


Unrealised = Mapping[str, Decimal | None]
"""Of each open trade by its id: see :mod:`tradekeel.backtest.reporting.held`."""


def layers(trades: Iterable[Trade], unrealised: Unrealised) -> tuple[LayerFigures, ...]:
    """By layer, of the trades that say which one they were."""
    return _by(trades, "layer", unrealised)


def cycles(trades: Iterable[Trade], unrealised: Unrealised) -> tuple[LayerFigures, ...]:
    """By cycle."""
    return _by(trades, "cycle", unrealised)


def layer_of(trade: Trade) -> int | None:
    """Which layer a trade was; None for one of another strategy's, or that was never filled."""
    layer = trade.metadata.get("layer")
    is_one = isinstance(layer, int) and "cycle" in trade.metadata and trade.entry_time_ns is not None
    return layer if is_one else None


def _by(trades: Iterable[Trade], name: str, unrealised: Unrealised) -> tuple[LayerFigures, ...]:
    groups: dict[tuple[str, str, int], list[Trade]] = {}
    for trade in trades:
        number = trade.metadata.get(name)
        if layer_of(trade) is not None and isinstance(number, int):
            groups.setdefault((trade.strategy or "", trade.symbol, number), []).append(trade)
    return tuple(_layer(key, groups[key], unrealised) for key in sorted(groups))


def _layer(key: tuple[str, str, int], trades: Sequence[Trade], unrealised: Unrealised) -> LayerFigures:
    closed = [trade for trade in trades if trade.status is TradeStatus.CLOSED]
    with ledger():
        pnl = sum((trade.pnl for trade in closed), ZERO)
        units = sum((trade.entered_quantity for trade in trades), ZERO)
        winning = sum(trade.pnl > ZERO for trade in closed)
    held = [held_ns(trade) for trade in closed]
    times = [span for span in held if span is not None]
    return LayerFigures(
        strategy=key[0],
        symbol=key[1],
        number=key[2],
        trades=len(trades),
        open=sum(trade.holds for trade in trades),
        winning=winning,
        pnl=pnl,
        unrealised=total_of(trades, unrealised),
        units=units,
        held_ns=sum(times) // len(times) if times else None,
        deepest=max(layer_of(trade) or 0 for trade in trades),
    )


def held_ns(trade: Trade) -> int | None:
    """From the first fill of the entry to the last of the exit; None without either."""
    if trade.entry_time_ns is None or trade.exit_time_ns is None:
        return None
    return trade.exit_time_ns - trade.entry_time_ns
