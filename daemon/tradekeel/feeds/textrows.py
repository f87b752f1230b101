"""Rows of text: a file of cells between delimiters, with a header or without."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from tradekeel.domain.counting import counted
from tradekeel.errors import DataError
from tradekeel.feeds.files import DataFile, TextReader
from tradekeel.feeds.layouts import Layout, QuoteLayout
from tradekeel.feeds.rows import BadRow, Row, RowKind, Unfit
from tradekeel.feeds.stream import BLANK, Block, Piece
from tradekeel.feeds.zones import BadTime

QUOTE = '"'


class TextRows:
    """Reads such files. A :class:`~tradekeel.feeds.stream.PartReader`."""

    unit = "line"
    advice = "Look at format, delimiter, header, columns and time_format"

    def __init__(self, layout: Layout, *, delimiter: str = ",", header: bool = False) -> None:
        self.layout = layout
        self.delimiter = delimiter
        self.width = self.least = 0  # columns: as many as a row has, and as there must be
        self.header = header
        self._text: TextReader | None = None

    @property
    def share_read(self) -> float:
        """Of the file that is being read."""
        return 0.0 if self._text is None else self._text.share_read

    def span(self, part: DataFile) -> tuple[int, int] | None:
        """The day in a file's name, where that is the day of its rows."""
        times = self.layout.times
        if not times.needs_date:
            return None
        assert part.day is not None, "files without a date are refused when the feed is made"
        return times.day_span(part.day)

    def pieces(self, part: DataFile) -> Iterator[Piece]:
        """Some thousand lines at a time."""
        self.layout.times.new_file(part.day)
        self._text = TextReader(part)
        fill = self._fill() if isinstance(self.layout, QuoteLayout) and self.layout.fills else None
        for first, piece in self._text.pieces():
            text, line = self._begin(part, piece) if first == 1 else (piece, first)
            if text:
                yield TextPiece(self, text if fill is None else fill(text), line)

    def _fill(self) -> Callable[[str], str]:
        """What puts prices that have not changed where they are empty, piece by piece of one file."""
        layout, before = self.layout, ("", "")
        assert isinstance(layout, QuoteLayout), "others have no bid and ask"

        def line_of(line: str) -> str:
            nonlocal before
            try:
                cells = self.cells(line.rstrip("\r"))
            except BadRow:  # whoever reads the row says so
                return line
            if len(cells) != self.width or len(cells) < self.least:
                return line
            is_filled, before = layout.filled(cells, before)
            return self._line_of(cells) if is_filled else line

        return lambda text: "\n".join(map(line_of, text.split("\n")))

    def _line_of(self, cells: list[str]) -> str:
        """What :meth:`cells` makes these cells of."""
        told = (
            f'"{cell.replace(QUOTE, QUOTE * 2)}"' if self.delimiter in cell or QUOTE in cell else cell for cell in cells
        )
        return self.delimiter.join(told)

    def finish(self, counts: Mapping[str, int]) -> None:
        """An empty file is one."""

    def _begin(self, file: DataFile, text: str) -> tuple[str, int]:
        """Take the header off and learn the columns; the rest of the text and its first line's number."""
        header, line = None, 1
        if self.header:
            first, _, text = text.partition("\n")
            header, line = self.cells(first.rstrip("\r")), 2
        self.least = self.layout.bind(header, file.name)
        self.width = self.layout.width or (len(header) if header is not None else self._usual_width(text))
        if header is not None and self._reads_as_row(header):
            raise DataError(f"{file.name}: the first line looks like a row, not a header: set header = false")
        return text, line

    def _usual_width(self, text: str) -> int:
        widths = Counter(len(self.cells(line)) for line in text.split("\n", 50)[:50] if line.strip())
        return max(self.least, widths.most_common(1)[0][0] if widths else 0)

    def _reads_as_row(self, cells: list[str]) -> bool:
        try:
            self.layout.row(cells, -1)
        except (BadRow, IndexError):
            return False
        except Unfit:  # it could be read
            return True
        return True

    def cells(self, text: str) -> list[str]:
        """The cells of one line."""
        if '"' not in text:
            return text.split(self.delimiter)
        try:
            return next(csv.reader([text], delimiter=self.delimiter), [])
        except csv.Error as error:
            raise BadRow(RowKind.COLUMNS, f"{error}: {text[:80]!r}") from None


class TextPiece:
    """Some whole lines."""

    def __init__(self, reader: TextRows, text: str, line: int) -> None:
        self._reader = reader
        self._text = text
        self._line = line  # the number of the first

    @property
    def _body(self) -> str:
        return self._text.replace("\r\n", "\n").removesuffix("\n")

    def at_once(self) -> Block | None:
        """All rows by column, or None if anything needs a closer look.

        Line ends become cells of their own; if each stands where it must, every row has the right number of columns.
        """
        body, reader = self._body, self._reader
        if not reader.layout.quotes_per_row or not body.isascii() or '"' in body or "_" in body:
            return None
        delimiter, width = reader.delimiter, reader.width
        cells = body.replace("\n", f"{delimiter}\n{delimiter}").split(delimiter)
        rows, rest = divmod(len(cells) + 1, width + 1)
        if rest or cells[width :: width + 1].count("\n") != rows - 1:
            return None
        try:
            quotes = reader.layout.quotes(cells, width + 1)
        except (BadRow, BadTime, ValueError):
            return None
        each, line = reader.layout.quotes_per_row, self._line
        return Block(quotes, rows, lambda: [number for number in range(line, line + rows) for _ in range(each)])

    def rows(self) -> Iterator[tuple[int, str]]:
        """Its lines."""
        return enumerate(self._body.split("\n"), start=self._line)

    def row(self, row: str, last_ns: int) -> tuple[list[Row], BadRow | None] | str:
        """The quotes of a line."""
        if not row.strip():
            return BLANK
        reader = self._reader
        cells = reader.cells(row)
        if len(cells) != reader.width or len(cells) < reader.least:
            raise BadRow(RowKind.COLUMNS, f"{counted(len(cells), 'column')} where {reader.width} belong: {row[:80]!r}")
        return reader.layout.row(cells, last_ns)

    def before(self, number: int) -> TextPiece | None:
        """The lines before one."""
        good = lines_before(self._text, number - self._line)
        return TextPiece(self._reader, good, self._line) if good else None


def lines_before(text: str, count: int) -> str:
    """The first lines of a text."""
    return "\n".join(text.split("\n", count)[:count])
