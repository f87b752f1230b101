"""Commands that read the books: from the database, without disturbing the daemon, whether it runs or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter, validators

from tradekeel.cli.common import Json, State, Target, place, words_of, write_json
from tradekeel.cli.render import Column, Row, amount, money, print_table, rounded, text, time
from tradekeel.errors import ExitCode

DATA_CHARACTERS_MAX = 300


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which rows are shown."""

    account: Annotated[str | None, Parameter(name=["--account", "-a"], help="Only this account.")] = None
    since: Annotated[
        str | None, Parameter(help="From this time on: 2014-05-08, 2014-05-08T13:30, or how long ago: 15m, 2h, 3d.")
    ] = None
    until: Annotated[str | None, Parameter(help="Before this time.")] = None
    limit: Annotated[
        int,
        Parameter(name=["--limit", "-n"], help="At most so many rows; 0 for all.", validator=validators.Number(gte=0)),
    ] = 20
    all_runs: Annotated[
        bool, Parameter(name="--all-runs", negative="", help="Of all executions, not only the newest of each account.")
    ] = False
    execution: Annotated[str | None, Parameter(help="Of this execution.")] = None
    state: State = None
    json: Json = False


ALL = Which()
Strategy = Annotated[str | None, Parameter(name=["--strategy", "-s"], help="Only this strategy.")]
Instrument = Annotated[str | None, Parameter(name=["--instrument", "-i"], help="Only this instrument.")]
Status = Annotated[
    list[str] | None, Parameter(name="--status", negative="", help="Only these states: several, or with commas.")
]


def _read(kind: str, target: str | None, which: Which, **words: Any) -> list[Row]:
    from tradekeel.bootstrap.reading import Query, read_rows

    query = Query(
        account=which.account,
        since=which.since,
        until=which.until,
        limit=which.limit or None,
        all_runs=which.all_runs,
        execution=which.execution,
        **words,
    )
    return list(read_rows(place(target, which.state), kind, query))


def _show(rows: Sequence[Row], which: Which, columns: Sequence[Column], empty: str) -> int:
    if which.json:
        write_json(rows)
    else:
        accounts = {row.get("account") for row in rows}
        print_table(rows, [c for c in columns if c.title != "account" or len(accounts) > 1], empty)
    return ExitCode.DONE


def trades(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    instrument: Instrument = None,
    status: Status = None,
    open_: Annotated[bool, Parameter(name="--open", negative="", help="Only trades that are not over.")] = False,
    which: Which = ALL,
) -> int:
    """Round trips: entry, exit, why, and what they brought. Profit is after fees and financing, in account currency."""
    states = ("PENDING", "OPEN", "CLOSING") if open_ else _upper(words_of(status))
    rows = _read("trades", target, which, strategy=strategy, instrument=instrument, status=states)
    return _show(rows, which, TRADE_COLUMNS, "No trades.")


def _upper(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(word.upper() for word in words)


def _lower(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(word.lower() for word in words)


def _why_closed(row: Row) -> str:
    return str(row["exit_reason"] or str(row["status"]).lower())


TRADE_COLUMNS = (
    Column("entered", lambda row: time("entry_time")(row) or time("created")(row), 1),
    Column("strategy", text("strategy"), 2),
    Column("symbol", text("symbol")),
    Column("side", text("side")),
    Column("units", amount("quantity"), 3, right=True),
    Column("entry", amount("entry_price"), right=True),
    Column("exit", amount("exit_price"), right=True),
    Column("closed by", _why_closed),
    Column("R", lambda row: rounded(row["r_multiple"], 2), 4, right=True),
    Column("pnl", money("pnl"), right=True),
    Column("exited", time("exit_time"), 8),
    Column("account", text("account"), 7),
    Column("trade", text("trade_id"), 9),
)


def orders(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    instrument: Instrument = None,
    status: Status = None,
    which: Which = ALL,
) -> int:
    """Orders and what became of them; `--status unknown` shows those that nobody can tell about."""
    words = _lower(words_of(status))
    rows = _read("orders", target, which, strategy=strategy, instrument=instrument, status=words)
    return _show(rows, which, ORDER_COLUMNS, "No orders.")


def _price(row: Row) -> str:
    return amount("price")(row) or amount("stop_price")(row)  # type: ignore[return-value]  # amounts are plain text


ORDER_COLUMNS = (
    Column("created", time("created"), 3),
    Column("strategy", text("strategy"), 4),
    Column("instrument", text("instrument")),
    Column("side", text("side")),
    Column("type", text("type"), 2),
    Column("for", text("purpose"), 5),
    Column("units", amount("quantity"), right=True),
    Column("filled", amount("filled_quantity"), 2, right=True),
    Column("price", _price, 2, right=True),
    Column("status", text("status")),
    Column("order", text("client_order_id"), 1),
    Column("reason", text("status_reason"), 8, folds=True),
    Column("account", text("account"), 9),
)


def fills(
    target: Target = None, /, *, strategy: Strategy = None, instrument: Instrument = None, which: Which = ALL
) -> int:
    """Executions that the venue reported: the only thing that moves a position."""
    rows = _read("fills", target, which, strategy=strategy, instrument=instrument)
    return _show(rows, which, FILL_COLUMNS, "No fills.")


FILL_COLUMNS = (
    Column("time", time("time"), 1),
    Column("instrument", text("instrument")),
    Column("side", text("side")),
    Column("units", amount("quantity"), right=True),
    Column("price", amount("price"), right=True),
    Column("fee", amount("fee"), right=True),
    Column("realised", money("realised"), right=True),
    Column("", text("liquidity"), 6),
    Column("order", text("client_order_id"), 7),
    Column("account", text("account"), 8),
)


def positions(target: Target = None, /, *, which: Which = ALL) -> int:
    """What is held, at its exact cost, with the profit at the last saved prices (in quote currency)."""
    rows = _read("positions", target, which)
    return _show(rows, which, POSITION_COLUMNS, "No positions.")


def _unrealised(row: Row) -> str:
    value = money("unrealised")(row)
    return f"{value} {row['unrealised_currency']}" if str(value) else ""


POSITION_COLUMNS = (
    Column("account", text("account"), 1),
    Column("instrument", text("instrument")),
    Column("side", text("side")),
    Column("units", amount("quantity"), right=True),
    Column("average", amount("average_price"), 2, right=True),
    Column("mark", amount("mark"), 2, right=True),
    Column("unrealised", _unrealised, right=True),
    Column("as of", time("mark_time"), 5),
)


def signals(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    instrument: Instrument = None,
    status: Status = None,
    which: Which = ALL,
) -> int:
    """What strategies wanted, before any risk check, and what became of it."""
    words = _lower(words_of(status))
    rows = _read("signals", target, which, strategy=strategy, instrument=instrument, status=words)
    return _show(rows, which, SIGNAL_COLUMNS, "No signals.")


SIGNAL_COLUMNS = (
    Column("time", time("generated_at"), 1),
    Column("strategy", text("strategy"), 2),
    Column("symbol", text("symbol")),
    Column("side", text("side")),
    Column("price", amount("entry_price"), right=True),
    Column("stop", amount("stop_loss"), 3, right=True),
    Column("target", amount("take_profit"), 3, right=True),
    Column("confidence", amount("confidence"), 6, right=True),
    Column("status", text("execution_status")),
    Column("reason", text("status_reason"), 4, folds=True),
    Column("session", text("session"), 7),
    Column("account", text("account"), 8),
)


def events(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    type_: Annotated[
        str | None, Parameter(name=["--type", "-t"], help="Only events (or records) of this type.")
    ] = None,
    journal: Annotated[
        bool, Parameter(name="--journal", negative="", help="The journal itself: everything that happened, numbered.")
    ] = False,
    which: Which = ALL,
) -> int:
    """What strategies said about their decisions; with --journal the record of everything that happened."""
    if journal:
        rows = _read("journal", target, which, type=type_, strategy=strategy)
        return _show(rows, which, JOURNAL_COLUMNS, "No records.")
    rows = _read("events", target, which, strategy=strategy, type=type_)
    return _show(rows, which, EVENT_COLUMNS, "No events.")


def _compact(value: Any) -> str:
    written = msgspec.json.encode(value).decode()
    return written if len(written) <= DATA_CHARACTERS_MAX else written[: DATA_CHARACTERS_MAX - 1] + "…"


def _record(row: Row) -> str:
    left_out = ("type", "ts_ns", "stamp", "correlation_id")
    return _compact(_telling({key: value for key, value in row["record"].items() if key not in left_out}))


def _telling(value: Any) -> Any:
    """What says something: the empty fields of a record are left out."""
    if isinstance(value, dict):
        kept = {key: _telling(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [], {}, "0")}
    return [_telling(item) for item in value] if isinstance(value, list) else value


EVENT_COLUMNS = (
    Column("time", time("time")),
    Column("strategy", text("strategy"), 2),
    Column("no", text("sequence"), 3, right=True),
    Column("type", text("type")),
    Column("data", lambda row: _compact(row["data"]), folds=True),
)
JOURNAL_COLUMNS = (
    Column("no", text("sequence"), right=True),
    Column("time", time("time"), 2),
    Column("type", text("type")),
    Column("record", _record, folds=True),
    Column("account", text("account"), 8),
)
