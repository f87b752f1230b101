"""Between a domain row and a table's row, exactly, in both directions.

A :class:`Mapping` is made once for each row type from its table: which fields need encoding, in which order the values
go to the driver, and which SQL writes them. The recorder works with these alone; SQLAlchemy is not on its path. A row
keeps its identity for life (whose it is, what it trades, which way): a write that would give a known id another
identity writes nothing, which the store takes for what it is, two different things under one id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import astuple
from sqlalchemy import Table, Text, and_, cast
from sqlalchemy import insert as plain_insert
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Insert

from tradekeel.domain.messages import Fill, Signal
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.orders import Order
from tradekeel.domain.rows import (
    ExecutionRow,
    MetricsCheckpoint,
    ParameterChange,
    PerformanceSnapshot,
    StrategyEvent,
    StrategyRow,
    VenueCursor,
)
from tradekeel.domain.tasks import TaskExecution, TaskRow
from tradekeel.domain.trades import Trade
from tradekeel.errors import StoreCorrupt, named
from tradekeel.storage import tables
from tradekeel.storage.backend import RESTORE, Backend
from tradekeel.storage.checksums import metrics_crc
from tradekeel.storage.columns import Coded, Json, Money, Texts, money_text

RowT = TypeVar("RowT", bound=Struct)
Values = Sequence[Any]
"""A table's row as the driver takes and gives it."""


def _derived(trade: Trade) -> tuple[Decimal | None, ...]:
    """What people want to read of a trade without computing; in the order of :data:`DERIVED`."""
    with ledger():
        if not trade.entered_quantity:
            return (None, None, trade.pnl, None, None, None)
        planned = trade.risk_reward_ratio if trade.take_profit is not None else None
        if not trade.exited_quantity:
            return (trade.entry_price, None, trade.pnl, None, None, planned)
        return (trade.entry_price, trade.exit_price, trade.pnl, trade.pnl_percentage, trade.r_multiple, planned)


DERIVED = ("entry_price", "exit_price", "pnl", "pnl_percentage", "r_multiple", "risk_reward_ratio")

IDENTITY: dict[type[Struct], tuple[str, ...]] = {
    ExecutionRow: ("account", "number", "mode", "venue", "currency", "started_ns"),
    StrategyRow: (),
    Signal: (
        *("execution", "strategy", "symbol", "timeframe", "side", "confidence", "entry_price", "stop_loss"),
        *("take_profit", "session", "pattern_type", "generated_at_ns", "rl_state_key", "rl_action_key", "trade_id"),
    ),
    Trade: (
        *("signal_id", "execution", "account", "strategy", "venue", "symbol", "side", "trailing_percent", "exit_at_ns"),
        *("session", "timeframe", "pattern_type", "model", "confidence_score", "meta_strategy_id", "regime"),
        *("rl_state_key", "rl_action_key", "correlation_id", "parameter_mode", "tags", "metadata", "created_ns"),
    ),
    Order: (
        *("execution", "account", "strategy", "instrument", "side", "type", "purpose", "time_in_force"),
        *("trail_distance", "expire_at_ns", "reduce_only", "trade_id", "signal_id", "parent_id", "oco_group"),
        *("after_cancel_of", "close_reason", "source", "decision", "leg", "attempt", "renews", "correlation_id"),
        *("closes", "reference_price", "created_ns", "deadline_ns", "stamp"),
    ),
    VenueCursor: (),
}
"""Rows that come again in newer versions, and the columns that stay. All other rows are written once, ever.

What stays is left out of updates. So SQLite need not look after the references, checks and indexes of these columns again,
which is a good part of what a newer version of an order or a trade costs.
"""


class Mapping(Generic[RowT]):
    """One row type and its table."""

    def __init__(self, row_type: type[RowT], table: Table) -> None:
        self.row_type = row_type
        self.table = table
        self.fields = row_type.__struct_fields__
        names = list(self.fields)
        self._takes_execution = "execution" not in names and "execution" in table.c
        if self._takes_execution:
            names.append("execution")
        if row_type is Trade:
            names.extend(DERIVED)
        if row_type is MetricsCheckpoint:
            names.append("crc")
        self.columns = tuple(names)
        self.key_columns = tuple(column.name for column in table.primary_key if column.name != "id")
        self.versioned = row_type in IDENTITY
        types = [table.c[name].type for name in self.columns]
        self._money = tuple(index for index, type_ in enumerate(types) if isinstance(type_, Money))
        coded = [(index, type_) for index, type_ in enumerate(types) if isinstance(type_, Coded)]
        self._encoders = tuple((index, type_.encode) for index, type_ in coded if not isinstance(type_, Money))
        self._decoders = tuple((index, type_.decode) for index, type_ in coded if index < len(self.fields))
        self._inserts: dict[str, str] = {}
        listed = ", ".join(f'"{name}"' for name in self.columns)
        self.select_sql = f'SELECT {listed} FROM "{table.name}"'  # noqa: S608  # names of our own tables
        # What makes a row the newer version of another. Rows that are written once have no need for it.
        self.key: Callable[[RowT], Any] = attrgetter(*self.key_columns) if self.versioned else _no_key

    def insert_sql(self, backend: Backend) -> str:
        """The statement that writes a row, with one ? for each of :attr:`columns`."""
        dialect = backend.dialect
        known = self._inserts.get(dialect.name)
        if known is None:
            statement = _upsert(self, dialect) if self.versioned else plain_insert(self.table)
            known = self._inserts[dialect.name] = _sql(statement, self.columns, dialect)
        return known

    def encode(self, row: RowT, execution: str) -> list[Any]:
        """The values for the driver, in the order of :attr:`columns`. Raises ValueError or TypeError on what no column takes."""
        values = list(astuple(row))
        if self._takes_execution:
            values.append(execution)
        if isinstance(row, Trade):
            values.extend(_derived(row))
        elif isinstance(row, MetricsCheckpoint):
            values.append(metrics_crc(row))
        for index in self._money:
            value = values[index]
            if value is ZERO:
                values[index] = "0"  # what most amounts of a young trade are
            elif value is not None:
                values[index] = money_text(value)
        for index, encode in self._encoders:
            value = values[index]
            if value is not None:
                values[index] = encode(value)
        return values

    def decode(self, values: Values) -> RowT:
        """The row from the driver's values in the order of :attr:`columns`; columns beyond the row's fields are left out.

        Raises :class:`~tradekeel.errors.StoreCorrupt` on values that nobody of ours has written.
        """
        decoded = list(values[: len(self.fields)])
        try:
            for index, decode in self._decoders:
                value = decoded[index]
                if value is not None:
                    decoded[index] = decode(value)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise StoreCorrupt(f"a row of {self.table.name} is damaged ({named(error)}). {RESTORE}") from error
        return self.row_type(**dict(zip(self.fields, decoded, strict=True)))


def _no_key(row: Struct) -> Any:
    raise AssertionError(f"{type(row).__name__} rows are written once and never replaced")


def _upsert(mapping: Mapping[Any], dialect: Dialect) -> Insert:
    """Insert, or replace the changing columns of the same thing."""
    table, fixed = mapping.table, IDENTITY[mapping.row_type]
    statement = _inserted(table, dialect)
    changing = [name for name in mapping.columns if name not in fixed and name not in mapping.key_columns]
    same = [
        _compared(table.c[name], dialect).is_not_distinct_from(_compared(statement.excluded[name], dialect))
        for name in fixed
    ]
    upsert: Insert = statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: statement.excluded[name] for name in changing},
        where=and_(*same) if same else None,
    )
    return upsert


def _inserted(table: Table, dialect: Dialect) -> Any:
    """The dialect's own INSERT; a dialect is imported where there are books on its database."""
    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _compared(column: Any, dialect: Dialect) -> Any:
    """A column that can be compared: PostgreSQL knows no equality of JSON."""
    return cast(column, Text) if dialect.name == "postgresql" and isinstance(column.type, Json | Texts) else column


def _sql(statement: Insert, columns: Sequence[str], dialect: Dialect) -> str:
    """The statement as text with one ? a column, in the order of ``columns``."""
    ordered = statement.values(dict.fromkeys(columns))
    compiled = ordered.compile(dialect=dialect, column_keys=list(columns))
    if tuple(compiled.positiontup or ()) != tuple(columns):
        raise AssertionError(f"{statement.table.name}: placeholders {compiled.positiontup} are not {columns}")
    return str(compiled)


@cache
def mappings() -> dict[type[Struct], Mapping[Any]]:
    """Every row type's mapping, in an order in which no row comes before one that it refers to."""
    pairs: list[tuple[type[Struct], Table]] = [
        (ExecutionRow, tables.executions),
        (StrategyRow, tables.strategies),
        (Signal, tables.signals),
        (Trade, tables.trades),
        (Order, tables.orders),
        (Fill, tables.fills),
        (StrategyEvent, tables.strategy_events),
        (PerformanceSnapshot, tables.performance_snapshots),
        (ParameterChange, tables.parameter_history),
        (VenueCursor, tables.venue_cursors),
        (MetricsCheckpoint, tables.metrics_checkpoints),
    ]
    return {row_type: Mapping(row_type, table) for row_type, table in pairs}


@cache
def _beside() -> dict[type[Struct], Mapping[Any]]:
    """Rows that are no part of the books: they follow from no journal."""
    return {
        TaskRow: Mapping(TaskRow, tables.tasks),
        TaskExecution: Mapping(TaskExecution, tables.task_executions),
    }


def mapping_of(row_type: type[RowT]) -> Mapping[RowT]:
    """The mapping of one row type."""
    return mappings().get(row_type) or _beside()[row_type]
