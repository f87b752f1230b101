"""The charts of a report; see :mod:`tradekeel.backtest.reporting.drawing` on what they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tradekeel.backtest.reporting.curves import held_ns
from tradekeel.backtest.reporting.drawing import (
    AMOUNTS,
    MARKS_MAX,
    Chart,
    Json,
    last_moment,
    line_of,
    moment_of,
    safe,
    thinning,
)
from tradekeel.backtest.reporting.held import newest
from tradekeel.backtest.reporting.layercharts import layer_times, profit_by_layer
from tradekeel.backtest.reporting.model import CurvePoint, RunReport, StopLevel
from tradekeel.backtest.reporting.tables import still_open
from tradekeel.domain.money import ledger
from tradekeel.domain.performance import middle
from tradekeel.domain.performance_report import FallFigures, PerformanceReport
from tradekeel.domain.times import NS_PER_S
from tradekeel.domain.trades import Trade, TradeSide, TradeStatus

DOTS_MAX = 5_000
"""Trades in a distribution or a scatter, the newest."""

MARKS_AT_FIRST = 150
"""Trades that a price chart shows until somebody zooms out, the newest."""

DWARFED = 12
"""Where buy and hold moved so many times further than the equity, the equity would be a straight line beside it."""

PRICE_CHARTS_MAX = 8

UNITS = (("days", 86_400 * NS_PER_S), ("hours", 3_600 * NS_PER_S), ("minutes", 60 * NS_PER_S), ("seconds", NS_PER_S))
UNITS_MIN = 3
"""Of a unit that times are told in: two hours are a hundred and twenty minutes, and three days are days."""

SAMPLED = "The line goes through the ticks that the journal has kept; between two of them prices were elsewhere, too."
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def all_charts(report: RunReport) -> tuple[Chart, ...]:
    """Those that there is anything for, in the order of the page."""
    figures = report.figures
    charts = [
        _equity(report),
        _under_water(report.curve.under_water),
        None if figures is None else _months(figures),
        _rolling(report.curve.rolling_sharpe),
        _distribution(report),
        _durations(report),
        *_prices(report),
        profit_by_layer(report),
        layer_times(report),
    ]
    return tuple(chart for chart in charts if chart is not None)


# --- the account ------------------------------------------------------------------------------------------------------------


def _equity(report: RunReport) -> Chart | None:
    curve = report.curve
    if not curve.equity:
        return None
    data = [line_of(curve.equity, "equity", "main")]
    dwarfs = bool(curve.benchmark) and _height(curve.benchmark) > DWARFED * _height(curve.equity)
    if curve.benchmark:
        visible_ = "legendonly" if dwarfs else True
        data.append(line_of(curve.benchmark, "buy and hold", "faint", line={"dash": "dot"}, visible=visible_))
    axis = {"title": {"text": safe(report.run.currency)}, "tickformat": AMOUNTS}
    layout: Json = {"yaxis": axis, "xaxis": {"type": "date"}}
    fall = None if report.figures is None else report.figures.drawdown.deepest
    if fall is not None:
        layout["shapes"] = _shaded(fall, curve.equity[-1].ts_ns)
    notes = []
    if curve.source == "balances":
        notes.append(
            "There are no snapshots: this is the balance after each of the venue's entries, without open profit; the last point "
            "is the equity."
        )
    if dwarfs:
        notes.append("Buy and hold moved much further: a click on its name shows it.")
    if layout.get("shapes"):
        is_over = fall is not None and fall.recovered_ns is not None
        notes.append(
            f"Shaded: the deepest fall, {'until' if is_over else 'and'} its peak was {'' if is_over else 'not '}reached again."
        )
    notes.append(thinning(curve.equity, curve.benchmark))
    return Chart(
        name="equity",
        title="Equity, drawdown and benchmark",
        data=data,
        layout=layout,
        note=" ".join(filter(None, notes)),
    )


def _height(points: Sequence[CurvePoint]) -> float:
    values = [point.value for point in points]
    return float(max(values) - min(values))


def _shaded(fall: FallFigures, last_ns: int) -> list[Json]:
    if fall.peak_ns is None:
        return []
    until_ns = fall.recovered_ns if fall.recovered_ns is not None else max(last_ns, fall.trough_ns or 0)
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": moment_of(fall.peak_ns),
            "x1": moment_of(until_ns),
            "y0": 0,
            "y1": 1,
            "fillcolor": "bad",
            "opacity": 0.12,
            "line": {"width": 0},
            "layer": "below",
        }
    ]


def _under_water(points: Sequence[CurvePoint]) -> Chart | None:
    if not points:
        return None
    line = line_of(points, "below the peak", "bad", fill="tozeroy", showlegend=False)
    axis: Json = {"title": {"text": "% below the peak"}, "rangemode": "tozero"}
    if not any(point.value for point in points):
        axis["range"] = [-1, 0]  # by itself an axis of zeros goes up to one
    layout = {"yaxis": axis, "xaxis": {"type": "date"}}
    return Chart(name="under-water", title="Under water", data=[line], layout=layout, note=thinning(points))


def _months(figures: PerformanceReport) -> Chart | None:
    by_month = {
        month: float(row.return_percent)
        for month, row in figures.periods.by_month.items()
        if row.return_percent is not None
    }
    if not by_month:
        return None
    years = sorted({month[:4] for month in by_month})
    cells = [[by_month.get(f"{year}-{month:02d}") for month in range(1, 13)] for year in years]
    most = max(abs(value) for value in by_month.values()) or 1.0
    data: list[Json] = [
        {
            "type": "heatmap",
            "x": list(MONTHS),
            "y": years,
            "z": cells,
            "zmin": -most,
            "zmax": most,
            "xgap": 2,
            "ygap": 2,
            "colorscale": [[0, "bad"], [0.5, "paper"], [1, "good"]],
            "text": [["" if value is None else f"{value:.2f}" for value in row] for row in cells],
            "texttemplate": "%{text}",
            "hovertemplate": "%{y} %{x}: %{z:.4f} %<extra></extra>",
            "showscale": False,
        }
    ]
    layout = {
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
        "xaxis": {"type": "category", "tickangle": 0, "dtick": 1, "showgrid": False},
        "height": 130 + 34 * len(years),
    }
    return Chart(name="months", title="Return by month, in percent", data=data, layout=layout)


def _rolling(points: Sequence[CurvePoint]) -> Chart | None:
    if not points:
        return None
    layout = {"yaxis": {"title": {"text": "Sharpe"}, "zeroline": True}, "xaxis": {"type": "date"}}
    note = "Of the last thirty trading days, annualised; of fewer at the beginning, from ten on."
    line = line_of(points, "Sharpe", "main", showlegend=False)
    return Chart(name="rolling-sharpe", title="Rolling Sharpe ratio", data=[line], layout=layout, note=note)


# --- trades -----------------------------------------------------------------------------------------------------------------


def _closed(trades: Iterable[Trade]) -> list[Trade]:
    return [trade for trade in trades if trade.status is TradeStatus.CLOSED][-DOTS_MAX:]


def _profit(trade: Trade) -> float:
    with ledger():
        return float(trade.pnl)


def _split(trades: Sequence[Trade]) -> list[tuple[str, str, list[Trade]]]:
    won = [trade for trade in trades if _profit(trade) > 0]
    rest = [trade for trade in trades if _profit(trade) <= 0]
    return [(name, tone, some) for name, tone, some in (("won", "good", won), ("lost", "bad", rest)) if some]


def _distribution(report: RunReport) -> Chart | None:
    closed, currency = _closed(report.trades), report.run.currency
    if not closed:
        return None
    data: list[Json] = [
        {
            "type": "histogram",
            "name": name,
            "x": [_profit(trade) for trade in some],
            "marker": {"color": tone},
            "bingroup": "pnl",
            "nbinsx": 60,
        }
        for name, tone, some in _split(closed)
    ]
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": f"profit of a trade, {safe(currency)}"}, "tickformat": AMOUNTS},
        "yaxis": {"title": {"text": "trades"}},
        "showlegend": True,
    }
    return Chart(
        name="distribution", title="Distribution of trades", data=data, layout=layout, note=_of_the_closed(report)
    )


def _durations(report: RunReport) -> Chart | None:
    closed = [trade for trade in _closed(report.trades) if held_ns(trade) is not None]
    if not closed:
        return None
    unit, unit_ns = _unit_of(max(held_ns(trade) or 0 for trade in closed))
    data: list[Json] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [(held_ns(trade) or 0) / unit_ns for trade in some],
            "y": [_profit(trade) for trade in some],
            "marker": {"color": tone, "size": 6, "opacity": 0.7},
            "text": [_about(trade) for trade in some],
            "hovertemplate": f"%{{text}}<br>%{{x:.2f}} {unit}, %{{y}}<extra></extra>",
        }
        for name, tone, some in _split(closed)
    ]
    layout = {
        "xaxis": {"title": {"text": f"held, {unit}"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": safe(report.run.currency)}, "tickformat": AMOUNTS, "zeroline": True},
        "showlegend": True,
    }
    return Chart(name="durations", title="Duration of trades", data=data, layout=layout, note=_of_the_closed(report))


def _unit_of(longest_ns: int) -> tuple[str, int]:
    """What times up to this one are told in, and how many nanoseconds that is: a handful of units at least."""
    return next((unit for unit in UNITS if longest_ns >= UNITS_MIN * unit[1]), UNITS[-1])


def _of_the_closed(report: RunReport) -> str:
    closed = sum(trade.status is TradeStatus.CLOSED for trade in report.trades)
    newest_ = f"The newest {DOTS_MAX:,} of {closed:,}." if closed > DOTS_MAX else ""
    return " ".join(filter(None, (newest_, still_open(report.held, report.run.currency))))


def _about(trade: Trade) -> str:
    reason = trade.exit_reason.value if trade.exit_reason else ""
    return safe(f"{trade.strategy or ''} {trade.symbol} {trade.side.value} {reason}".strip())


# --- prices -----------------------------------------------------------------------------------------------------------------


def _prices(report: RunReport) -> list[Chart]:
    by_symbol: dict[str, list[Trade]] = {}
    for trade in report.trades:
        if trade.entry_time_ns is not None:
            by_symbol.setdefault(trade.symbol, []).append(trade)
    symbols = sorted(by_symbol, key=lambda symbol: (-len(by_symbol[symbol]), symbol))
    return [
        _price(number, symbol, by_symbol[symbol], report) for number, symbol in enumerate(symbols[:PRICE_CHARTS_MAX])
    ]


def _price(number: int, symbol: str, trades: Sequence[Trade], report: RunReport) -> Chart:
    prices = report.prices.get(symbol, ())
    shown = newest(trades, MARKS_MAX)
    points = [CurvePoint(point.ts_ns, middle(point.bid, point.ask)) for point in prices]
    data = [line_of(points, "middle", "faint", line={"width": 1.2})] if points else []
    until_ns = last_moment(report)
    data += [mark for mark in (_stops(shown, report.stops, until_ns), _exits(shown), *_entries(shown)) if mark["x"]]
    notes = [SAMPLED if points else "The journal has kept no ticks of it (storage.sample_ticks_every)."]
    notes.append(thinning(points))
    if len(trades) > len(shown):
        notes.append(f"The newest {MARKS_MAX:,} of {len(trades):,} trades, and all open ones.")
    layout: Json = {"xaxis": {"type": "date"}, "yaxis": {"title": {"text": "price"}, "tickformat": ".6~g"}}
    if len(shown) > MARKS_AT_FIRST:
        _zoom(layout, shown[-MARKS_AT_FIRST:], points, until_ns)
        notes.append(f"At first the newest {MARKS_AT_FIRST:,} are shown; a double click shows all that are drawn.")
    return Chart(
        name=f"price-{number}",
        title=f"{symbol}: entries, exits and stops",
        data=data,
        layout=layout,
        note=" ".join(filter(None, notes)),
    )


def _zoom(layout: Json, trades: Sequence[Trade], points: Sequence[CurvePoint], until_ns: int) -> None:
    """Look at these trades and the prices meanwhile, with a little room around them; up to the end where one is open."""
    times = [ns for t in trades for ns in (t.entry_time_ns, t.exit_time_ns) if ns is not None]
    first, last = min(times), max(times)
    if any(trade.holds for trade in trades):
        last = max(last, until_ns)
    levels = [float(p) for t in trades for p in (t.entry_price, t.exit_price) if p is not None]
    levels += [float(point.value) for point in points if first <= point.ts_ns <= last]
    across, up = (last - first) // 50 + 1, (max(levels) - min(levels)) / 10
    layout["xaxis"]["range"] = [moment_of(first - across), moment_of(last + across)]
    layout["yaxis"]["range"] = [min(levels) - up, max(levels) + up]


def _entries(trades: Sequence[Trade]) -> list[Json]:
    signs = (
        (TradeSide.LONG, "long entry", "triangle-up", "good"),
        (TradeSide.SHORT, "short entry", "triangle-down", "bad"),
    )
    return [
        _marks(name, [t for t in trades if t.side is side], symbol, colour, exits=False)
        for side, name, symbol, colour in signs
    ]


def _exits(trades: Sequence[Trade]) -> Json:
    """Rings below the entries: where a strategy turns, one stands around the other."""
    return _marks("exit", [t for t in trades if t.exit_time_ns is not None], "circle-open", "ink", exits=True)


def _marks(name: str, trades: Sequence[Trade], symbol: str, colour: str, *, exits: bool) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [moment_of((t.exit_time_ns if exits else t.entry_time_ns) or 0) for t in trades],
        "y": [float((t.exit_price if exits else t.entry_price) or 0) for t in trades],
        "marker": {"symbol": symbol, "size": 12 if exits else 9, "color": colour},
        "text": [_about(t) for t in trades],
        "hovertemplate": "%{text}<br>%{x}<br>%{y}<extra></extra>",
    }


def _stops(trades: Sequence[Trade], stops: Mapping[str, Sequence[StopLevel]], end_ns: int) -> Json:
    """The stop of each trade as steps from its entry to its exit, or to the end, all of them one broken line."""
    x: list[str | None] = []
    y: list[float | None] = []
    for trade in trades:
        entered = trade.entry_time_ns or 0
        left = trade.exit_time_ns if trade.exit_time_ns is not None else max(end_ns, entered)
        levels = [(entered, trade.initial_stop_loss)] if trade.initial_stop_loss is not None else []
        levels += [
            (level.ts_ns, level.price) for level in stops.get(trade.trade_id, ()) if entered <= level.ts_ns <= left
        ]
        for index, (since, level_price) in enumerate(levels):
            until = levels[index + 1][0] if index + 1 < len(levels) else left
            x += [moment_of(since), moment_of(until)]
            y += [float(level_price), float(level_price)]
        if levels:
            x.append(None)
            y.append(None)
    line = {"color": "warn", "width": 1, "dash": "dash"}
    return {"type": "scatter", "mode": "lines", "name": "stop", "x": x, "y": y, "line": line, "hoverinfo": "skip"}
