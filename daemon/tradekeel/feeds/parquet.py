"""Parquet: files of ticks in columns, read a batch of rows at a time.

Columns are found by name: ``ts_ns`` (or what ``columns.time`` says), ``bid``, ``ask`` (or what bars have), and, where they are
there, ``bid_size``, ``ask_size`` and ``instrument``. A column's distinct values are read once a batch, and rows refer to them,
so that a price that repeats costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tradekeel.errors import DataError
from tradekeel.feeds.candles import CandlePath
from tradekeel.feeds.files import DataFile
from tradekeel.feeds.rows import BadRow, Quotes, Row, RowKind
from tradekeel.feeds.stream import Block, Piece
from tradekeel.feeds.times import UNITS_NS, time_reader
from tradekeel.feeds.typed import (
    Amounts,
    Counted,
    Moments,
    OnTheWall,
    Written,
    bare_symbol,
    counted,
    typed_row,
    typed_time,
)
from tradekeel.feeds.zones import BadTime

T = TypeVar("T")

BATCH_ROWS = 16_384
BATCH_CANDLES = 1_024
INSTRUMENT, TIME, SIZES = "instrument", "ts_ns", ("bid_size", "ask_size")
"""The names of columns that are looked for where the settings name none."""


class ParquetColumns(NamedTuple):
    """The columns that are to be read; None: that of the usual name, if there is one."""

    time: str | None
    prices: tuple[str, ...]  # bid and ask; of bars open, high, low and close
    bid_size: str | None
    ask_size: str | None
    instrument: str | None


class _Bound(NamedTuple):
    """The columns of one file."""

    time: str
    prices: tuple[str, ...]
    bid_size: str | None
    ask_size: str | None
    instrument: str | None
    moments: Moments

    @property
    def names(self) -> list[str]:
        names = (self.time, *self.prices, self.bid_size, self.ask_size, self.instrument)
        return [name for name in names if name is not None]


class ParquetRows:
    """Reads such files. A :class:`~tradekeel.feeds.stream.PartReader`."""

    unit = "row"
    advice = "Look at columns, time_format and floats"

    def __init__(
        self,
        columns: ParquetColumns,
        instrument: str,
        candles: CandlePath | None = None,
        *,
        time_format: str,
        zone: tzinfo,
        floats: bool,
    ) -> None:
        self.instrument = instrument
        self.candles = candles  # the rows are bars, and played back so
        self.amounts = Amounts(floats=floats)
        self.share_read = 0.0
        self._columns = columns
        self._time_format = time_format
        self._zone = zone
        self._floats = floats

    def span(self, part: DataFile) -> tuple[int, int] | None:
        """Rows say their own time."""
        return None

    def pieces(self, part: DataFile) -> Iterator[Piece]:
        """A batch of rows at a time."""
        with _named(part.name):
            with pq.ParquetFile(part.path) as first:
                schema = first.schema_arrow
            bound = self._bind(schema, part.name)
            texts = [name for name in bound.names if pa.types.is_string(schema.field(name).type) and name != bound.time]
            row, total = 1, 0
            self.share_read = 0.0
            with pq.ParquetFile(part.path, read_dictionary=texts) as file:
                total = file.metadata.num_rows
                size = BATCH_ROWS if self.candles is None else BATCH_CANDLES
                for batch in file.iter_batches(batch_size=size, columns=bound.names, use_threads=False):
                    piece = BatchPiece(self, bound, batch, row)
                    row += batch.num_rows
                    self.share_read = (row - 1) / total
                    yield piece
            self.share_read = 1.0

    def finish(self, counts: Mapping[str, int]) -> None:
        """An empty file is one."""

    def _bind(self, schema: Any, where: str) -> _Bound:
        """Find the columns. Raises :class:`DataError`."""
        known = schema.names

        def wanted(name: str, *others: str) -> str:
            found = next((each for each in (name, *others) if each in known), None)
            if found is None:
                names = " or ".join(map(repr, (name, *others)))
                raise DataError(
                    f"{where}: no column {names}: it has {', '.join(map(repr, known))}; say which under columns"
                )
            return found

        def usual(name: str | None, default: str) -> str | None:
            return wanted(name) if name is not None else default if default in known else None

        columns = self._columns
        time = wanted(columns.time) if columns.time else wanted(TIME, "time")
        bound = _Bound(
            time,
            tuple(map(wanted, columns.prices)),
            usual(columns.bid_size, SIZES[0]),
            usual(columns.ask_size, SIZES[1]),
            usual(columns.instrument, INSTRUMENT),
            self._moments(schema.field(time).type, time, where),
        )
        for name in (*bound.prices, bound.bid_size, bound.ask_size):
            if name is not None:
                self._demand_exact(schema.field(name).type, name, where)
        return bound

    def _moments(self, kind: Any, name: str, where: str) -> Moments:
        if pa.types.is_timestamp(kind):
            return OnTheWall(self._zone) if kind.tz is None else Counted(1)
        if pa.types.is_integer(kind):
            return counted(self._time_format, name, where)
        is_fraction = pa.types.is_float64(kind) or pa.types.is_decimal(kind)
        if _is_text(kind) or (is_fraction and self._time_format in UNITS_NS):
            return Written(time_reader(self._time_format, self._zone))
        raise DataError(f"{where}: the column {name!r} is of the type {kind}, which is no time")

    def _demand_exact(self, kind: Any, name: str, where: str) -> None:
        if pa.types.is_float64(kind) and not self._floats:
            raise DataError(
                f"{where}: the column {name!r} is of the type {kind}, which holds no price exactly: write text or decimals, or "
                "set floats = true to take the shortest number for each"
            )
        if not (
            pa.types.is_float64(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_null(kind)
            or _is_text(kind)
        ):
            raise DataError(f"{where}: the column {name!r} is of the type {kind}: write text or decimals")


class BatchPiece:
    """Some rows of a file."""

    def __init__(self, reader: ParquetRows, bound: _Bound, batch: Any, first: int) -> None:
        self._reader = reader
        self._bound = bound
        self._batch = batch
        self._first = first  # the number of its first row in the file
        self._mask: Any = None  # which of its rows are our instrument's; None: all
        if bound.instrument is not None:
            self._mask = _rows_of(batch.column(bound.instrument), reader.instrument)

    @property
    def _own(self) -> Any:
        return self._batch if self._mask is None else self._batch.filter(self._mask)

    def _numbers(self) -> Sequence[int]:
        first = self._first
        if self._mask is None:
            return range(first, first + self._batch.num_rows)
        return [first + place for place in pc.indices_nonzero(self._mask).to_pylist()]

    def at_once(self) -> Block | None:
        """All rows by column, or None if one needs a closer look."""
        own, bound, amounts = self._own, self._bound, self._reader.amounts
        if not own.num_rows:
            return Block(Quotes((), (), ()), 0, self._numbers)
        if own.column(bound.time).null_count or self._reader.candles is not None:
            return None
        try:
            prices = (_column(own.column(name), amounts.price) for name in bound.prices)
            sizes = (_sizes(own, name, amounts) for name in (bound.bid_size, bound.ask_size))
            quotes = Quotes(bound.moments.column(_times(own.column(bound.time))), *prices, *sizes)
        except (BadRow, BadTime, ValueError, TypeError):
            return None
        return Block(quotes, own.num_rows, self._numbers)

    def rows(self) -> Iterator[tuple[int, Any]]:
        """Its rows, as values."""
        own, bound = self._own, self._bound
        nothing = [None] * own.num_rows
        columns = [
            _times(own.column(bound.time)),
            *(
                nothing if name is None else own.column(name).to_pylist()
                for name in (*bound.prices, bound.bid_size, bound.ask_size)
            ),
        ]
        return zip(self._numbers(), zip(*columns, strict=True), strict=True)

    def row(self, row: Any, last_ns: int) -> tuple[list[Row], BadRow | None] | str:
        """The quote of a row."""
        moments, amounts, candles = self._bound.moments, self._reader.amounts, self._reader.candles
        if candles is None:
            return [typed_row(moments, amounts, row, last_ns)], None
        time, *prices, _, _ = row
        return candles.row(typed_time(moments, time, last_ns), *map(amounts.price, prices))

    def before(self, number: int) -> BatchPiece | None:
        """The rows before one."""
        count = number - self._first
        return BatchPiece(self._reader, self._bound, self._batch.slice(0, count), self._first) if count else None


def _times(column: Any) -> list[Any]:
    """Times as Python has them: what Arrow counts in another unit becomes nanoseconds, also where it has no room for so many."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        unit_ns = UNITS_NS[f"epoch_{kind.unit}"]
        counts = column.cast(pa.int64()).to_pylist()
        return counts if unit_ns == 1 else [None if count is None else count * unit_ns for count in counts]
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    values: list[Any] = column.to_pylist()
    return values


def _column(column: Any, read: Callable[[Any], T]) -> list[T]:
    """A column's numbers: each distinct value is read once."""
    if column.null_count:
        raise BadRow(RowKind.NON_NUMERIC, "there is no price")
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = list(map(read, encoded.dictionary.to_pylist()))
    return list(map(values.__getitem__, encoded.indices.to_pylist()))


def _sizes(batch: Any, name: str | None, amounts: Amounts) -> list[Decimal | None] | None:
    column = None if name is None else batch.column(name)
    if column is None or column.null_count == batch.num_rows:
        return None
    if column.null_count:
        return list(map(amounts.size, column.to_pylist()))
    return _column(column, amounts.size)


def _rows_of(column: Any, instrument: str) -> Any:
    """Which rows are of an instrument, whether it is written EUR_USD, EURUSD or EUR/USD; None: all."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    wanted = bare_symbol(instrument)
    own = [bare_symbol(str(name)) == wanted for name in encoded.dictionary.to_pylist()]
    if all(own) and not column.null_count:
        return None
    is_own = pa.array(own, type=pa.bool_())
    mask = pc.fill_null(pc.take(is_own, encoded.indices), False)
    return None if pc.all(mask).as_py() else mask


def _is_text(kind: Any) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))
    )


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with reading a file into an error that names it."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{name} does not exist any more") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name} cannot be read as Parquet: {error}; it may be cut short, damaged, or another kind of file"
        ) from None


def names_in(path: str) -> list[str]:
    """The names of a file's columns. Raises :class:`DataError`."""
    with _named(path), pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


class FirstValues(NamedTuple):
    """Some values of a column of times."""

    times_ns: list[int] | None  # None: what they count, or how they are written, is not known from their type
    texts: list[str]  # those that have to be looked at, as written


def first_values(path: str, column: str, rows: int) -> FirstValues:
    """The first times of a file; those that are empty are left out. Raises :class:`DataError`."""
    with _named(path), pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            return FirstValues([], [])
        kind = file.schema_arrow.field(column).type
        batch = next(file.iter_batches(batch_size=rows, columns=[column], use_threads=False), None)
        values = [] if batch is None else [value for value in _times(batch.column(0)) if value is not None]
    if pa.types.is_timestamp(kind) or column.endswith("_ns"):
        return FirstValues(values, [])
    return FirstValues(None, [repr(value) if isinstance(value, float) else str(value) for value in values])


def instruments_in(paths: Sequence[str], column: str) -> list[str]:
    """The instruments that files name, none where they have no such column. Raises :class:`DataError`."""
    found: dict[str, None] = {}
    for path in paths:
        with _named(path), pq.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                return []
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column], use_threads=False):
                found.update((str(name), None) for name in batch.column(0).unique().to_pylist() if name is not None)
            if len(found) > INSTRUMENTS_MAX:
                raise DataError(
                    f"{path}: more than {INSTRUMENTS_MAX} instruments in the column {column!r}: is it that column?"
                )
    return list(found)


INSTRUMENTS_MAX = 1_000
