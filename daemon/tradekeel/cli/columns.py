"""What the tables of the reading commands show: which columns, and which of them stay when room is short."""

from __future__ import annotations

from typing import Any

import msgspec

from tradekeel.cli.render import (
    Column,
    Row,
    amount,
    cash,
    end_of_id,
    moment,
    money,
    price,
    rounded,
    text,
    time,
    time_of_year,
    trimmed,
)

DATA_CHARACTERS_MAX = 300


def _why_closed(row: Row) -> str:
    if row["after_the_run"] is not None:
        return str(row["after_the_run"])  # it is open in the books of its run, and of that alone
    why = str(row["exit_reason"] if row["status"] == "CLOSED" else "") or str(row["status"]).lower()
    return f"{why}, carried" if row["carried_over"] else why


def _when(title: str, name: str, weight: int) -> Column:
    return Column(title, time(name), weight, short=time_of_year(name))


# Which account (it is left out where there is only one) and which strategy a row belongs to stays in every table.
ACCOUNT = Column("account", text("account"))
RUN = Column("run", lambda row: f"#{row['run']}")  # only where rows of several runs may be shown
STRATEGY = Column("strategy", text("strategy"))

TRADE_COLUMNS = (
    Column(
        "entered",
        lambda row: time("entry_time")(row) or time("created")(row),
        2,
        short=lambda row: time_of_year("entry_time")(row) or time_of_year("created")(row),
    ),
    ACCOUNT,
    RUN,
    STRATEGY,
    Column("symbol", text("symbol")),
    Column("side", text("side")),
    Column("units", amount("quantity"), 3, right=True),
    Column("entry", price("entry_price", "symbol"), 1, right=True),
    Column("exit", price("exit_price", "symbol"), 1, right=True),
    Column("closed by", _why_closed),
    Column("R", lambda row: rounded(row["r_multiple"], 2), 4, right=True),
    Column("pnl", money("pnl"), right=True),
    _when("exited", "exit_time", 8),
    Column("trade", text("trade_id"), 9, short=end_of_id("trade_id")),
)


def _price(row: Row) -> str:
    return price("price", "instrument")(row) or price("stop_price", "instrument")(row)  # type: ignore[return-value]  # amounts are plain text


ORDER_COLUMNS = (
    _when("created", "created", 3),
    ACCOUNT,
    RUN,
    STRATEGY,
    Column("instrument", text("instrument")),
    Column("side", text("side")),
    Column("type", text("type"), 1),  # a stop and a target beside each other differ in nothing else
    Column("for", text("purpose"), 6),
    Column("units", amount("quantity"), right=True),
    Column("filled", amount("filled_quantity"), 4, right=True),
    Column("price", _price, 2, right=True),
    Column("status", text("status")),
    Column("order", text("client_order_id"), 5, short=end_of_id("client_order_id")),
    Column("reason", text("status_reason"), 8, folds=True),
)
_ORDER, _STRATEGY_MAY_GO = Column("order", text("client_order_id")), Column("strategy", text("strategy"), 1)
# Of an UNKNOWN order the whole id is wanted: `tradekeel resolve` asks for it.
UNKNOWN_ORDER_COLUMNS = tuple({"order": _ORDER, "strategy": _STRATEGY_MAY_GO}.get(c.title, c) for c in ORDER_COLUMNS)

FILL_COLUMNS = (
    _when("time", "time", 1),
    ACCOUNT,
    RUN,
    Column("instrument", text("instrument")),
    Column("side", text("side")),
    Column("units", amount("quantity"), right=True),
    Column("price", price("price", "instrument"), right=True),
    Column("fee", cash("fee"), right=True),
    Column("realised", money("realised"), right=True),
    Column("", text("liquidity"), 7),
    Column("order", text("client_order_id"), 6, short=end_of_id("client_order_id")),
)


def _unrealised(row: Row) -> str:
    value = money("unrealised", "unrealised_currency")(row)
    return f"{value} {row['unrealised_currency']}" if str(value) else ""


POSITION_COLUMNS = (
    ACCOUNT,
    Column("instrument", text("instrument")),
    Column("side", text("side")),
    Column("units", amount("quantity"), right=True),
    Column("average", price("average_price", "instrument"), 2, right=True),
    Column("mark", price("mark", "instrument"), 1, right=True),
    Column("unrealised", _unrealised, right=True),
    _when("as of", "mark_time", 3),
)

SIGNAL_COLUMNS = (
    _when("time", "generated_at", 1),
    ACCOUNT,
    RUN,
    STRATEGY,
    Column("symbol", text("symbol")),
    Column("side", text("side")),
    Column("price", price("entry_price", "symbol"), 1, right=True),
    Column("stop", price("stop_loss", "symbol"), 3, right=True),
    Column("target", price("take_profit", "symbol"), 3, right=True),
    Column("confidence", amount("confidence"), 6, right=True),
    Column("status", text("execution_status")),
    Column("reason", text("status_reason"), 4, folds=True),
    Column("session", text("session"), 7),
)


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
    _when("time", "time", 4),
    ACCOUNT,
    RUN,
    STRATEGY,
    Column("no", text("sequence"), 3, right=True),
    Column("type", text("type")),
    Column("data", lambda row: _compact(row["data"]), folds=True),
)
JOURNAL_COLUMNS = (
    Column("no", text("sequence"), right=True),
    ACCOUNT,
    _when("time", "time", 2),
    Column("type", text("type")),
    Column("record", _record, folds=True),
)


def _of_percent(value: str | None) -> str:
    return "" if value is None else f"{float(value):.0%}"


def _market_end(row: Row) -> str | None:
    """The market's time at the end, which of a recorded feed is long ago. What `--fresh` has closed was closed by the clock."""
    by_the_clock = bool(row["data_fingerprint"]) and (row["closed_ns"] or 0) >= row["started_ns"]
    return None if by_the_clock else row["closed"]


EXECUTION_COLUMNS = (
    ACCOUNT,
    Column("no", text("number"), right=True),
    Column("execution", text("execution")),
    Column("status", text("status")),
    _when("started (clock)", "started", 1),
    Column(
        "ended at (market)", lambda row: moment(_market_end(row)), 3, short=lambda row: moment(_market_end(row))[5:]
    ),
    Column("mode", text("mode"), 6),
    Column("took over", lambda row: f"{trimmed(row['opening_balance'])} {row['currency']}", 5, right=True),
    Column("why", text("close_reason"), 4, folds=True),
)
SNAPSHOT_COLUMNS = (
    _when("time", "time", 0),
    ACCOUNT,
    Column("trades", text("total_trades"), 2, right=True),
    Column("won", lambda row: _of_percent(row["win_rate"]), 3, right=True),
    Column("pnl", money("pnl"), right=True),
    Column("balance", cash("balance"), right=True),
    Column("equity", cash("equity"), right=True),
    Column("drawdown", amount("max_drawdown"), 4, right=True),
    Column("sharpe", lambda row: rounded(row["sharpe"], 2), 6, right=True),
    Column("reward", lambda row: rounded(row["average_risk_reward"], 2), 7, right=True),
    Column("session", text("session"), 8),
    Column("mode", text("parameter_mode"), 9),
)
PARAMETER_COLUMNS = (
    _when("time", "time", 1),
    ACCOUNT,
    STRATEGY,
    Column("parameter", text("name"), folds=True),
    Column("old", text("old"), folds=True),
    Column("new", text("new"), folds=True),
    Column("by", text("changed_by"), 4),
    Column("reason", text("reason"), 5, folds=True),
)
