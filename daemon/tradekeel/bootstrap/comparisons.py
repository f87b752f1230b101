"""Two executions compared, each from its own books."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tradekeel.backtest.reporting.comparing import TOLERANCE_NS, Comparison, compare
from tradekeel.backtest.reporting.model import Traded
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.runs import Run, run_of
from tradekeel.bootstrap.values import plain_value
from tradekeel.config import ConfigError
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.messages import Signal
from tradekeel.domain.orders import Order
from tradekeel.domain.times import iso
from tradekeel.domain.trades import Trade
from tradekeel.errors import InputError
from tradekeel.storage.archives import archived_rows
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of

__all__ = ["TOLERANCE_NS", "as_json", "compare_runs"]

BY_THE_CLOCK = ("execution_closed", "administered", "daemon_started")
"""Records whose time may be the clock's, and not the market's."""


def compare_runs(
    first: str, second: str, place: Place | None, environ: Mapping[str, str], tolerance_ns: int = TOLERANCE_NS
) -> Comparison:
    """Compare what two words mean; see :func:`~tradekeel.bootstrap.runs.run_of`. Raises InputError, StoreError."""
    runs = run_of(first, place, environ), run_of(second, place, environ)
    if runs[0].row.execution == runs[1].row.execution and str(runs[0].books) == str(runs[1].books):
        raise InputError(f"{first} and {second} are one execution, {runs[0]}: name two")
    known = _instruments([run.place for run in runs], environ)

    def pips(symbol: str) -> Decimal | None:
        instrument = known.get(symbol)
        return None if instrument is None else instrument.pip_size

    return compare(_traded(runs[0]), _traded(runs[1]), pips, tolerance_ns)


def _instruments(places: list[Place], environ: Mapping[str, str]) -> Mapping[str, Instrument]:
    """Those of the first configuration that can be read: the books do not say what a pip is."""
    for place in places:
        if place.config is not None and place.config.is_file():
            try:
                return read_plan(place.config, environ, fetch_secrets=False).instruments
            except (ConfigError, InputError):
                continue
    return CATALOGUE


def _traded(run: Run) -> Traded:
    """Its trades with the signals and entry orders behind them, at one moment."""
    with one_moment(run.books, "comparing executions") as db:
        execution = (run.row.execution,)
        trades, signals, orders = mapping_of(Trade), mapping_of(Signal), mapping_of(Order)
        marks = ", ".join("?" * len(BY_THE_CLOCK))
        first_ns, last_ns = db.execute(
            f"SELECT min(ts_ns), max(ts_ns) FROM journal WHERE execution = ? AND ts_ns <> 0 AND type NOT IN ({marks})",  # noqa: S608
            (*execution, *BY_THE_CLOCK),
        ).fetchone()
        return Traded(
            name=str(run),
            run=run.row,
            trades=tuple(map(trades.decode, db.execute(f"{trades.select_sql} WHERE execution = ?", execution))),
            signals=tuple(map(signals.decode, db.execute(f"{signals.select_sql} WHERE execution = ?", execution))),
            orders=tuple(
                map(
                    orders.decode,
                    db.execute(f"{orders.select_sql} WHERE execution = ? AND purpose = 'entry'", execution),
                )
            ),
            first_ns=first_ns,
            last_ns=last_ns,
            archived=archived_rows(db, None, execution).get("trades", 0),
        )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison for programs."""
    plain: dict[str, Any] = plain_value(comparison)
    for difference in plain["differences"]:
        difference["entry"] = iso(difference["entry_ns"])
    return {"format": 1, "same_trades": comparison.is_same} | plain
