"""An archive as a file: JSON lines, compressed with gzip, which any program can read (``zcat FILE | jq``).

The first line says what it is: the execution, its account and number, the first and the last record, the schema, and of
each table the columns with their kinds. Then one line a row, a list: the name of its table, and the values in the order of
the columns; amounts and JSON are text, bytes are base64. First comes the journal, in order, and then each table. The last
line has the number of rows of each table, and the SHA-256 of all lines before it. No time and no name of a machine is in
it: the same rows give the same bytes.
"""

from __future__ import annotations

import gzip
import os
import zlib
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from msgspec import Struct

from tradekeel.errors import StoreCorrupt
from tradekeel.storage.files import sync, writing
from tradekeel.storage.transfer.tables import FileColumn, Kind, file_tables

FORMAT = 1
LEVEL = 6
SUFFIX = ".jsonl.gz"
PARTIAL = ".partial"
DIGEST_LETTERS = 12
JOURNAL = "journal"


class Header(Struct, frozen=True, kw_only=True):
    """The first line."""

    tradekeel_archive: int = FORMAT
    execution: str
    account: str
    number: int
    first: int
    last: int
    schema: str
    tables: dict[str, tuple[tuple[str, str], ...]]  # name and kind of each column


class Trailer(Struct, frozen=True):
    """The last line."""

    rows: dict[str, int]
    sha256: str


class Made(NamedTuple):
    """A file that is on the disk."""

    path: Path
    bytes: int
    sha256: str  # of the file as it is
    counts: dict[str, int]


def columns_of(table: str) -> list[FileColumn]:
    """The columns of a table as an archive has them."""
    return file_tables()[table].stored


class ArchiveWriter:
    """Writes one; it bears its name when it is whole and on the disk. StoreUnavailable where it cannot be written.

    The name ends in a part of the checksum of what is in it, so no other content ever takes its place: copies of the same books
    may have archived the same records, with other rows in the tables.
    """

    def __init__(self, folder: Path, stem: str, header: Header) -> None:
        self._folder, self._stem = folder, stem
        self._partial = folder / f"{stem}{PARTIAL}"
        self._said = folder / f"{stem}{SUFFIX}"  # for people; its whole name is known at the end
        with writing(self._said):
            self._raw = self._partial.open("wb")
            os.fchmod(self._raw.fileno(), 0o600)
        self._file = gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=LEVEL, mtime=0)
        self._digest = sha256()
        self._counts: Counter[str] = Counter()
        self._encode = msgspec.json.Encoder().encode
        self._bytes = {
            name: [place for place, (_, kind) in enumerate(columns) if kind == Kind.BYTES]
            for name, columns in header.tables.items()
        }
        self._write(header)

    def _write(self, line: Any) -> None:
        encoded = self._encode(line) + b"\n"
        self._digest.update(encoded)
        with writing(self._said):
            self._file.write(encoded)

    def write(self, table: str, values: Sequence[Any]) -> None:
        """A row, as the driver has it."""
        cells = list(values)
        for place in self._bytes[table]:
            cells[place] = b64encode(cells[place]).decode()
        self._write([table, *cells])
        self._counts[table] += 1

    def close(self) -> Made:
        """Everything is written: put it on the disk."""
        digest = self._digest.hexdigest()
        path = self._folder / f"{self._stem}-{digest[:DIGEST_LETTERS]}{SUFFIX}"
        with writing(path):
            self._file.write(self._encode(Trailer(dict(self._counts), digest)) + b"\n")
            self._file.close()
            self._raw.flush()
            os.fsync(self._raw.fileno())
            self._raw.close()
            self._partial.rename(path)
            sync(self._folder)
            return Made(path, path.stat().st_size, file_checksum(path), dict(self._counts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """What did not come to its end leaves nothing."""
        for file in (self._file, self._raw):
            with suppress(OSError):  # what was not written yet may not fit
                file.close()
        with writing(self._said):
            self._partial.unlink(missing_ok=True)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, as text."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_compressed(path: Path) -> bool:
    """Whether a file begins as gzip does, as every archive: otherwise it is another file, and no damaged one. Raises OSError."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


class ArchiveReader:
    """Reads one row after the other, and checks at the end what the last line says. Raises StoreCorrupt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = self._read()
        line = next(self._lines, b"")
        try:
            self.header = msgspec.json.decode(line, type=Header)
        except msgspec.MsgspecError as error:
            raise StoreCorrupt(f"{path} is no archive: {error}") from error
        if self.header.tradekeel_archive != FORMAT:
            raise StoreCorrupt(
                f"{path} is of the format {self.header.tradekeel_archive}, which this version does not know"
            )
        self._digest = sha256(line)
        self._bytes = {
            name: [place for place, (_, kind) in enumerate(columns) if kind == Kind.BYTES]
            for name, columns in self.header.tables.items()
        }

    def _read(self) -> Iterator[bytes]:
        try:
            with gzip.open(self.path, "rb") as file:
                yield from file
        except (OSError, EOFError, zlib.error) as error:
            raise StoreCorrupt(f"{self.path} is damaged, or was cut off: {error}") from error

    def __iter__(self) -> Iterator[tuple[str, list[Any]]]:
        """Each row with the name of its table, in the order of the file."""
        counts: Counter[str] = Counter()
        for line in self._lines:
            if line.startswith(b"{"):
                self._end(line, counts)
                return
            self._digest.update(line)
            try:
                table, *values = msgspec.json.decode(line)
                for place in self._bytes[table]:
                    values[place] = b64decode(values[place], validate=True)
                if len(values) != len(self.header.tables[table]):
                    raise ValueError("it has another number of columns than the first line says")
            except (msgspec.MsgspecError, ValueError, KeyError, TypeError, IndexError) as error:
                raise StoreCorrupt(f"{self.path} is damaged: a row cannot be read ({error})") from error
            counts[table] += 1
            yield table, values
        raise StoreCorrupt(f"{self.path} was cut off: it has no end")

    def _end(self, line: bytes, counts: Counter[str]) -> None:
        try:
            trailer = msgspec.json.decode(line, type=Trailer)
        except msgspec.MsgspecError as error:
            raise StoreCorrupt(f"{self.path} is damaged: its last line cannot be read ({error})") from error
        if trailer.sha256 != self._digest.hexdigest():
            raise StoreCorrupt(f"{self.path} was changed since it was made: its checksum is off")
        if trailer.rows != dict(counts):
            raise StoreCorrupt(f"{self.path} has {dict(counts)} rows, and its last line says {trailer.rows}")
        if next(self._lines, None) is not None:
            raise StoreCorrupt(f"{self.path} goes on behind its end")
