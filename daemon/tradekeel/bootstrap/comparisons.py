"""Two executions compared, each from its own books."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from tradekeel.backtest.reporting.comparing import TOLERANCE_NS, Comparison, compare
from tradekeel.backtest.reporting.model import Traded
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.runs import Run, both_runs
from tradekeel.bootstrap.values import plain_value
from tradekeel.config import ConfigError
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.messages import Signal
from tradekeel.domain.orders import Order, Purpose
from tradekeel.domain.times import iso
from tradekeel.domain.trades import Trade
from tradekeel.errors import InputError
from tradekeel.storage.archiving.reading import Tell, read_archives
from tradekeel.storage.backend import Connection
from tradekeel.storage.journal import JournalRow
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of

__all__ = ["TOLERANCE_NS", "as_json", "compare_runs"]

BY_THE_CLOCK = ("execution_closed", "administered", "daemon_started")
"""Records whose time may be the clock's, and not the market's."""


def compare_runs(
    first: str,
    second: str,
    place: Place | None,
    environ: Mapping[str, str],
    tolerance_ns: int = TOLERANCE_NS,
    account: str | None = None,
    tell: Callable[[str], object] = lambda remark: None,
    progress: Callable[[str, int, int], object] = lambda what, done, total: None,
) -> Comparison:
    """Compare what two words mean; see :func:`~tradekeel.bootstrap.runs.both_runs`. Raises InputError, StoreError.

    ``tell`` is told what else could have been meant, ``progress`` how much of what has been read.
    """
    runs = both_runs(first, second, place, account, environ)
    if runs[0].row.execution == runs[1].row.execution and str(runs[0].books) == str(runs[1].books):
        raise InputError(f"{first} and {second} are one execution, {runs[0]}: name two")
    for word, run in zip((first, second), runs, strict=True):
        for remark in run.remarks:
            tell(f"{word}: {remark}")
    known = _instruments([run.place for run in runs], environ)

    def pips(symbol: str) -> Decimal | None:
        instrument = known.get(symbol)
        return None if instrument is None else instrument.pip_size

    one, other = (_traded(run, partial(progress, f"archives of {run}")) for run in runs)
    return compare(one, other, pips, tolerance_ns)


def _instruments(places: list[Place], environ: Mapping[str, str]) -> Mapping[str, Instrument]:
    """Those of the first configuration that can be read: the books do not say what a pip is."""
    for place in places:
        if place.config is not None and place.config.is_file():
            try:
                return read_plan(place.config, environ, fetch_secrets=False).instruments
            except (ConfigError, InputError):
                continue
    return CATALOGUE


class _Span:
    """The market's time from the first record to the last."""

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.last_ns: int | None = None

    def take(self, entry: JournalRow) -> None:
        """A record of an archive, as it stands in the journal."""
        if entry[1] not in BY_THE_CLOCK and entry[2]:
            self.widen(entry[2], entry[2])

    def widen(self, first_ns: int | None, last_ns: int | None) -> None:
        """From then, until then, at least."""
        self.first_ns = min((ns for ns in (self.first_ns, first_ns) if ns is not None), default=None)
        self.last_ns = max((ns for ns in (self.last_ns, last_ns) if ns is not None), default=None)


def _traded(run: Run, tell: Tell) -> Traded:
    """Its trades with the signals and entry orders behind them, at one moment; those in archives, too."""
    span, execution = _Span(), run.row.execution
    with one_moment(run.books, "comparing executions") as db:
        folder = run.place.statedir.archives
        kinds, wanted = (Trade, Signal, Order), _is_wanted
        archived = read_archives(db, run.books, execution, folder, kinds, span.take, wanted=wanted, tell=tell)
        marks = ", ".join("?" * len(BY_THE_CLOCK))
        in_books = db.execute(
            f"SELECT min(ts_ns), max(ts_ns) FROM journal WHERE execution = ? AND ts_ns <> 0 AND type NOT IN ({marks})",  # noqa: S608
            (execution, *BY_THE_CLOCK),
        )
        span.widen(*in_books.fetchone())
        trades = {trade.trade_id: trade for trade in (*archived.of(Trade), *_rows(db, Trade, execution))}
        signals = {signal.signal_id: signal for signal in (*archived.of(Signal), *_rows(db, Signal, execution))}
        orders = {
            order.client_order_id: order
            for order in (*archived.of(Order), *_rows(db, Order, execution, "AND purpose = 'entry'"))
        }
        return Traded(
            name=str(run),
            run=run.row,
            trades=tuple(trades.values()),
            signals=tuple(signals.values()),
            orders=tuple(orders.values()),
            first_ns=span.first_ns,
            last_ns=span.last_ns,
            archived=archived.lost["trades"],
            lacking=archived.lacking,
            remedy=archived.unread[0].remedy if archived.unread else "",
        )


def _is_wanted(row: Trade | Signal | Order) -> bool:
    """Exits explain nothing that is compared, and there are as many of them as of entries."""
    return not isinstance(row, Order) or row.purpose is Purpose.ENTRY


RowT = TypeVar("RowT", bound=Struct)


def _rows(db: Connection, kind: type[RowT], execution: str, which: str = "") -> Iterator[RowT]:
    mapping = mapping_of(kind)
    return map(mapping.decode, db.stream(f"{mapping.select_sql} WHERE execution = ? {which}", (execution,)))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison for programs."""
    plain: dict[str, Any] = plain_value(comparison)
    for difference in plain["differences"]:
        difference["entry"] = iso(difference["entry_ns"])
    return {"format": 1, "same_trades": comparison.is_same} | plain
