"""Ticks written into a Parquet file, as :mod:`~tradekeel.feeds.parquet` reads them.

Prices and sizes are text: a column of Parquet's own decimals has one scale for all of its rows, so that 1.10 would come back as
another text than it was written with. Whoever computes casts them (``CAST(bid AS DECIMAL(18, 8))``). Beside the nanoseconds
stands the same moment as a timestamp, for people; it is not read back.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tradekeel.domain.ticks import Tick
from tradekeel.errors import InputError, StoreUnavailable

GROUP_ROWS = 65_536
"""Rows that are held in memory, and that a row group has."""

_AMOUNTS = ("bid", "ask", "bid_size", "ask_size")
_WORDS = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("instrument", _WORDS, nullable=False),
        pa.field("ts_ns", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False),
        *(pa.field(name, pa.string(), nullable=name.endswith("size")) for name in _AMOUNTS),
    ]
)


class TickFile:
    """A new file of ticks, in the order in which they are put into it. Use it as a context manager.

    Whoever looks at its name finds all of it, on the disk, or nothing: it is written beside it first.
    """

    def __init__(self, path: Path) -> None:
        """Raises :class:`InputError` where there is something of that name already, or no folder for it."""
        if path.suffix.lower() not in (".parquet", ".pq"):
            raise InputError(f"{path}: name a file that ends in .parquet")
        if os.path.lexists(path):
            raise InputError(f"{path} exists already, and nothing is ever replaced: choose another name")
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent}: make it first")
        self.rows = 0
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._waiting: list[Tick] = []

    def __enter__(self) -> Self:
        with _written(self._path):
            self._file = self._partial.open("ab")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._file.truncate(0)  # what a conversion that was killed has left
                self._writer: Any = pq.ParquetWriter(
                    self._file,
                    SCHEMA,
                    compression="zstd",
                    write_statistics=True,
                    use_dictionary=["instrument", *_AMOUNTS],
                    column_encoding=dict.fromkeys(("ts_ns", "time"), "DELTA_BINARY_PACKED"),
                )
            except BlockingIOError:
                self._file.close()
                raise InputError(f"{self._path} is being written by somebody else at this moment") from None
            except OSError:
                self._file.close()
                raise
        return self

    def write(self, ticks: Sequence[Tick]) -> None:
        """Put ticks into it. Raises StoreUnavailable where the disk takes no more."""
        self._waiting += ticks
        self.rows += len(ticks)
        with _written(self._path):
            while len(self._waiting) >= GROUP_ROWS:
                self._flush(GROUP_ROWS)

    def _flush(self, count: int) -> None:
        ticks, self._waiting = self._waiting[:count], self._waiting[count:]
        times = pa.array(list(map(attrgetter("ts_ns"), ticks)), pa.int64())
        amounts = [pa.array(_texts(list(map(attrgetter(name), ticks))), pa.string()) for name in _AMOUNTS]
        names = pa.array(list(map(attrgetter("instrument"), ticks)), pa.string()).dictionary_encode()
        columns = [names, times, times.cast(SCHEMA.field("time").type), *amounts]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=GROUP_ROWS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with _written(self._path):
                    self._finish()
            else:
                with suppress(OSError, pa.ArrowException):
                    self._writer.close()
        finally:
            self._partial.unlink(missing_ok=True)
            with suppress(OSError):
                self._file.close()

    def _finish(self) -> None:
        """Everything is on the disk, and has its name. Raises OSError."""
        if self._waiting:
            self._flush(len(self._waiting))
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        os.link(self._partial, self._path)  # fails where something of that name is there by now
        _sync(self._path.parent)


def _texts(values: list[Any]) -> list[str | None]:
    """Amounts exactly as they are written, without an exponent; a price that repeats is written once."""
    known: dict[Any, str | None] = {None: None}
    ids = list(map(id, values))  # equal amounts may have different texts: 1.10 and 1.1
    for place, value in zip(ids, values, strict=True):
        if place not in known:
            known[place] = None if value is None else f"{value:f}"
    return [known[place] for place in ids]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn what goes wrong with writing into an error that names the file."""
    try:
        yield
    except FileExistsError:
        raise InputError(f"{path} exists by now, and nothing is ever replaced: choose another name") from None
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be written: {error.strerror or error}") from error
