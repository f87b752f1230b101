"""Parquet, for those who compute with it.

Amounts are text there, too: an amount may have any number of digits, and a column of Parquet's own decimals has one scale
for all of its rows, so that ``0.0500`` would come back as another text. Whoever computes casts them (``CAST(pnl AS
DECIMAL(38, 18))``). Times are nanoseconds as 64-bit numbers, and beside them timestamps in UTC. What a column is stands in
its metadata (``kind``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tradekeel.storage.transfer.files import Sheet, Values, stored_places
from tradekeel.storage.transfer.tables import FileColumn, Kind

GROUP_ROWS = 50_000
"""Rows that are held in memory, and that a row group has."""

_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.DECIMAL: pa.string(),
    Kind.JSON: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.TIME: pa.timestamp("ns", tz="UTC"),
    Kind.BYTES: pa.binary(),
}


class ParquetSheet(Sheet):
    """See the module."""

    def __init__(self, path: Path, columns: Sequence[FileColumn]) -> None:
        super().__init__(path, columns)
        self._schema = _schema(columns)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", write_statistics=True)
        self._waiting: list[Values] = []

    def write(self, values: Values) -> None:
        """Put a row into it."""
        self._waiting.append(values)
        self.rows += 1
        if len(self._waiting) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        by_column = list(zip(*waiting, strict=True))
        arrays = [
            pa.array(by_column[place], type=field.type)
            for place, field in zip(self._sources, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=GROUP_ROWS)

    def close(self) -> None:
        """Nothing more comes."""
        self._flush()
        self._writer.close()


new = ParquetSheet


def rows(path: Path, columns: Sequence[FileColumn]) -> Iterator[Values]:
    """The rows as they go into the table. ValueError for anything that this module has not written."""
    names = [columns[place].name for place in stored_places(columns)]
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_schema(columns)):
                raise ValueError(f"{path.name} has other columns than its manifest says")
            for batch in file.iter_batches(batch_size=GROUP_ROWS, columns=names):
                yield from map(list, zip(*(column.to_pylist() for column in batch.columns), strict=True))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path.name}: {error}") from error


def _schema(columns: Sequence[FileColumn]) -> Any:
    return pa.schema(
        [
            pa.field(column.name, _TYPES[column.kind], nullable=column.null, metadata={"kind": column.kind.value})
            for column in columns
        ]
    )
