"""Figures as tables of text, the same for terminal and page: exact amounts, rounded ratios, "–" for what is undefined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct, structs

from tradekeel.backtest.reporting.cells import (
    UNDEFINED,
    Cell,
    average,
    count,
    mean,
    measured,
    moment,
    money,
    percent,
    price,
    ratio,
    share,
    span,
    sum_of,
    word,
)
from tradekeel.backtest.reporting.curves import LayerFigures, Unrealised, cycles, held_ns, layers
from tradekeel.backtest.reporting.held import OpenTrades, newest
from tradekeel.backtest.reporting.model import RunReport
from tradekeel.domain.counting import counted
from tradekeel.domain.money import ledger
from tradekeel.domain.performance_report import (
    FallFigures,
    GroupFigures,
    PerformanceReport,
    PeriodFigures,
)
from tradekeel.domain.refused import reasons
from tradekeel.domain.sessions import DAY_NS
from tradekeel.domain.trades import Trade

DAYS_MIN = 30
"""Of a shorter run the growth of a year is not shown among the first figures, and a ratio of its days only with their number."""


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


# --- figures ----------------------------------------------------------------------------------------------------------------


def key_figures(figures: PerformanceReport, held: OpenTrades | None, currency: str) -> Table:
    """The dozen that people look at first, and what is still open beside what is closed."""
    returns, trades = figures.returns, figures.trades
    rows = (
        ("profit and loss", money(returns.total_pnl, currency)),
        ("closed trades", money(trades.pnl, currency)),
        *_of_open("open trades, {}", figures, held, currency),
        ("return", percent(returns.total_return_percent, toned=True)),
        ("buy and hold", percent(figures.market.buy_and_hold_percent)),
        ("a year (CAGR)", _a_year(figures)),
        ("deepest fall", _fall(figures.drawdown.deepest, currency)),
        (f"Sharpe ({figures.days_a_year} days a year)", _of_days(ratio(returns.sharpe), figures)),
        ("trades that closed", count(trades.count)),
        ("trades still open", word(None) if held is None else count(held.trades)),
        ("won, of the closed", share(trades.win_rate)),
        ("profit factor", ratio(trades.profit_factor)),
        ("a closed trade brings", average(trades.expectancy, currency)),
        ("fees", sum_of(figures.costs.fees, currency)),
        ("time in the market", percent(figures.exposure_percent)),
    )
    return _pairs("key", "Key figures", rows)


def _of_open(name: str, figures: PerformanceReport, held: OpenTrades | None, currency: str) -> list[tuple[str, Cell]]:
    """What is open, in two parts, and what is left: with closed trades these come to the account's profit, to the last digit.
    Most often nothing of it is booked, and nothing left: only where an account nets does it book by other steps than its trades.
    """
    rows = [(name.format("unrealised"), money(None if held is None else held.unrealised, currency))]
    if held is None:
        return rows
    if held.booked:
        rows.append((name.format("booked already"), money(held.booked, currency)))
    profit = figures.returns.total_pnl
    if profit is not None and held.unrealised is not None:
        with ledger():
            left = profit - figures.trades.pnl - held.unrealised - held.booked
        if left:
            rows.append(("netting and rounding", money(left, currency)))
    return rows


def _a_year(figures: PerformanceReport) -> Cell:
    """Growth of a few days, carried on for a year, is a number that nobody should look at first."""
    days = _days(figures)
    if figures.returns.cagr_percent is not None and days < DAYS_MIN:
        return Cell(f"{UNDEFINED} ({counted(days, 'day')})")
    return percent(figures.returns.cagr_percent)


def _of_days(cell: Cell, figures: PerformanceReport) -> Cell:
    """A ratio of a few days says of how few."""
    days = _days(figures)
    if cell.text == UNDEFINED or days >= DAYS_MIN:
        return cell
    return structs.replace(cell, text=f"{cell.text} ({counted(days, 'day')})")


def _days(figures: PerformanceReport) -> int:
    if figures.first_ns is None or figures.last_ns is None:
        return 0
    return (figures.last_ns - figures.first_ns) // DAY_NS


def still_open(held: OpenTrades | None, currency: str) -> str:
    """What to say beside figures of closed trades; an empty text where nothing is open."""
    if held is None or not held.trades:
        return ""
    are = "is" if held.trades == 1 else "are"
    unrealised = sum_of(held.unrealised, currency).text
    return f"{counted(held.trades, 'open trade')} {are} not in it: unrealised {unrealised} at the last tick."


def all_figures(report: RunReport) -> tuple[Table, ...]:
    """Every figure that is not of a group, table by table."""
    figures, currency = report.figures, report.run.currency
    if figures is None:
        return ()
    return (
        _returns(figures, report.held, currency),
        _falls(figures, currency),
        _trading(figures.trades, figures, currency, still_open(report.held, currency)),
        _costs(figures, currency),
        _market(figures),
    )


def _returns(figures: PerformanceReport, held: OpenTrades | None, currency: str) -> Table:
    r = figures.returns
    best, worst = r.best_day, r.worst_day
    return _pairs(
        "returns",
        "Returns",
        (
            ("balance", sum_of(figures.balance, currency)),
            ("equity", sum_of(figures.equity, currency)),
            ("profit and loss", money(r.total_pnl, currency)),
            ("of closed trades", money(figures.trades.pnl, currency)),
            *_of_open("of open trades, {}", figures, held, currency),
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
            ("best day", word(None) if best is None else Cell(f"{best.day}: {percent(best.return_percent).text}")),
            ("worst day", word(None) if worst is None else Cell(f"{worst.day}: {percent(worst.return_percent).text}")),
        ),
        note=_of_few_days(figures),
    )


def _of_few_days(figures: PerformanceReport) -> str:
    days = _days(figures)
    if days >= DAYS_MIN or figures.returns.cagr_percent is None:
        return ""
    return f"What is told for a year is carried on from {counted(days, 'day')}, and says little."


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


def _trading(t: GroupFigures, figures: PerformanceReport, currency: str, note: str) -> Table:
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
            ("slippage", measured(t.slippage_cost, currency)),
            ("most wins in a row", count(streaks.longest_winning)),
            ("most losses in a row", count(streaks.longest_losing)),
            ("in a row now", count(streaks.current)),
        ),
        note=note,
    )


def _costs(figures: PerformanceReport, currency: str) -> Table:
    c = figures.costs
    return _pairs(
        "costs",
        "Costs",
        (
            ("fees", sum_of(c.fees, currency)),
            ("financing", money(c.financing, currency)),
            ("slippage", measured(c.slippage_cost, currency)),
            ("fills", count(c.fills)),
            ("fills without a price seen", count(c.fills_unpriced)),
            ("turnover", measured(c.turnover, currency)),
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
    deep = sum_of(fall.value, currency)
    return Cell(f"{deep.text} ({percent(fall.percent).text})", deep.order)


def _pairs(name: str, title: str, rows: Iterable[tuple[str, Cell]], note: str = "") -> Table:
    return Table(
        name=name,
        title=title,
        columns=("figure", "value>"),
        rows=tuple((Cell(what), cell) for what, cell in rows),
        note=note,
    )


# --- groups -----------------------------------------------------------------------------------------------------------------


def group_table(figures: PerformanceReport, kind: str, currency: str, held: OpenTrades | None) -> Table:
    """The figures by one of :data:`GROUPS`: all that there are, those that people look at first before the others.

    Days and longer have what open trades made in return and earned, and in nothing else.
    """
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
        note=still_open(held, currency),
    )


def _period(name: str, of: PeriodFigures) -> tuple[Cell, ...]:
    return (
        *(Cell(name), percent(of.return_percent, toned=True), money(of.earned), count(of.trades), share(of.win_rate)),
        *(ratio(of.profit_factor), sum_of(of.fees), money(of.pnl), count(of.winning), count(of.losing), count(of.days)),
    )


def _group(name: str, of: GroupFigures, currency: str) -> tuple[Cell, ...]:
    return (
        *(word(name), count(of.count), share(of.win_rate), money(of.pnl), ratio(of.profit_factor)),
        *(
            mean(of.expectancy, currency),
            sum_of(of.fees),
            measured(of.slippage_cost, currency, named=False),
            share(of.kelly),
        ),
        *(ratio(of.payoff), ratio(of.sqn), money(of.best), money(of.worst)),
        *(mean(of.average_win, currency), mean(of.average_loss, currency), count(of.winning), count(of.losing)),
        *(money(of.gross_profit), money(of.gross_loss)),
        *(span(of.average_win_ns), span(of.average_loss_ns)),
    )


# --- trades -----------------------------------------------------------------------------------------------------------------


def trade_table(trades: Sequence[Trade], by_trade: Unrealised, rows_max: int) -> Table:
    """The newest trades and all open ones, the newest first."""
    entered = sorted(
        (t for t in trades if t.entry_time_ns is not None), key=lambda t: (t.entry_time_ns or 0, t.trade_id)
    )
    shown = newest(entered, rows_max)
    left_out = len(entered) - len(shown)
    of = f"The newest {rows_max:,} and all open ones; {left_out:,} older ones are in the books and in --json."
    note = of if left_out else ""
    return Table(
        name="trades",
        title="",
        columns=(
            *("entry", "exit", "strategy", "instrument", "side", "quantity>", "at>", "left at>", "stop>", "reason"),
            *("R>", "pnl>", "unrealised>", "fees>", "financing>", "held>", "tags"),
        ),
        rows=tuple(_trade(trade, by_trade.get(trade.trade_id) if trade.holds else None) for trade in reversed(shown)),
        note=note,
    )


def _trade(t: Trade, unrealised: Decimal | None) -> tuple[Cell, ...]:
    with ledger():
        pnl, fees = t.pnl, t.entry_fee + t.exit_fee
    return (
        *(moment(t.entry_time_ns), moment(t.exit_time_ns), word(t.strategy), Cell(t.symbol), Cell(t.side.value)),
        *(sum_of(t.entered_quantity), price(t.entry_price, t.symbol), price(t.exit_price, t.symbol)),
        *(price(t.initial_stop_loss, t.symbol), word(t.exit_reason.value if t.exit_reason else t.status.value.lower())),
        *(
            ratio(t.r_multiple, 2),
            money(pnl),
            money(unrealised),
            sum_of(fees),
            sum_of(t.financing),
            span(held_ns(t)),
            word(", ".join(t.tags)),
        ),
    )


# --- layers, strategies -----------------------------------------------------------------------------------------------------


def layer_tables(trades: Sequence[Trade], by_trade: Unrealised, rows_max: int) -> tuple[Table, ...]:
    """By layer and by cycle, where there are any."""
    by_layer = layers(trades, by_trade)
    if not by_layer:
        return ()
    by_cycle = cycles(trades, by_trade)
    left_out = max(0, len(by_cycle) - rows_max)
    of_both = ("trades>", "open>", "won>", "pnl>", "unrealised>", "units>", "held>")
    return (
        Table(
            name="layers",
            title="Layers",
            columns=("strategy", "instrument", "layer>", *of_both),
            rows=tuple(_layer_row(layer) for layer in by_layer),
        ),
        Table(
            name="cycles",
            title="Cycles",
            columns=(
                *("strategy", "instrument", "cycle>", *of_both),
                "deepest layer>",
            ),
            rows=tuple((*_layer_row(cycle), count(cycle.deepest)) for cycle in by_cycle[left_out:]),
            note=f"The last {rows_max:,}; {left_out:,} before them are left out." if left_out else "",
        ),
    )


def _layer_row(of: LayerFigures) -> tuple[Cell, ...]:
    return (
        *(word(of.strategy), Cell(of.symbol), count(of.number), count(of.trades), count(of.open), count(of.winning)),
        *(money(of.pnl), money(of.unrealised if of.open else None), sum_of(of.units), span(of.held_ns)),
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
