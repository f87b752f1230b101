"""The charts of a report, as plotly's own JSON: floats, since nobody reads a cent off a chart.

Colours are names ("ink", "good", …) that the page replaces by those of its theme. Texts that come from outside are escaped,
because plotly reads some HTML in them.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tradekeel.backtest.reporting.curves import held_ns, layer_of, layers, thinned
from tradekeel.backtest.reporting.model import CurvePoint, PricePoint, RunReport, StopLevel
from tradekeel.backtest.reporting.tables import visible
from tradekeel.domain.money import ledger
from tradekeel.domain.performance import middle
from tradekeel.domain.performance_report import FallFigures, PerformanceReport
from tradekeel.domain.times import NS_PER_MS, iso
from tradekeel.domain.trades import Trade, TradeSide, TradeStatus

POINTS_MAX = 2_000
"""Of a curve: more than a screen has columns. Longer ones are thinned."""

MARKS_MAX = 1_000
"""Trades that are drawn into a price chart, the newest: more of them hide the prices."""

DOTS_MAX = 5_000
"""Trades in a distribution or a scatter, the newest."""

MARKS_AT_FIRST = 150
"""Trades that a price chart shows until somebody zooms out, the newest."""

DWARFED = 12
"""Where buy and hold moved so many times further than the equity, the equity would be a straight line beside it."""

PRICE_CHARTS_MAX = 8
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Json = dict[str, Any]


class Chart(Struct, frozen=True, kw_only=True):
    """One chart: a word for it, a heading, plotly's traces and layout, and a sentence below it."""

    name: str
    title: str
    data: list[Json]
    layout: Json
    note: str = ""


def all_charts(report: RunReport) -> tuple[Chart, ...]:
    """Those that there is anything for, in the order of the page."""
    figures, trades = report.figures, report.trades
    charts = [
        _equity(report),
        _under_water(report.curve.under_water),
        None if figures is None else _months(figures),
        _rolling(report.curve.rolling_sharpe),
        _distribution(trades, report.run.currency),
        _durations(trades, report.run.currency),
        *_prices(report),
        _layers(trades, report.run.currency),
        _layer_times(trades),
    ]
    return tuple(chart for chart in charts if chart is not None)


def safe(text: str) -> str:
    """A text from outside for plotly."""
    return html.escape(visible(text), quote=False)


def _time(ns: int) -> str:
    """To the millisecond: plotly's own resolution."""
    return iso(ns // NS_PER_MS * NS_PER_MS)[:23]


def _line(points: Sequence[CurvePoint], name: str, colour: str, **more: Any) -> Json:
    shown = thinned(points, POINTS_MAX)
    line = {"color": colour, "width": 1.6} | more.pop("line", {})
    return {
        "type": "scatter",
        "mode": "lines" if len(shown) > 1 else "markers",
        "name": name,
        "x": [_time(point.ts_ns) for point in shown],
        "y": [float(point.value) for point in shown],
        "line": line,
    } | more


def _thinning(*curves: Sequence[CurvePoint]) -> str:
    longest = max(map(len, curves), default=0)
    return f"Thinned from {longest:,} points to {POINTS_MAX:,}." if longest > POINTS_MAX else ""


# --- the account ------------------------------------------------------------------------------------------------------------


def _equity(report: RunReport) -> Chart | None:
    curve = report.curve
    if not curve.equity:
        return None
    data = [_line(curve.equity, "equity", "main")]
    dwarfs = bool(curve.benchmark) and _height(curve.benchmark) > DWARFED * _height(curve.equity)
    if curve.benchmark:
        visible_ = "legendonly" if dwarfs else True
        data.append(_line(curve.benchmark, "buy and hold", "faint", line={"dash": "dot"}, visible=visible_))
    layout: Json = {"yaxis": {"title": {"text": report.run.currency}}, "xaxis": {"type": "date"}}
    fall = None if report.figures is None else report.figures.drawdown.deepest
    if fall is not None:
        layout["shapes"] = _shaded(fall, curve.equity[-1].ts_ns)
    notes = []
    if curve.source == "balances":
        notes.append(
            "There are no snapshots: this is the balance after each of the venue's entries, without open profit."
        )
    if dwarfs:
        notes.append("Buy and hold moved much further: a click on its name shows it.")
    if layout.get("shapes"):
        notes.append("Shaded: the deepest fall, until its peak was reached again.")
    notes.append(_thinning(curve.equity, curve.benchmark))
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
            "x0": _time(fall.peak_ns),
            "x1": _time(until_ns),
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
    line = _line(points, "below the peak", "bad", fill="tozeroy", showlegend=False)
    layout = {"yaxis": {"title": {"text": "% below the peak"}, "rangemode": "tozero"}, "xaxis": {"type": "date"}}
    return Chart(name="under-water", title="Under water", data=[line], layout=layout, note=_thinning(points))


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
        "xaxis": {"type": "category", "tickangle": 0, "showgrid": False},
        "height": 130 + 34 * len(years),
    }
    return Chart(name="months", title="Return by month, in percent", data=data, layout=layout)


def _rolling(points: Sequence[CurvePoint]) -> Chart | None:
    if not points:
        return None
    layout = {"yaxis": {"title": {"text": "Sharpe"}, "zeroline": True}, "xaxis": {"type": "date"}}
    note = "Of the last thirty trading days, annualised; of fewer at the beginning, from ten on."
    line = _line(points, "Sharpe", "main", showlegend=False)
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


def _distribution(trades: Sequence[Trade], currency: str) -> Chart | None:
    closed = _closed(trades)
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
        "xaxis": {"title": {"text": f"profit of a trade, {safe(currency)}"}},
        "yaxis": {"title": {"text": "trades"}},
    }
    return Chart(name="distribution", title="Distribution of trades", data=data, layout=layout, note=_newest(trades))


def _durations(trades: Sequence[Trade], currency: str) -> Chart | None:
    closed = [trade for trade in _closed(trades) if held_ns(trade) is not None]
    if not closed:
        return None
    data: list[Json] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [(held_ns(trade) or 0) / 60e9 for trade in some],
            "y": [_profit(trade) for trade in some],
            "marker": {"color": tone, "size": 6, "opacity": 0.7},
            "text": [_about(trade) for trade in some],
            "hovertemplate": "%{text}<br>%{x:.2f} min, %{y}<extra></extra>",
        }
        for name, tone, some in _split(closed)
    ]
    layout = {
        "xaxis": {"title": {"text": "held, minutes"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": safe(currency)}, "zeroline": True},
    }
    return Chart(name="durations", title="Duration of trades", data=data, layout=layout, note=_newest(trades))


def _newest(trades: Sequence[Trade]) -> str:
    closed = sum(trade.status is TradeStatus.CLOSED for trade in trades)
    return f"The newest {DOTS_MAX:,} of {closed:,}." if closed > DOTS_MAX else ""


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
        _price(number, symbol, by_symbol[symbol], report.prices.get(symbol, ()), report.stops)
        for number, symbol in enumerate(symbols[:PRICE_CHARTS_MAX])
    ]


def _price(
    number: int,
    symbol: str,
    trades: Sequence[Trade],
    prices: Sequence[PricePoint],
    stops: Mapping[str, Sequence[StopLevel]],
) -> Chart:
    shown = trades[-MARKS_MAX:]
    points = [CurvePoint(point.ts_ns, middle(point.bid, point.ask)) for point in prices]
    data = [_line(points, "middle", "faint", line={"width": 1.2})] if points else []
    data += [mark for mark in (_stops(shown, stops, prices), *_entries(shown), _exits(shown)) if mark["x"]]
    notes = [] if points else ["The journal has kept no ticks of it (storage.sample_ticks_every)."]
    notes.append(_thinning(points))
    if len(trades) > MARKS_MAX:
        notes.append(f"The newest {MARKS_MAX:,} of {len(trades):,} trades.")
    layout: Json = {"xaxis": {"type": "date"}, "yaxis": {"title": {"text": "price"}, "tickformat": ".6~g"}}
    if len(shown) > MARKS_AT_FIRST:
        _zoom(layout, shown[-MARKS_AT_FIRST:])
        notes.append(f"At first the newest {MARKS_AT_FIRST:,} are shown; a double click shows all that are drawn.")
    return Chart(
        name=f"price-{number}",
        title=f"{symbol}: entries, exits and stops",
        data=data,
        layout=layout,
        note=" ".join(filter(None, notes)),
    )


def _zoom(layout: Json, trades: Sequence[Trade]) -> None:
    """Look at these trades, with a little room around them."""
    times = [ns for t in trades for ns in (t.entry_time_ns, t.exit_time_ns) if ns is not None]
    levels = [float(p) for t in trades for p in (t.entry_price, t.exit_price) if p is not None]
    across, up = (max(times) - min(times)) // 50 + 1, (max(levels) - min(levels)) / 10
    layout["xaxis"]["range"] = [_time(min(times) - across), _time(max(times) + across)]
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
    return _marks("exit", [t for t in trades if t.exit_time_ns is not None], "x", "ink", exits=True)


def _marks(name: str, trades: Sequence[Trade], symbol: str, colour: str, *, exits: bool) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [_time((t.exit_time_ns if exits else t.entry_time_ns) or 0) for t in trades],
        "y": [float((t.exit_price if exits else t.entry_price) or 0) for t in trades],
        "marker": {"symbol": symbol, "size": 7 if exits else 10, "color": colour},
        "text": [_about(t) for t in trades],
        "hovertemplate": "%{text}<br>%{x}<br>%{y}<extra></extra>",
    }


def _stops(trades: Sequence[Trade], stops: Mapping[str, Sequence[StopLevel]], prices: Sequence[PricePoint]) -> Json:
    """The stop of each trade as steps from its entry to its exit, all of them one broken line."""
    x: list[str | None] = []
    y: list[float | None] = []
    end_ns = prices[-1].ts_ns if prices else 0
    for trade in trades:
        entered = trade.entry_time_ns or 0
        left = trade.exit_time_ns if trade.exit_time_ns is not None else max(end_ns, entered)
        levels = [(entered, trade.initial_stop_loss)] if trade.initial_stop_loss is not None else []
        levels += [
            (level.ts_ns, level.price) for level in stops.get(trade.trade_id, ()) if entered <= level.ts_ns <= left
        ]
        for index, (since, level_price) in enumerate(levels):
            until = levels[index + 1][0] if index + 1 < len(levels) else left
            x += [_time(since), _time(until)]
            y += [float(level_price), float(level_price)]
        if levels:
            x.append(None)
            y.append(None)
    line = {"color": "warn", "width": 1, "dash": "dash"}
    return {"type": "scatter", "mode": "lines", "name": "stop", "x": x, "y": y, "line": line, "hoverinfo": "skip"}


# --- layers -----------------------------------------------------------------------------------------------------------------


def _layers(trades: Sequence[Trade], currency: str) -> Chart | None:
    figures = layers(trades)
    if not figures:
        return None
    data: list[Json] = []
    for strategy, symbol in dict.fromkeys((layer.strategy, layer.symbol) for layer in figures):
        own = [layer for layer in figures if (layer.strategy, layer.symbol) == (strategy, symbol)]
        data.append(
            {
                "type": "bar",
                "name": safe(f"{strategy} {symbol}"),
                "x": [f"layer {layer.number}" for layer in own],
                "y": [float(layer.pnl) for layer in own],
                "text": [f"{layer.trades:,} trades" for layer in own],
                "textposition": "auto",
                "hovertemplate": "%{x}: %{y}, %{text}<extra></extra>",
            }
        )
    data[0]["marker"] = {"color": "main"}
    layout = {
        "barmode": "group",
        "xaxis": {"type": "category"},
        "yaxis": {"title": {"text": f"profit, {safe(currency)}"}, "zeroline": True},
    }
    return Chart(name="layers", title="Profit by layer", data=data, layout=layout)


def _layer_times(trades: Sequence[Trade]) -> Chart | None:
    """Which layers were open when: a bar from entry to exit, as one broken line a layer."""
    of: dict[int, list[Trade]] = {}
    for trade in [trade for trade in trades if layer_of(trade) is not None][-MARKS_MAX:]:
        of.setdefault(layer_of(trade) or 0, []).append(trade)
    if not of:
        return None
    data: list[Json] = []
    last_ns = max((trade.exit_time_ns or trade.entry_time_ns or 0) for some in of.values() for trade in some)
    for layer, some in sorted(of.items()):
        x: list[str | None] = []
        y: list[int | None] = []
        for trade in some:
            x += [_time(trade.entry_time_ns or 0), _time(trade.exit_time_ns or last_ns), None]
            y += [layer, layer, None]
        line = {"color": "main", "width": 8}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"layer {layer}",
                "x": x,
                "y": y,
                "line": line,
                "showlegend": False,
                "hovertemplate": "%{x}<extra></extra>",
            }
        )
    layout = {
        "xaxis": {"type": "date"},
        "yaxis": {"title": {"text": "layer"}, "dtick": 1, "range": [-0.6, max(of) + 0.6]},
        "height": 180 + 26 * min(len(of), 20),
    }
    return Chart(name="layer-times", title="Layers open at a time", data=data, layout=layout)
