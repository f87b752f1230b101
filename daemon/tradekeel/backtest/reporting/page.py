"""A report as one HTML file that is whole: opened from a disk without any network it shows all there is.

Whatever comes from outside (names, tags, reasons, code) is escaped, and a policy in the page's head forbids it to load anything
at all. plotly is the library of the extra ``report``; its script is in the file.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import msgspec

from tradekeel.backtest.reporting import assets, tables
from tradekeel.backtest.reporting.cells import Cell, moment, visible
from tradekeel.backtest.reporting.charts import all_charts
from tradekeel.backtest.reporting.drawing import Chart
from tradekeel.backtest.reporting.model import RunReport, SourceFile
from tradekeel.backtest.reporting.tables import Table
from tradekeel.domain.counting import counted
from tradekeel.domain.refused import SHOWN_MAX, reasons
from tradekeel.errors import InputError

ROWS_MAX = 2_000
"""Trades in the table of a page: the newest, and open ones."""

CYCLES_MAX = 500

TALL_ROWS = 20
"""A table of more rows scrolls."""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
)
"""Nothing is loaded, nothing is sent. The images are those that plotly saves a chart as."""

EXTRA = "the HTML report is drawn by plotly, which is not installed: pip install 'tradekeel[report]'"

BEGINNING = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="Tradekeel">\n'
)
"""How each page begins: a file that begins otherwise is none, and is not replaced by one."""

WIDE = frozenset({"parameters", "tags"})


def plotly_script() -> str:
    """plotly's own script. InputError where the extra is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise InputError(EXTRA) from None
    script: str = get_plotlyjs()
    return script


def make_page(report: RunReport, script: str) -> str:
    """The whole file; ``script`` is plotly's."""
    charts = all_charts(report)
    title = report.name
    by_trade = {} if report.held is None else report.held.by_trade
    sections = [
        ("charts", "Charts", _charts(charts)),
        ("figures", "Figures", _figures(report)),
        ("groups", "Groups", _groups(report)),
        ("layers", "Layers", "".join(map(_table, tables.layer_tables(report.trades, by_trade, CYCLES_MAX)))),
        ("trades", "Trades", _table(tables.trade_table(report.trades, by_trade, ROWS_MAX))),
        ("run", "The run", _run(report)),
        ("code", "Code", "".join(map(_source, report.sources))),
    ]
    shown = [(name, heading, body) for name, heading, body in sections if body]
    nav = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in shown)
    body = "".join(f'<section id="{name}"><h2>{heading}</h2>{content}</section>' for name, heading, content in shown)
    return (
        f"{BEGINNING}"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{_text(title)}</title>\n<style>{assets.STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{_head(report, title)}<nav>{nav}</nav>\n{body}\n</main>\n"
        f'<script type="application/json" id="chart-data">{_charts_json(charts)}</script>\n'
        f"<script>{_inline(script)}</script>\n<script>{assets.SCRIPT}</script>\n</body>\n</html>\n"
    )


def _head(report: RunReport, title: str) -> str:
    run = report.run
    about = f"{run.mode.value} on {run.venue}, account {run.account} in {run.currency}"
    if report.task is not None:
        about += f"; {report.task.name}"
    first_ns, until_ns = run.started_ns if report.figures is None else report.figures.first_ns, report.as_of.ts_ns
    has_span = first_ns is not None and until_ns is not None
    span = f"{moment(first_ns).text} to {moment(until_ns).text} UTC" if has_span else ""
    warnings = "".join(f'<p class="warning">{_text(note)}</p>' for note in report.notes)
    return (
        f'<h1>{_text(title)}</h1><p class="soft">{_text(about)}<br>{span}</p>{warnings}{_key(report)}{_refused(report)}'
    )


def _key(report: RunReport) -> str:
    if report.figures is None:
        return ""
    rows = tables.key_figures(report.figures, report.held, report.run.currency).rows
    boxes = "".join(
        f"<div><dt>{_text(what.text)}</dt><dd{_tone(cell)}>{_text(cell.text)}</dd></div>" for what, cell in rows
    )
    return f'<dl class="key">{boxes}</dl>'


def _refused(report: RunReport) -> str:
    """Orders that came to nothing, near the top: they may be why a strategy did not do what was meant."""
    said = [
        f"{counted(sum(counts.values()), 'order')} {by} ({reasons(counts, SHOWN_MAX)})"
        for counts, by in ((report.denied, "denied by the gate"), (report.rejections, "rejected by the venue"))
        if counts
    ]
    return f'<p class="soft">{_text("; ".join(said))}.</p>' if said else ""


def _figures(report: RunReport) -> str:
    return _side_by_side(tables.all_figures(report))


def _side_by_side(some: Iterable[Table]) -> str:
    inner = "".join(f"<div>{_table(table)}</div>" for table in some)
    return f'<div class="side-by-side">{inner}</div>' if inner else ""


def _charts(charts: Sequence[Chart]) -> str:
    return "".join(
        f'<h3>{_text(chart.title)}</h3><div class="chart" id="chart-{_text(chart.name)}"></div>{_note(chart.note)}'
        for chart in charts
    )


def _charts_json(charts: Sequence[Chart]) -> str:
    """In a script element nothing ends it but ``</``: no < is left in it, and no & that somebody might read as something."""
    plain = [{"name": chart.name, "data": chart.data, "layout": chart.layout} for chart in charts]
    text = msgspec.json.encode(plain).decode()
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _inline(script: str) -> str:
    """A script of a library as part of a page."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _groups(report: RunReport) -> str:
    if report.figures is None:
        return ""
    made = [tables.group_table(report.figures, kind, report.run.currency, None) for kind in tables.GROUPS]
    shown = "".join(_table(table) for table in made if table.rows)
    return _note(tables.still_open(report.held, report.run.currency)) + shown if shown else ""


def _run(report: RunReport) -> str:
    settings = report.configuration
    parts = [_table(tables.about_table(report)), _table(tables.strategy_table(report))]
    if settings.values:
        rows = tuple((Cell(path), Cell(value)) for path, value in settings.values.items())
        table = Table(name="configuration", title="", columns=("setting", "value"), rows=rows)
        parts.append(
            f"<details><summary>Configuration</summary><p class=note>{_text(settings.source)}. {_text(settings.note)}</p>"
            f"{_table(table, wide=frozenset({'value'}))}</details>"
        )
    elif settings.note:
        parts.append(f'<p class="note">{_text(settings.note)}</p>')
    return "".join(parts)


def _source(source: SourceFile) -> str:
    who = ", ".join(source.strategies)
    said = f"SHA-256 {source.sha256}. {source.note}" if source.sha256 else source.note
    code = f"<pre>{_text(source.text)}</pre>" if source.text else ""
    return (
        f"<details><summary>{_text(source.kind)} ({_text(who)})</summary>"
        f'<p class="note">{_text(source.path)}<br>{_text(said)}</p>{code}</details>'
    )


def _table(table: Table, wide: frozenset[str] = WIDE) -> str:
    if not table.rows:
        return ""
    names = [column.removesuffix(">") for column in table.columns]
    kinds = ["n" if column.endswith(">") else "wide" if column in wide else "" for column in table.columns]
    is_pairs = names == ["figure", "value"]
    head = "".join(
        f"<th{_class(kind)}><button type=button>{_text(name)}</button></th>"
        for name, kind in zip(names, kinds, strict=True)
    )
    thead = "" if is_pairs else f"<thead><tr>{head}</tr></thead>"
    rows = "".join(
        "<tr>" + "".join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    heading = f"<h3>{_text(table.title)}</h3>" if table.title else ""
    tall = " tall" if len(table.rows) > TALL_ROWS and not is_pairs else ""
    pairs = ' class="pairs"' if is_pairs else ""
    return (
        f'{heading}<div class="scroll{tall}"><table id="table-{_text(table.name)}"{pairs}>{thead}'
        f"<tbody>{rows}</tbody></table></div>{_note(table.note)}"
    )


def _cell(cell: Cell, kind: str) -> str:
    order = f' data-order="{_text(cell.order)}"' if cell.order else ""
    return f"<td{_class(f'{kind} {cell.tone}'.strip())}{order}>{_text(cell.text)}</td>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _tone(cell: Cell) -> str:
    return _class(cell.tone)


def _note(note: str) -> str:
    return f'<p class="note">{_text(note)}</p>' if note else ""


def _text(text: str) -> str:
    """A text from anywhere as part of the page: no character of it is markup, and none is one that a page may not have."""
    return html.escape(visible(text))
