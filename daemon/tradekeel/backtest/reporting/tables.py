"""Figures as tables of text, the same for terminal and page: exact amounts, rounded ratios, "–" for what is undefined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct, structs

from tradekeel.backtest.reporting.curves import LayerFigures, cycles, held_ns, layers
from tradekeel.backtest.reporting.model import RunReport
from tradekeel.domain.instruments import shown_amount, shown_price
from tradekeel.domain.money import ZERO, Rounding, ledger, plain, round_to
from tradekeel.domain.performance_days import HUNDRED
from tradekeel.domain.performance_report import (
    FallFigures,
    GroupFigures,
    PerformanceReport,
    PeriodFigures,
)
from tradekeel.domain.refused import reasons
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.domain.trades import Trade

UNDEFINED = "–"
SECOND_ENDS = len("2026-01-31T00:00:00")


class Cell(Struct, frozen=True):
    """A value as it is shown, and as it is sorted by where that is another one."""

    text: str
    order: str = ""  # a number
    tone: str = ""  # good, bad


class Table(Struct, frozen=True, kw_only=True):
    """One table. Columns whose names end on ">" are numbers, and stand on the right."""

    name: str  # a word, unique in the report
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


GROUPS = (
    *("strategy", "instrument", "side", "session", "tag", "exit_reason"),
    *("day", "week", "month", "year", "weekday"),
)
"""The kinds of groups that can be asked for."""

PERIODS = frozenset(GROUPS[6:])


# --- cells ------------------------------------------------------------------------------------------------------------------


def money(value: Decimal | None, currency: str = "") -> Cell:
    """An exact amount of profit or loss, in colour."""
    return Cell(UNDEFINED) if value is None else structs.replace(sum_of(value, currency), tone=_tone(value))


def sum_of(value: Decimal | None, currency: str = "") -> Cell:
    """An exact amount of anything else."""
    return Cell(UNDEFINED) if value is None else Cell(f"{_whole(plain(value))} {currency}".rstrip(), plain(value))


def average(value: Decimal | None, currency: str) -> Cell:
    """An amount that is a quotient: to the smallest step that is booked in its currency."""
    return Cell(UNDEFINED) if value is None else _with_currency(mean(value, currency), currency)


def mean(value: Decimal | None, currency: str) -> Cell:
    """The same without the name of the currency."""
    return Cell(UNDEFINED) if value is None else Cell(shown_amount(value, currency), plain(value), _tone(value))


def _with_currency(cell: Cell, currency: str) -> Cell:
    return structs.replace(cell, text=f"{cell.text} {currency}")


def percent(value: Decimal | None, *, toned: bool = False) -> Cell:
    """A percentage to two digits."""
    if value is None:
        return Cell(UNDEFINED)
    return Cell(f"{_rounded(value, 2)} %", plain(value), _tone(value) if toned else "")


def share(value: Decimal | None) -> Cell:
    """A share of one, as a percentage."""
    if value is None:
        return Cell(UNDEFINED)
    with ledger():
        return percent(value * HUNDRED)


def ratio(value: Decimal | None, digits: int = 3) -> Cell:
    """A ratio."""
    return Cell(UNDEFINED) if value is None else Cell(_rounded(value, digits), plain(value))


def count(value: int) -> Cell:
    """A number of things."""
    return Cell(f"{value:,}", str(value))


def span(ns: int | None) -> Cell:
    """A stretch of time: 2d 03:14:05, or below a minute 5.250s."""
    if ns is None:
        return Cell(UNDEFINED)
    if abs(ns) < 60 * NS_PER_S:
        seconds = _rounded(Decimal(ns).scaleb(-9), 3)
        return Cell(f"{seconds}s", str(ns))
    whole = ns // NS_PER_S
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3_600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return Cell(f"{days}d {clock}" if days else clock, str(ns))


def moment(ns: int | None) -> Cell:
    """A time to the second, UTC."""
    if ns is None:
        return Cell(UNDEFINED)
    return Cell(iso(ns)[:SECOND_ENDS].replace("T", " "), str(ns))


def word(value: str | None) -> Cell:
    """A text; an empty one is shown as none is."""
    return Cell(value or UNDEFINED)


def visible(text: str) -> str:
    """A text from outside, with a mark in the place of each character that no page and no file of text may have."""
    return "".join(c if c in "\n\t\u00a0" or c.isprintable() else "\ufffd" for c in text)


def _rounded(value: Decimal, digits: int) -> str:
    step = Decimal(1).scaleb(-digits)
    shown = round_to(value, step, Rounding.DISPLAY)
    return f"{shown or abs(shown):.{digits}f}"


def _whole(text: str) -> str:
    """Without the zeros at the end of a fraction: no digit that says anything is left out."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tone(value: Decimal) -> str:
    return "good" if value > ZERO else "bad" if value < ZERO else ""


# --- figures ----------------------------------------------------------------------------------------------------------------


def key_figures(figures: PerformanceReport, currency: str) -> Table:
    """The dozen that people look at first."""
    returns, trades = figures.returns, figures.trades
    rows = (
        ("profit and loss", money(returns.total_pnl, currency)),
        ("return", percent(returns.total_return_percent, toned=True)),
        ("buy and hold", percent(figures.market.buy_and_hold_percent)),
        ("a year (CAGR)", percent(returns.cagr_percent)),
        ("deepest fall", _fall(figures.drawdown.deepest, currency)),
        (f"Sharpe ({figures.days_a_year} days a year)", ratio(returns.sharpe)),
        ("trades", count(trades.count)),
        ("won", share(trades.win_rate)),
        ("profit factor", ratio(trades.profit_factor)),
        ("a trade brings", average(trades.expectancy, currency)),
        ("fees", sum_of(figures.costs.fees, currency)),
        ("time in the market", percent(figures.exposure_percent)),
    )
    return _pairs("key", "Key figures", rows)


def all_figures(report: RunReport) -> tuple[Table, ...]:
    """Every figure that is not of a group, table by table."""
    figures, currency = report.figures, report.run.currency
    if figures is None:
        return ()
    return (
        _returns(figures, currency),
        _falls(figures, currency),
        _trading(figures.trades, figures, currency),
        _costs(figures, currency),
        _market(figures),
    )


def _returns(figures: PerformanceReport, currency: str) -> Table:
    r = figures.returns
    best, worst = r.best_day, r.worst_day
    return _pairs(
        "returns",
        "Returns",
        (
            ("balance", sum_of(figures.balance, currency)),
            ("equity", sum_of(figures.equity, currency)),
            ("profit and loss", money(r.total_pnl, currency)),
            ("return", percent(r.total_return_percent, toned=True)),
            ("a year (CAGR)", percent(r.cagr_percent)),
            ("volatility, a year", percent(r.volatility_percent)),
            ("Sharpe", ratio(r.sharpe)),
            ("Sortino", ratio(r.sortino)),
            ("Calmar", ratio(r.calmar)),
            ("Omega", ratio(r.omega)),
            ("recovery factor", ratio(r.recovery_factor)),
            ("ulcer index", percent(r.ulcer_index_percent)),
            ("value at risk, a day at 95 %", percent(r.value_at_risk_percent)),
            ("expected shortfall, a day at 95 %", percent(r.expected_shortfall_percent)),
            ("tail ratio", ratio(r.tail_ratio)),
            ("a year has, for these ratios", Cell(f"{figures.days_a_year} trading days")),
            ("trading days", count(r.days)),
            ("winning days", count(r.winning_days)),
            ("losing days", count(r.losing_days)),
            ("best day", word(None) if best is None else Cell(f"{best.day}: {_rounded(best.return_percent, 2)} %")),
            ("worst day", word(None) if worst is None else Cell(f"{worst.day}: {_rounded(worst.return_percent, 2)} %")),
        ),
    )


def _falls(figures: PerformanceReport, currency: str) -> Table:
    d = figures.drawdown
    rows: list[tuple[str, Cell]] = []
    for name, fall in (("deepest", d.deepest), ("steepest", d.steepest)):
        rows.append((f"{name} fall", _fall(fall, currency)))
        if fall is not None:
            rows += [
                ("  from", moment(fall.peak_ns)),
                ("  lowest", moment(fall.trough_ns)),
                ("  back again", moment(fall.recovered_ns)),
                ("  for", span(fall.duration_ns)),
            ]
    rows += [
        ("longest fall", span(d.longest_ns)),
        ("under water", span(d.under_water_ns)),
        ("under water, of the time", percent(d.under_water_percent)),
    ]
    return _pairs("falls", "Falls", rows)


def _trading(t: GroupFigures, figures: PerformanceReport, currency: str) -> Table:
    streaks = figures.streaks
    return _pairs(
        "trading",
        "Closed trades",
        (
            ("trades", count(t.count)),
            ("won", count(t.winning)),
            ("lost", count(t.losing)),
            ("win rate", share(t.win_rate)),
            ("profit and loss", money(t.pnl, currency)),
            ("winners brought", money(t.gross_profit, currency)),
            ("losers cost", money(t.gross_loss, currency)),
            ("profit factor", ratio(t.profit_factor)),
            ("a trade brings", average(t.expectancy, currency)),
            ("average win", average(t.average_win, currency)),
            ("average loss", average(t.average_loss, currency)),
            ("payoff", ratio(t.payoff)),
            ("best", money(t.best, currency)),
            ("worst", money(t.worst, currency)),
            ("SQN", ratio(t.sqn)),
            ("Kelly", share(t.kelly)),
            ("winners held", span(t.average_win_ns)),
            ("losers held", span(t.average_loss_ns)),
            ("fees", sum_of(t.fees, currency)),
            ("slippage", sum_of(t.slippage_cost, currency)),
            ("most wins in a row", count(streaks.longest_winning)),
            ("most losses in a row", count(streaks.longest_losing)),
            ("in a row now", count(streaks.current)),
        ),
    )


def _costs(figures: PerformanceReport, currency: str) -> Table:
    c = figures.costs
    return _pairs(
        "costs",
        "Costs",
        (
            ("fees", sum_of(c.fees, currency)),
            ("financing", money(c.financing, currency)),
            ("slippage", sum_of(c.slippage_cost, currency)),
            ("fills", count(c.fills)),
            ("fills without a price seen", count(c.fills_unpriced)),
            ("turnover", sum_of(c.turnover, currency)),
            ("turnover, times the equity", ratio(c.turnover_ratio)),
            ("time in the market", percent(figures.exposure_percent)),
        ),
    )


def _market(figures: PerformanceReport) -> Table:
    m = figures.market
    rows = [(symbol, percent(change)) for symbol, change in m.change_percent.items()]
    return _pairs("market", "The market meanwhile", [*rows, ("buy and hold", percent(m.buy_and_hold_percent))])


def _fall(fall: FallFigures | None, currency: str) -> Cell:
    if fall is None:
        return Cell(UNDEFINED)
    steep = UNDEFINED if fall.percent is None else f"{_rounded(fall.percent, 2)} %"
    return Cell(f"{_whole(plain(fall.value))} {currency} ({steep})", plain(fall.value))


def _pairs(name: str, title: str, rows: Iterable[tuple[str, Cell]]) -> Table:
    return Table(
        name=name, title=title, columns=("figure", "value>"), rows=tuple((Cell(what), cell) for what, cell in rows)
    )


# --- groups -----------------------------------------------------------------------------------------------------------------


def group_table(figures: PerformanceReport, kind: str, currency: str) -> Table:
    """The figures by one of :data:`GROUPS`: all that there are, those that people look at first before the others."""
    if kind in PERIODS:
        periods: Mapping[str, PeriodFigures] = getattr(figures.periods, f"by_{kind}")
        return Table(
            name=f"by_{kind}",
            title=f"By {kind}",
            columns=(
                *(kind, "return>", "earned>", "trades>", "won>", "factor>", "fees>", "pnl>"),
                *("winners>", "losers>", "days>"),
            ),
            rows=tuple(_period(name, of) for name, of in periods.items()),
        )
    groups: Mapping[str, GroupFigures] = getattr(figures.groups, f"by_{kind}")
    return Table(
        name=f"by_{kind}",
        title=f"By {kind.replace('_', ' ')}",
        columns=(
            *(
                kind.replace("_", " "),
                "trades>",
                "won>",
                "pnl>",
                "factor>",
                "expectancy>",
                "fees>",
                "slippage>",
                "Kelly>",
            ),
            *("payoff>", "SQN>", "best>", "worst>", "average win>", "average loss>", "winners>", "losers>"),
            *("winners brought>", "losers cost>", "winners held>", "losers held>"),
        ),
        rows=tuple(_group(name, of, currency) for name, of in groups.items()),
    )


def _period(name: str, of: PeriodFigures) -> tuple[Cell, ...]:
    return (
        *(Cell(name), percent(of.return_percent, toned=True), money(of.earned), count(of.trades), share(of.win_rate)),
        *(ratio(of.profit_factor), sum_of(of.fees), money(of.pnl), count(of.winning), count(of.losing), count(of.days)),
    )


def _group(name: str, of: GroupFigures, currency: str) -> tuple[Cell, ...]:
    return (
        *(word(name), count(of.count), share(of.win_rate), money(of.pnl), ratio(of.profit_factor)),
        *(mean(of.expectancy, currency), sum_of(of.fees), sum_of(of.slippage_cost), share(of.kelly)),
        *(ratio(of.payoff), ratio(of.sqn), money(of.best), money(of.worst)),
        *(mean(of.average_win, currency), mean(of.average_loss, currency), count(of.winning), count(of.losing)),
        *(money(of.gross_profit), money(of.gross_loss)),
        *(span(of.average_win_ns), span(of.average_loss_ns)),
    )


# --- trades -----------------------------------------------------------------------------------------------------------------


def trade_table(trades: Sequence[Trade], rows_max: int) -> Table:
    """The newest trades, the newest first."""
    shown = sorted((t for t in trades if t.entry_time_ns is not None), key=lambda t: (t.entry_time_ns or 0, t.trade_id))
    left_out = max(0, len(shown) - rows_max)
    note = f"The newest {rows_max:,}; {left_out:,} older ones are in the books and in --json." if left_out else ""
    return Table(
        name="trades",
        title="",
        columns=(
            *("entry", "exit", "strategy", "instrument", "side", "quantity>", "at>", "left at>", "stop>", "reason"),
            *("R>", "pnl>", "fees>", "financing>", "held>", "tags"),
        ),
        rows=tuple(_trade(trade) for trade in reversed(shown[left_out:])),
        note=note,
    )


def _trade(t: Trade) -> tuple[Cell, ...]:
    with ledger():
        pnl, fees = t.pnl, t.entry_fee + t.exit_fee
    return (
        *(moment(t.entry_time_ns), moment(t.exit_time_ns), word(t.strategy), Cell(t.symbol), Cell(t.side.value)),
        *(sum_of(t.entered_quantity), price(t.entry_price, t.symbol), price(t.exit_price, t.symbol)),
        *(price(t.initial_stop_loss, t.symbol), word(t.exit_reason.value if t.exit_reason else t.status.value.lower())),
        *(
            ratio(t.r_multiple, 2),
            money(pnl),
            sum_of(fees),
            sum_of(t.financing),
            span(held_ns(t)),
            word(", ".join(t.tags)),
        ),
    )


def price(value: Decimal | None, symbol: str) -> Cell:
    """A price, or an average of prices."""
    return Cell(UNDEFINED) if value is None else Cell(shown_price(value, symbol), plain(value))


# --- layers, strategies -----------------------------------------------------------------------------------------------------


def layer_tables(trades: Sequence[Trade], rows_max: int) -> tuple[Table, ...]:
    """By layer and by cycle, where there are any."""
    by_layer = layers(trades)
    if not by_layer:
        return ()
    by_cycle = cycles(trades)
    left_out = max(0, len(by_cycle) - rows_max)
    return (
        Table(
            name="layers",
            title="Layers",
            columns=("strategy", "instrument", "layer>", "trades>", "open>", "won>", "pnl>", "units>", "held>"),
            rows=tuple(_layer_row(layer) for layer in by_layer),
        ),
        Table(
            name="cycles",
            title="Cycles",
            columns=(
                *("strategy", "instrument", "cycle>", "trades>", "open>", "won>", "pnl>", "units>", "held>"),
                "deepest layer>",
            ),
            rows=tuple((*_layer_row(cycle), count(cycle.deepest)) for cycle in by_cycle[left_out:]),
            note=f"The last {rows_max:,}; {left_out:,} before them are left out." if left_out else "",
        ),
    )


def _layer_row(of: LayerFigures) -> tuple[Cell, ...]:
    return (
        *(word(of.strategy), Cell(of.symbol), count(of.number), count(of.trades), count(of.open), count(of.winning)),
        *(money(of.pnl), sum_of(of.units), span(of.held_ns)),
    )


def strategy_table(report: RunReport) -> Table:
    """The strategies with their parameters, as the books have them."""
    return Table(
        name="strategies",
        title="Strategies",
        columns=("strategy", "kind", "status", "instruments", "decisions>", "parameters"),
        rows=tuple(
            (
                *(Cell(row.strategy), Cell(row.kind), Cell(row.status.value), Cell(", ".join(row.instruments))),
                *(count(row.decisions), Cell(", ".join(f"{name}={value}" for name, value in row.parameters.items()))),
            )
            for row in report.strategies
        ),
    )


def about_table(report: RunReport) -> Table:
    """What was run, on what, by which version, and up to when the figures go."""
    run, task, told = report.run, report.task, report.task_execution
    rows = [
        ("execution", Cell(run.execution)),
        ("account", Cell(run.account)),
        ("mode", Cell(run.mode.value)),
        ("venue", Cell(run.venue)),
        ("status", Cell(run.status + (f": {run.close_reason}" if run.close_reason else ""))),
        ("may trade", Cell(run.latch.value + (f": {run.latch_reason}" if run.latch_reason else ""))),
        ("began", moment(run.started_ns)),
        ("figures as of", moment(report.as_of.ts_ns)),
        ("ticks", count(report.as_of.position)),
        ("journal records", count(report.as_of.sequence)),
        ("configuration's fingerprint", word(run.config_fingerprint)),
        ("data's fingerprint", word(run.data_fingerprint)),
        ("run by version", word(", ".join(report.ran_by))),
        ("reported by version", Cell(report.version)),
        ("books", Cell(report.where)),
    ]
    if task is not None and told is not None:
        rows += [
            ("backtest", Cell(f"{task.name} #{told.number} ({told.status.value}, {told.progress} %)")),
            ("begins with", Cell(f"{task.config.get('balance', UNDEFINED)} {run.currency}")),
            ("from", moment(task.since_ns)),
            ("to", moment(task.until_ns)),
        ]
    if report.denied:
        rows.append(("orders denied", Cell(reasons(report.denied))))
    if report.rejections:
        rows.append(("orders rejected by the venue", Cell(reasons(report.rejections))))
    return _pairs("about", "", rows)
