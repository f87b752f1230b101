"""What the kinds of files have in common: rows go in, rows come out, and a checksum is over every byte."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from tradekeel.errors import InputError
from tradekeel.storage.transfer.tables import FileColumn, Kind

Values = Sequence[Any]
"""A row as the driver takes and gives it."""

FORMATS = {"csv": "csvtext", "jsonl": "jsonlines", "parquet": "parquet"}
"""The kinds of files, and the module of each."""

CHUNK_BYTES = 1 << 20


class Sheet(ABC):
    """A file that rows are written into, in the order of its columns. Use it as a context manager."""

    def __init__(self, path: Path, columns: Sequence[FileColumn]) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.rows = 0
        self._sources = _sources(columns)

    def full(self, values: Values) -> list[Any]:
        """A stored row with what is made from it."""
        return [values[place] for place in self._sources]

    @abstractmethod
    def write(self, values: Values) -> None:
        """Put a row into it."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more comes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sources(columns: Sequence[FileColumn]) -> list[int]:
    stored = [column.name for column in columns if column.made_from is None]
    return [stored.index(column.made_from or column.name) for column in columns]


def stored_places(columns: Sequence[FileColumn]) -> list[int]:
    """Where in a row of a file that stands what the table has itself."""
    return [place for place, column in enumerate(columns) if column.made_from is None]


def sheet_of(kind: str, path: Path, columns: Sequence[FileColumn]) -> Sheet:
    """A new file of a kind. InputError where what it needs is not installed."""
    sheet: Sheet = _module(kind).new(path, columns)
    return sheet


def rows_of(kind: str, path: Path, columns: Sequence[FileColumn]) -> Iterator[Values]:
    """The rows of a file, as they go into the table. ValueError names what is none."""
    rows: Iterator[Values] = _module(kind).rows(path, columns)
    return rows


def _module(kind: str) -> Any:
    try:
        return import_module(f"tradekeel.storage.transfer.{FORMATS[kind]}")
    except ImportError as error:
        raise InputError(
            f"files of the kind {kind} need a library that is not installed ({error}): pip install 'tradekeel[{kind}]'"
        ) from None


def checksum_of(path: Path) -> str:
    """SHA-256 of a file, as text."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


__all__ = ["FORMATS", "Kind", "Sheet", "Values", "checksum_of", "rows_of", "sheet_of", "stored_places"]
