"""CSV in UTF-8 with a line of names, as RFC 4180 has it but for the end of a line, which is a single line feed.

Texts stand in quotation marks, always; numbers, amounts and times do not. Nothing between two commas is NULL, ``""`` is a
text without a character: PostgreSQL's COPY and others read it so. Bytes are base64.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tradekeel.domain.times import iso
from tradekeel.storage.transfer.files import Sheet, Values, stored_places
from tradekeel.storage.transfer.tables import FileColumn, Kind

_CELL = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n)')


class CsvSheet(Sheet):
    """See the module."""

    def __init__(self, path: Path, columns: Sequence[FileColumn]) -> None:
        super().__init__(path, columns)
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._writers = [_WRITERS[column.kind] for column in columns]
        self._file.write(",".join(column.name for column in columns) + "\n")

    def write(self, values: Values) -> None:
        """Put a row into it."""
        cells = zip(self._writers, self.full(values), strict=True)
        self._file.write(",".join("" if value is None else write(value) for write, value in cells) + "\n")
        self.rows += 1

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()


new = CsvSheet


def rows(path: Path, columns: Sequence[FileColumn]) -> Iterator[Values]:
    """The rows as they go into the table. ValueError for anything that this module has not written."""
    places, kinds = stored_places(columns), [column.kind for column in columns]
    with path.open(encoding="utf-8", newline="\n") as file:
        records = _records(file)
        names = [name for name, _ in next(records, [])]
        if names != [column.name for column in columns]:
            raise ValueError(f"the first line of {path.name} names other columns: {', '.join(map(str, names))}")
        for number, cells in enumerate(records, start=1):
            if len(cells) != len(columns):
                raise ValueError(f"row {number} of {path.name} has {len(cells)} columns, and not {len(columns)}")
            try:
                yield [_read(*cells[place], kinds[place]) for place in places]
            except ValueError as error:
                raise ValueError(f"row {number} of {path.name}: {error}") from error


Cell = tuple[str, bool]
"""What stands there, and whether in quotation marks."""


def _records(lines: Iterator[str]) -> Iterator[list[Cell]]:
    record = ""
    for line in lines:
        record += line
        if record.count('"') % 2:
            continue  # a text goes on in the next line
        cells: list[Cell] = []
        at = 0
        while at < len(record):
            found = _CELL.match(record, at)
            if found is None:
                raise ValueError(f"no CSV: {record[at : at + 40]!r}")
            quoted, plain, _ = found.groups()
            cells.append((plain, False) if quoted is None else (quoted.replace('""', '"'), True))
            at = found.end()
        yield cells
        record = ""
    if record:
        raise ValueError("the file ends in the middle of a row")


def _read(text: str, is_quoted: bool, kind: Kind) -> Any:
    if not is_quoted:
        if not text:
            return None
        if kind is Kind.INTEGER:
            return int(text)
        if kind is Kind.DECIMAL:
            return text
        raise ValueError(f"{text!r} stands without quotation marks")
    if kind is Kind.BYTES:
        return b64decode(text, validate=True)
    if kind in (Kind.TEXT, Kind.JSON):
        return text
    raise ValueError(f"{text!r} is no {kind}")


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


_WRITERS: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: _quoted,
    Kind.JSON: _quoted,
    Kind.INTEGER: str,
    Kind.DECIMAL: str,
    Kind.TIME: iso,
    Kind.BYTES: lambda value: f'"{b64encode(value).decode()}"',
}
