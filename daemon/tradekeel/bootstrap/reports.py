"""The report of one execution, read from the books that it left: live, paper or backtest, finished or under way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tradekeel import __version__
from tradekeel.backtest.reporting import curves, tables
from tradekeel.backtest.reporting.cells import Cell, moment, sum_of
from tradekeel.backtest.reporting.held import OpenTrades, open_trades
from tradekeel.backtest.reporting.model import (
    FORMAT,
    AsOf,
    Curve,
    CurvePoint,
    PricePoint,
    RunReport,
)
from tradekeel.backtest.reporting.page import plotly_script
from tradekeel.bootstrap.backtestbooks import look
from tradekeel.bootstrap.pages import demand_place, own_page, write_page
from tradekeel.bootstrap.ranwith import configuration_of, sources_of
from tradekeel.bootstrap.recounting import Recounted, recount
from tradekeel.bootstrap.runs import Run, only_run, reported_run
from tradekeel.bootstrap.summary import refusals, refused
from tradekeel.bootstrap.values import plain_row, plain_value
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.counting import counted
from tradekeel.domain.monitor import MonitorState, report_of
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.positions import Quote
from tradekeel.domain.recovery import decode_account_state
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint, ExecutionRow, PerformanceSnapshot, StrategyRow
from tradekeel.domain.tasks import DOUBTS, TaskExecution, TaskRow, TaskStatus
from tradekeel.domain.trades import Trade
from tradekeel.errors import InputError
from tradekeel.storage.archiving.reading import Unread, read_archives
from tradekeel.storage.backend import Connection
from tradekeel.storage.checksums import checkpoint_crc
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of

__all__ = [
    "as_json",
    "brief_json",
    "demand_place",
    "group_table",
    "key_table",
    "make_brief",
    "make_report",
    "only_run",
    "own_page",
    "plotly_script",
    "refuse_groups",
    "reported_run",
    "write_page",
]

SNAPSHOTS_MIN = 2
"""Fewer snapshots are no curve: then the balances that the venue told of are."""

OF_TRADING = tuple(r.record_type_of(kind) for kind in (r.DecisionTaken, r.VenueReported, r.OrdersIntended, r.StopMoved))
"""Records behind the last cut that the figures lack, and that somebody would miss."""

RowT = TypeVar("RowT", bound=Struct)


Tell = Callable[[str, int, int], object]
"""Told now and then what is being read, how much of it is done, and how much there is."""


def make_report(run: Run, environ: Mapping[str, str], tell: Tell = lambda what, done, total: None) -> RunReport:
    """Everything. Raises StoreError."""
    task, told = _task(run)
    with one_moment(run.books, "making a report") as db:
        row, notes = run.row, _standing(told)
        known = _figures(db, row, notes)
        told_of = Recounted(row.execution)
        archived = read_archives(
            db,
            run.books,
            row.execution,
            run.place.statedir.archives,
            (Trade, PerformanceSnapshot),
            told_of.take,
            tell=partial(tell, "archives"),
        )
        recount(db, row.execution, told_of.take, partial(tell, "journal"))
        snapshots = [*archived.of(PerformanceSnapshot), *_rows(db, PerformanceSnapshot, row)]
        trades = {trade.trade_id: trade for trade in (*archived.of(Trade), *_rows(db, Trade, row))}
        denied, rejections = refused(db, row)
        ran_with = task.config.get("version") if task is not None else None
        report = RunReport(
            version=__version__,
            ran_by=tuple(dict.fromkeys([*told_of.versions, *([str(ran_with)] if ran_with else [])])),
            where=str(run.books),
            run=row,
            task=task,
            task_execution=told,
            as_of=known.as_of,
            figures=known.figures,
            held=known.held,
            curve=_curve(row, sorted(snapshots, key=lambda each: each.ts_ns), told_of, known),
            prices=_up_to_the_last(told_of.prices(), known.quotes),
            trades=tuple(sorted(trades.values(), key=lambda trade: (trade.created_ns, trade.trade_id))),
            stops=told_of.stops(),
            strategies=tuple(sorted(_rows(db, StrategyRow, row), key=lambda each: each.strategy)),
            denied=denied,
            rejected=sum(rejections.values()),
            rejections=rejections,
            archived_trades=archived.lost["trades"],
        )
    notes.extend(_unread(archived.unread))
    asked = task.config if task is not None else {}
    configuration, folder = configuration_of(run, asked, environ)
    return msgspec.structs.replace(
        report,
        configuration=configuration,
        sources=tuple(sources_of(report.strategies, folder, asked.get("code", {}))),
        notes=tuple(notes),
    )


def _unread(files: Sequence[Unread]) -> Iterator[str]:
    """What could not be read, where that is, what is lacking for it, and what to do."""
    for each in files[:UNREAD_NAMED_MAX]:
        lost = ", ".join(counted(each.lost[table], one) for table, one in _LOST if each.lost.get(table))
        yield (
            f"The archive {each.why}: of its records {each.row.first:,} to {each.row.last:,} tables and charts lack "
            f"{lost or 'something'}; the figures have all. {each.remedy}"
        )
    if len(files) > UNREAD_NAMED_MAX:
        yield f"{counted(len(files) - UNREAD_NAMED_MAX, 'other archive')} cannot be read: `tradekeel verify` names them."


UNREAD_NAMED_MAX = 5
_LOST = (("trades", "trade"), ("performance_snapshots", "snapshot"), ("journal", "record"))


class Brief(Struct, frozen=True):
    """The figures alone: what a terminal shows, however many trades there are."""

    name: str
    account: str
    currency: str
    figures: PerformanceReport | None
    held: OpenTrades | None  # None without figures
    notes: tuple[str, ...]
    as_of_ns: int | None = None  # market time of the last tick that they know of
    config: str = ""  # the name of the configuration's file, where that is known
    task: TaskRow | None = None  # of a backtest
    refused: str = ""  # orders that came to nothing, in words


def make_brief(run: Run) -> Brief:
    """The figures of an execution. Raises StoreError."""
    task, told = _task(run)
    notes = _standing(told)
    with one_moment(run.books, "making a report") as db:
        known = _figures(db, run.row, notes)
        came_to_nothing = refusals(*refused(db, run.row))
    file = task.config.get("file") if task is not None else run.place.config
    config = "" if file is None else Path(file).name
    return Brief(
        name=str(run),
        account=run.row.account,
        currency=run.row.currency,
        figures=known.figures,
        held=known.held,
        notes=tuple(notes),
        as_of_ns=known.as_of.ts_ns,
        config=config,
        task=task,
        refused=came_to_nothing,
    )


def _task(run: Run) -> tuple[TaskRow, TaskExecution] | tuple[None, None]:
    """What was asked for, and how it stands; of a backtest alone."""
    path = getattr(run.books, "path", None)
    found = look(path) if run.is_backtest and isinstance(path, Path) else None
    return (None, None) if found is None else found


def _standing(told: TaskExecution | None) -> list[str]:
    """Of a backtest: how far it came where that is not the end of its data, and what became of it; what makes one doubt it."""
    if told is None:
        return []
    doubts = [_sentence(doubt) for doubt in (told.state or {}).get(DOUBTS, ())]
    if told.status is TaskStatus.COMPLETED:
        return doubts
    became = {
        TaskStatus.FAILED: f"It failed: {told.error}",
        TaskStatus.STOPPED: "It was left for a new one.",
    }.get(told.status, "It was interrupted or killed, or runs; the same command goes on with it.")
    return [f"The backtest has come to {told.progress} % of its data, and so have all figures. {became}", *doubts]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}{'' if words[-1] in '.?' else '.'}"


# --- figures ----------------------------------------------------------------------------------------------------------------


class _Known(Struct, frozen=True, kw_only=True):
    """What a saved state of the account says."""

    as_of: AsOf
    figures: PerformanceReport | None = None
    first_equity: Decimal | None = None
    held: OpenTrades | None = None
    quotes: Mapping[str, Quote] = {}


def _figures(db: Connection, row: ExecutionRow, notes: list[str]) -> _Known:
    """The figures of the newest saved state that can be read, and up to where they go."""
    finished = row.status == "closed"
    state = _monitor_state(db, row.execution, notes)
    if state is None:
        why = (
            "No saved state of the account is there any more, as behind `tradekeel db wipe`"
            if finished
            else "No state of the account was saved yet"
        )
        notes.append(f"{why}: there are no figures. The tables are as the books are.")
        return _Known(as_of=AsOf(ts_ns=None, position=0, sequence=0, records_behind=0, finished=finished))
    saved, book, monitor = state
    placeholders = ", ".join("?" * len(OF_TRADING))
    behind = int(
        db.execute(
            f"SELECT count(*) FROM journal WHERE execution = ? AND sequence > ? AND type IN ({placeholders})",  # noqa: S608
            (row.execution, saved.inbox, *OF_TRADING),
        ).fetchone()[0]
    )
    if behind or not finished:
        when = moment(saved.ts_ns).text
        later = f" {behind:,} records of trading came later." if behind else ""
        notes.append(
            f"The execution is {'closed' if finished else 'not over'}: figures are as of its last saved state, {when} UTC, tick "
            f"{saved.position:,}.{later}"
        )
    as_of = AsOf(
        ts_ns=saved.ts_ns, position=saved.position, sequence=saved.inbox, records_behind=behind, finished=finished
    )
    held = open_trades(book.trades.values(), monitor.quotes, row.currency)
    first_equity = monitor.tracker.curve.first_equity
    return _Known(as_of=as_of, figures=report_of(monitor), first_equity=first_equity, held=held, quotes=monitor.quotes)


def _monitor_state(db: Connection, execution: str, notes: list[str]) -> tuple[Checkpoint, Book, MonitorState] | None:
    rows = db.execute(
        "SELECT sequence, position, inbox, ts_ns, version, state, crc FROM checkpoints "
        "WHERE execution = ? AND owner = ? ORDER BY id DESC",
        (execution, ACCOUNT_OWNER),
    ).fetchall()
    for sequence, position, inbox, ts_ns, version, state, crc in rows:
        saved = Checkpoint(
            execution=execution,
            owner=ACCOUNT_OWNER,
            position=position,
            inbox=inbox,
            ts_ns=ts_ns,
            version=version,
            state=bytes(state),
        )
        try:
            if checkpoint_crc(saved, sequence) != crc:
                raise ValueError("its checksum is off")
            account = decode_account_state(saved.state)
            if account.monitor:
                monitor = msgspec.msgpack.decode(account.monitor, type=MonitorState)
                return saved, Book.load(account.book), monitor
        except (msgspec.MsgspecError, ValueError) as error:
            notes.append(f"The state saved at journal record {inbox:,} cannot be read and is left out: {error}.")
    return None


# --- curves -----------------------------------------------------------------------------------------------------------------


def _curve(
    row: ExecutionRow,
    snapshots: Sequence[PerformanceSnapshot],
    told_of: Recounted,
    known: _Known,
) -> Curve:
    figures = known.figures
    has_snapshots = len(snapshots) >= SNAPSHOTS_MIN
    if has_snapshots:
        source, equity = "snapshots", [CurvePoint(each.ts_ns, each.equity) for each in snapshots]
        equity = _first_point(known, equity[0].ts_ns) + equity
    else:
        source, equity = "balances", _from_the_first_tick(told_of.balances(), figures)
    equity += _last_point(equity, figures)
    begins_with = equity[0].value if equity else row.opening_balance
    funds = told_of.funds(by_the_venue=not has_snapshots)
    moves = [move for move in funds if equity and move.ts_ns > equity[0].ts_ns]
    return Curve(
        source=source,
        equity=tuple(equity),
        under_water=curves.under_water(equity, moves),
        benchmark=curves.buy_and_hold(
            begins_with, _counted(_up_to_the_last(told_of.prices(), known.quotes), figures), moves
        ),
        rolling_sharpe=curves.rolling_sharpe(figures),
    )


def _from_the_first_tick(balances: Sequence[CurvePoint], figures: PerformanceReport | None) -> list[CurvePoint]:
    """What was booked before any tick is there at the first one: a market that is played back has no time before it."""
    first_ns = 0 if figures is None or figures.first_ns is None else figures.first_ns
    points = {max(point.ts_ns, first_ns): point for point in balances}
    return [CurvePoint(ts_ns, point.value) for ts_ns, point in points.items()]


def _first_point(known: _Known, first_snapshot_ns: int) -> list[CurvePoint]:
    """The equity at the first tick that counts, which profit is told from: by the first snapshot it may be another one."""
    first_ns = None if known.figures is None else known.figures.first_ns
    if known.first_equity is None or first_ns is None or first_ns >= first_snapshot_ns:
        return []
    return [CurvePoint(first_ns, known.first_equity)]


def _last_point(equity: Sequence[CurvePoint], figures: PerformanceReport | None) -> list[CurvePoint]:
    """The equity at the last tick that figures go up to, where the curve ends before it."""
    if figures is None or figures.equity is None or figures.last_ns is None:
        return []
    is_behind = bool(equity) and figures.last_ns > equity[-1].ts_ns
    return [CurvePoint(figures.last_ns, figures.equity)] if is_behind else []


def _up_to_the_last(
    prices: Mapping[str, tuple[PricePoint, ...]], quotes: Mapping[str, Quote]
) -> dict[str, tuple[PricePoint, ...]]:
    """The sampled prices, and behind them the last ones that the saved state knows."""
    found = dict(prices)
    for symbol, points in prices.items():
        last = quotes.get(symbol)
        if last is not None and points and last.ts_ns > points[-1].ts_ns:
            found[symbol] = (*points, PricePoint(last.ts_ns, last.bid, last.ask))
    return found


def _counted(
    prices: Mapping[str, Sequence[PricePoint]], figures: PerformanceReport | None
) -> dict[str, list[PricePoint]]:
    """Those from the first tick that counts on: a warm-up has some before it."""
    first_ns = figures.first_ns if figures is not None and figures.first_ns is not None else 0
    return {symbol: [point for point in points if point.ts_ns >= first_ns] for symbol, points in prices.items()}


def _rows(db: Connection, kind: type[RowT], run: ExecutionRow) -> Iterator[RowT]:
    mapping = mapping_of(kind)
    return map(mapping.decode, db.stream(f"{mapping.select_sql} WHERE execution = ?", (run.execution,)))


# --- as what it is given ------------------------------------------------------------------------------------------------------


def as_json(report: RunReport) -> dict[str, Any]:
    """The report for programs: amounts are text, digit by digit, and nothing is thinned."""
    plain: dict[str, Any] = plain_value(report)
    run = plain_row(report.run)
    plain["run"] = run
    by_trade = {} if report.held is None else report.held.by_trade
    held = {trade.trade_id for trade in report.trades if trade.holds}.intersection(by_trade)  # some were closed since
    plain["trades"] = [
        plain_row(trade) | ({"unrealised": plain_value(by_trade[trade.trade_id])} if trade.trade_id in held else {})
        for trade in report.trades
    ]
    plain["layers"] = [plain_value(each) for each in curves.layers(report.trades, by_trade)]
    plain["cycles"] = [plain_value(each) for each in curves.cycles(report.trades, by_trade)]
    return {"format": FORMAT, "name": report.name} | plain


def brief_json(brief: Brief) -> dict[str, Any]:
    """The figures for programs, without the rest of a report."""
    return {"figures": plain_value(brief.figures), "held": plain_value(brief.held)}


def key_table(brief: Brief) -> tables.Table | None:
    """Of what, and the dozen figures that people look at first; None where there are no figures yet."""
    if brief.figures is None:
        return None
    table = tables.key_figures(brief.figures, brief.held, brief.currency)
    return msgspec.structs.replace(table, rows=(*_of_what(brief, brief.figures), *table.rows))


def _of_what(brief: Brief, figures: PerformanceReport) -> Iterator[tuple[Cell, ...]]:
    first, last = moment(figures.first_ns).text, moment(brief.as_of_ns).text
    told = [("configuration", brief.config), ("ticks (UTC)", f"{first} to {last}")]
    task = brief.task
    if task is not None:
        since, until = (None if ns is None else moment(ns).text for ns in (task.since_ns, task.until_ns))
        asked = (("from", since), ("to", until), ("warm-up", task.config.get("warm_up")))
        told.append(("asked for", ", ".join(f"{word} {what}" for word, what in asked if what)))
        if "balance" in task.config:
            told.append(("began with", sum_of(Decimal(task.config["balance"]), brief.currency).text))
    told.append(("balance", sum_of(figures.balance, brief.currency).text))
    return ((Cell(name), Cell(text)) for name, text in told if text)


def refuse_groups(kinds_: Iterable[str]) -> None:
    """InputError for a word that is no kind of group."""
    for kind in kinds_:
        if kind not in tables.GROUPS:
            raise InputError(f"there is no group {kind!r}; there are: {', '.join(tables.GROUPS)}")


def group_table(brief: Brief, kind: str) -> tables.Table | None:
    """The figures by a kind of group, see :func:`refuse_groups`."""
    return None if brief.figures is None else tables.group_table(brief.figures, kind, brief.currency, brief.held)
