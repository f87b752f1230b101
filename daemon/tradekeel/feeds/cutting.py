"""A file feed's own files with another future, under the same names: for whoever would read the data past the feed.

Up to a time they are what they were. What is later is left out, or becomes the opposite market: the rows with their prices upside
down about the last mid before. That goes for plain and gzipped text, whose rows can be told from each other without knowing what
else stands in them.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from tradekeel.feeds.context import FeedContext
from tradekeel.feeds.file import FileFeedSettings, instrument_of, reader_of
from tradekeel.feeds.files import DataFile, TextReader, locate
from tradekeel.feeds.layouts import QuoteLayout
from tradekeel.feeds.rows import BadRow
from tradekeel.feeds.textrows import TextPiece, TextRows
from tradekeel.feeds.zones import BadTime

GZIP_LEVEL = 1
"""They are read a few times and deleted."""


def cut_files(
    settings: FileFeedSettings, context: FeedContext, end_ns: int, folder: Path, *, opposite: bool = False
) -> Mapping[str, str]:
    """Write them into a folder, up to and with the rows of ``end_ns``; with ``opposite`` also the opposite of what comes later.

    Returns the new path for each of the feed's paths; nothing where its files are no such text, or a path goes through folders.
    Files that begin later are left out, but for the first of all. Raises InputError and DataError as the feed does.
    """
    found: dict[str, str] = {}
    for number, (symbol, path) in enumerate(settings.paths.items()):
        reader = reader_of(settings, instrument_of(symbol, context.instruments))
        if (
            not isinstance(reader, TextRows)
            or "**" in path
            or (opposite and not isinstance(reader.layout, QuoteLayout))
        ):
            return {}
        files = locate(path, context.base)
        names = {Path(file.path).name for file in files}
        if any(file.member is not None for file in files) or len(names) < len(files):
            return {}
        own = folder / str(number)
        own.mkdir(parents=True)
        _write(_Cutter(reader, end_ns, settings.decimal_mark, opposite=opposite), files, own)
        place = context.base / Path(path).expanduser()
        found[path] = str(own if place.is_dir() else own / Path(path).name)
    return found


def _write(cutter: _Cutter, files: list[DataFile], folder: Path) -> None:
    for file in files:
        target = folder / Path(file.path).name
        with _opened(target) as out:
            out.writelines(cutter.text(file))
        if not cutter.rows and file is not files[0]:
            target.unlink()


def _opened(target: Path) -> TextIO:
    """Line by line: a file may be larger than the memory."""
    if target.suffix.lower() == ".gz":
        return gzip.open(target, "wt", GZIP_LEVEL, encoding="utf-8", errors="surrogateescape", newline="")
    return target.open("w", encoding="utf-8", errors="surrogateescape", newline="")


class _Cutter:
    """Goes through the files of one instrument."""

    def __init__(self, reader: TextRows, end_ns: int, mark: str, *, opposite: bool) -> None:
        self._reader, self._end_ns, self._mark, self._opposite = reader, end_ns, mark, opposite
        self._doubled: Decimal | None = None  # bid + ask of the last row before the end
        self._over = False
        self.rows = 0  # of the file in hand that were kept

    def text(self, file: DataFile) -> Iterator[str]:
        """What the file becomes, line by line."""
        self.rows = 0
        if self._reader.header:
            first = next(iter(TextReader(file).pieces()), (1, ""))[1]
            yield first.partition("\n")[0].rstrip("\r") + "\n"
        for piece in self._reader.pieces(file):
            assert isinstance(piece, TextPiece)
            for _, line in piece.rows():
                kept = self._line(piece, line)
                if kept is not None:
                    self.rows += 1
                    yield kept + "\n"

    def _line(self, piece: TextPiece, line: str) -> str | None:
        """The line as it is to be, None where it is left out. What cannot be read stays where it is: the feed says so."""
        try:
            read = piece.row(line, -1)
        except (BadRow, BadTime, ValueError):
            return None if self._over else line
        rows = [] if isinstance(read, str) else read[0]
        self._over = self._over or any(row[0] > self._end_ns for row in rows)
        if not self._over:
            if rows:
                self._doubled = rows[-1][1] + rows[-1][2]
            return line
        return self._turned(line, rows[0][1], rows[0][2]) if self._opposite and rows else None

    def _turned(self, line: str, bid: Decimal, ask: Decimal) -> str | None:
        doubled = self._doubled = self._doubled or bid + ask
        layout = self._reader.layout
        assert isinstance(layout, QuoteLayout)
        if doubled - ask <= 0:
            return None
        cells = self._reader.cells(line)
        for place, price in zip(layout.prices_at, (doubled - ask, doubled - bid), strict=True):
            cells[place] = f"{price:f}".replace(".", self._mark)
        return self._reader.delimiter.join(cells)
