"""JSON lines: an object a row, amounts as text, JSON as it is in the table, bytes as base64."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tradekeel.domain.times import iso
from tradekeel.storage.transfer.files import Sheet, Values, stored_places
from tradekeel.storage.transfer.tables import FileColumn, Kind

_TYPES: dict[Kind, Any] = {
    Kind.TEXT: str | None,
    Kind.DECIMAL: str | None,
    Kind.INTEGER: int | None,
    Kind.TIME: str | None,
    Kind.BYTES: str | None,
    Kind.JSON: msgspec.Raw,
}
_NULL = msgspec.Raw(b"null")


class JsonLinesSheet(Sheet):
    """See the module."""

    def __init__(self, path: Path, columns: Sequence[FileColumn]) -> None:
        super().__init__(path, columns)
        self._file = path.open("wb")
        self._row = _row_type(columns)
        self._encode = msgspec.json.Encoder().encode
        self._writers = [_WRITERS.get(column.kind) for column in columns]

    def write(self, values: Values) -> None:
        """Put a row into it."""
        cells = zip(self._writers, self.full(values), strict=True)
        line = self._encode(self._row(*(value if write is None else write(value) for write, value in cells)))
        if b"\n" in line:
            raise ValueError("JSON in the table has a line feed in it, which Tradekeel never writes")
        self._file.write(line + b"\n")
        self.rows += 1

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()


new = JsonLinesSheet


def rows(path: Path, columns: Sequence[FileColumn]) -> Iterator[Values]:
    """The rows as they go into the table. ValueError for anything that this module has not written."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_row_type(columns))
    places, kinds = stored_places(columns), [column.kind for column in columns]
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                values = msgspec.structs.astuple(decoder.decode(line))
                yield [_read(values[place], kinds[place]) for place in places]
            except (msgspec.MsgspecError, ValueError) as error:
                raise ValueError(f"row {number} of {path.name}: {error}") from error


def _row_type(columns: Sequence[FileColumn]) -> Any:
    names = [f"c{place}" for place in range(len(columns))]  # some columns are called as no field of Python can be
    fields = [(name, _TYPES[column.kind]) for name, column in zip(names, columns, strict=True)]
    shown = {name: column.name for name, column in zip(names, columns, strict=True)}
    return msgspec.defstruct("Row", fields, rename=shown, forbid_unknown_fields=True)


def _read(value: Any, kind: Kind) -> Any:
    if kind is Kind.JSON:
        text = bytes(value).decode()
        return None if text == "null" else text
    if kind is Kind.BYTES and value is not None:
        return b64decode(value, validate=True)
    return value


_WRITERS: dict[Kind, Any] = {
    Kind.TIME: lambda value: None if value is None else iso(value),
    Kind.BYTES: lambda value: None if value is None else b64encode(value).decode(),
    Kind.JSON: lambda value: _NULL if value is None else msgspec.Raw(value.encode()),
}
