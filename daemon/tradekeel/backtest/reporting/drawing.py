"""What charts are made of: plotly's own JSON, as floats, since nobody reads a cent off a chart.

Colours are names ("ink", "good", …) that the page replaces by those of its theme. Texts that come from outside are escaped,
because plotly reads some HTML in them.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tradekeel.backtest.reporting.cells import visible
from tradekeel.backtest.reporting.curves import thinned
from tradekeel.backtest.reporting.model import CurvePoint, RunReport
from tradekeel.domain.times import NS_PER_MS, iso

POINTS_MAX = 2_000
"""Of a curve: more than a screen has columns. Longer ones are thinned."""

MARKS_MAX = 1_000
"""Trades that are drawn into a price chart, the newest: more of them hide the prices."""

AMOUNTS = ",.10~g"
"""How an axis tells money: in full, as the tables do, and not in thousands."""

Json = dict[str, Any]


class Chart(Struct, frozen=True, kw_only=True):
    """One chart: a word for it, a heading, plotly's traces and layout, and a sentence below it."""

    name: str
    title: str
    data: list[Json]
    layout: Json
    note: str = ""


def safe(text: str) -> str:
    """A text from outside for plotly."""
    return html.escape(visible(text), quote=False)


def moment_of(ns: int) -> str:
    """To the millisecond: plotly's own resolution."""
    return iso(ns // NS_PER_MS * NS_PER_MS)[:23]


def line_of(points: Sequence[CurvePoint], name: str, colour: str, **more: Any) -> Json:
    """A curve, thinned where it is long; ``more`` is plotly's own."""
    shown = thinned(points, POINTS_MAX)
    line = {"color": colour, "width": 1.6} | more.pop("line", {})
    return {
        "type": "scatter",
        "mode": "lines" if len(shown) > 1 else "markers",
        "name": name,
        "x": [moment_of(point.ts_ns) for point in shown],
        "y": [float(point.value) for point in shown],
        "line": line,
    } | more


def thinning(*curves: Sequence[CurvePoint]) -> str:
    """What to say below curves of which one is thinned; an empty text where none is."""
    longest = max(map(len, curves), default=0)
    return f"Thinned from {longest:,} points to {POINTS_MAX:,}." if longest > POINTS_MAX else ""


def last_moment(report: RunReport) -> int:
    """The last tick that anything is known of: up to there a trade is drawn that is open."""
    times = [ns for t in report.trades for ns in (t.entry_time_ns, t.exit_time_ns) if ns is not None]
    figures_ns = None if report.figures is None else report.figures.last_ns
    return max([*times, *(points[-1].ts_ns for points in report.prices.values() if points), figures_ns or 0])
