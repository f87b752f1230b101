"""The charts of strategies in layers: what each layer brought, closed and still open, and which layers were open when."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tradekeel.backtest.reporting.curves import LayerFigures, layer_of, layers
from tradekeel.backtest.reporting.drawing import AMOUNTS, MARKS_MAX, Chart, Json, last_moment, moment_of, safe
from tradekeel.backtest.reporting.held import newest
from tradekeel.backtest.reporting.model import RunReport
from tradekeel.domain.counting import counted
from tradekeel.domain.trades import Trade


def profit_by_layer(report: RunReport) -> Chart | None:
    """Beside what closed trades of a layer brought stands what its open ones would at the last tick."""
    figures = layers(report.trades, {} if report.held is None else report.held.by_trade)
    if not figures:
        return None
    data: list[Json] = []
    for strategy, symbol in dict.fromkeys((layer.strategy, layer.symbol) for layer in figures):
        own = [layer for layer in figures if (layer.strategy, layer.symbol) == (strategy, symbol)]
        name = safe(f"{strategy} {symbol}")
        closed = [(layer, layer.pnl, layer.trades - layer.open) for layer in own if layer.trades > layer.open]
        still = [(layer, layer.unrealised, layer.open) for layer in own if layer.open and layer.unrealised is not None]
        data += [_bars(f"{name}, closed", closed)] if closed else []
        data += [_bars(f"{name}, open", still) | {"marker": {"color": "warn"}}] if still else []
    if not data:
        return None
    if len(data) <= 2:  # of one strategy: it needs no colour to be told from others
        data[0].setdefault("marker", {"color": "main"})
    layout = {
        "barmode": "group",
        "xaxis": {"type": "category", "categoryorder": "array", "categoryarray": _layer_names(figures)},
        "yaxis": {"title": {"text": f"profit, {safe(report.run.currency)}"}, "tickformat": AMOUNTS, "zeroline": True},
        "showlegend": True,
    }
    is_any_open = any(layer.open for layer in figures)
    note = "Open: what the layer's open trades would bring at the last tick, unrealised." if is_any_open else ""
    return Chart(name="layers", title="Profit by layer", data=data, layout=layout, note=note)


def _layer_names(figures: Sequence[LayerFigures]) -> list[str]:
    return [f"layer {number}" for number in sorted({layer.number for layer in figures})]


def _bars(name: str, some: Sequence[tuple[LayerFigures, Decimal, int]]) -> Json:
    return {
        "type": "bar",
        "name": name,
        "x": [f"layer {layer.number}" for layer, _, _ in some],
        "y": [float(profit) for _, profit, _ in some],
        "text": [counted(trades, "trade") for _, _, trades in some],
        "textposition": "auto",
        "cliponaxis": False,  # what stands above the highest bar is outside of the axes
        "hovertemplate": "%{x}: %{y}, %{text}<extra></extra>",
    }


def layer_times(report: RunReport) -> Chart | None:
    """Which layers were open when: a bar from entry to exit, or to the last tick, as one broken line a layer."""
    of: dict[int, list[Trade]] = {}
    layered = [trade for trade in report.trades if layer_of(trade) is not None]
    shown = newest(layered, MARKS_MAX)
    for trade in shown:
        of.setdefault(layer_of(trade) or 0, []).append(trade)
    if not of:
        return None
    data: list[Json] = []
    last_ns = last_moment(report)
    for layer, some in sorted(of.items()):
        x: list[str | None] = []
        y: list[int | None] = []
        for trade in some:
            ended_ns = last_ns if trade.holds else trade.exit_time_ns
            x += [moment_of(trade.entry_time_ns or 0), moment_of(ended_ns or last_ns), None]
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
    more = len(layered) > len(shown)
    note = f"The newest {MARKS_MAX:,} of {len(layered):,} trades, and all open ones." if more else ""
    return Chart(name="layer-times", title="Layers open at a time", data=data, layout=layout, note=note)
