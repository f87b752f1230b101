"""One instrument's rows from all its files: read in pieces, judged, and counted, so that any place can be found again.

Where each file begins, the stream remembers what judging knew and had counted (a :class:`Mark`). Going back to the nth quote is
going back to the file that holds it and reading on from there, which gives the same quotes and the same counts as the
first time.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from tradekeel.errors import DataError
from tradekeel.feeds.files import DataFile, TextReader
from tradekeel.feeds.layouts import Layout
from tradekeel.feeds.rows import BadRow, Judge, Memory, Quotes, RefusedRow, Row, RowKind, quotes_of
from tradekeel.feeds.zones import BadTime

UNREADABLE_MAX = 1_000  # so many rows, and not one that could be read: the format is wrong, not the data
_UNREADABLE = tuple(f"{kind}_dropped" for kind in (RowKind.COLUMNS, RowKind.TIME, RowKind.NON_NUMERIC))


class Mark(Struct, frozen=True):
    """What was known where a file begins."""

    file: int
    quotes: int  # delivered before it
    memory: Memory
    counts: dict[str, int]


class FileStream:
    """The quotes of one instrument, in the order of its files."""

    def __init__(
        self, files: Sequence[DataFile], layout: Layout, judge: Judge, *, delimiter: str = ",", header: bool = False
    ) -> None:
        self.files = files
        self.layout = layout
        self.judge = judge
        self.file = 0  # the one being read
        self._delimiter = delimiter
        self._has_header = header
        self._counts = judge.tally.counts
        self._marks = [Mark(0, 0, Memory(), {})]
        self._blocks: Iterator[Quotes] | None = None
        self._reader: TextReader | None = None
        self._width = self._least = 0
        self._first_complaint = ""

    @property
    def bytes_total(self) -> int:
        """The size of all files as stored."""
        return sum(file.size_bytes for file in self.files)

    @property
    def bytes_read(self) -> float:
        """How much of them has been read."""
        whole = sum(file.size_bytes for file in self.files[: self.file])
        if self._reader is None or self.file >= len(self.files):
            return whole
        return whole + self.files[self.file].size_bytes * self._reader.share_read

    def seek(self, quotes: int) -> None:
        """Go to where so many quotes have been delivered."""
        mark = max((mark for mark in self._marks if mark.quotes <= quotes), key=lambda mark: mark.file)
        self.close()
        self.judge.recall(mark.memory)
        self._counts.clear()
        self._counts.update(mark.counts)
        self._blocks = self._read_files(mark, quotes - mark.quotes)

    def read(self) -> Quotes | None:
        """The quotes of the next piece, which may be none; None at the end. Raises :class:`DataError`."""
        if self._blocks is None:
            self.seek(0)
        assert self._blocks is not None
        return next(self._blocks, None)

    def close(self) -> None:
        """Let go of the file that is open, if any."""
        blocks, self._blocks = self._blocks, None
        if blocks is not None:
            blocks.close()  # type: ignore[attr-defined] # it is a generator

    def counts(self) -> Counter[str]:
        """Rows by kind, up to where has been read."""
        return Counter(self._counts)

    def _read_files(self, mark: Mark, skip: int) -> Iterator[Quotes]:
        delivered = mark.quotes
        for index in range(mark.file, len(self.files)):
            self.file = index
            if index > self._marks[-1].file:
                self._marks.append(Mark(index, delivered, self.judge.memory, dict(self._counts)))
            for block in self._read_file(self.files[index]):
                count = len(block.times_ns)
                delivered += count
                passed = min(skip, count)
                skip -= passed
                yield block.part(passed) if passed else block
        self.file = len(self.files)
        self._demand_readable(1)

    def _read_file(self, file: DataFile) -> Iterator[Quotes]:
        if self.layout.times.needs_date and self._outside(file):
            self._counts["files_outside"] += 1
            return
        self.layout.times.new_file(file.day)
        reader = self._reader = TextReader(file)
        for first, piece in reader.pieces():
            text, line = self._begin(file, piece) if first == 1 else (piece, first)
            if not text:
                continue
            memory, counts = self.judge.memory, dict(self._counts)
            refused: RefusedRow | None = None
            try:
                block = self._judged(text, line, file.name)
            except RefusedRow as error:
                refused = error
                self.judge.recall(memory)
                self._counts.clear()
                self._counts.update(counts)
                block = self._judged_before(error, text, line, file.name)
            self._demand_readable(UNREADABLE_MAX)
            yield block
            if refused is not None:
                raise refused

    def _outside(self, file: DataFile) -> bool:
        """Whether a file that holds one day lies wholly outside of what is wanted."""
        assert file.day is not None, "files without a date are refused when the feed is made"
        limits = self.judge.limits
        first_ns, last_ns = self.layout.times.day_span(file.day)
        return (limits.start_ns is not None and last_ns < limits.start_ns) or (
            limits.end_ns is not None and first_ns >= limits.end_ns
        )

    def _begin(self, file: DataFile, text: str) -> tuple[str, int]:
        """Take the header off and learn the columns; the rest of the text and its first line's number."""
        header, line = None, 1
        if self._has_header:
            first, _, text = text.partition("\n")
            header, line = self._cells(first.rstrip("\r")), 2
        self._least = self.layout.bind(header, file.name)
        self._width = self.layout.width or (len(header) if header is not None else self._usual_width(text))
        if header is not None and self._reads_as_row(header):
            raise DataError(f"{file.name}: the first line looks like a row, not a header: set header = false")
        return text, line

    def _usual_width(self, text: str) -> int:
        widths = Counter(len(self._cells(line)) for line in text.split("\n", 50)[:50] if line.strip())
        return max(self._least, widths.most_common(1)[0][0] if widths else 0)

    def _reads_as_row(self, cells: list[str]) -> bool:
        try:
            self.layout.row(cells, -1)
        except (BadRow, IndexError):
            return False
        return True

    def _judged_before(self, refused: RefusedRow, text: str, line: int, file: str) -> Quotes:
        """What stands before a row that ends it all is used: it does not matter how much is read at a time."""
        good = "\n".join(text.split("\n", refused.line - line)[: refused.line - line])
        block = self._judged(good, line, file) if good else quotes_of(())
        self._counts["rows"] += 1
        self.judge.tally.judge(refused.kind)
        return block

    def _judged(self, text: str, line: int, file: str) -> Quotes:
        """The quotes of some lines that are to be used."""
        body = text.replace("\r\n", "\n").removesuffix("\n")
        quotes = self._all_at_once(body)
        if quotes is None:
            parsed, lines = self._one_by_one(body, line, file)
            quotes = quotes_of(parsed)
            if not parsed:
                return quotes
        else:
            rows, each = len(quotes.times_ns) // self.layout.quotes_per_row, self.layout.quotes_per_row
            self._counts["rows"] += rows
            if self.judge.all_clean(quotes):
                return quotes
            lines = [number for number in range(line, line + rows) for _ in range(each)]
        return self.judge.sift(quotes, lines, file)

    def _all_at_once(self, body: str) -> Quotes | None:
        """All rows of some text by column, or None if anything in it needs a closer look.

        Line ends become cells of their own; if each stands where it must, every row has the right number of columns.
        """
        if not body.isascii() or '"' in body or "_" in body:
            return None
        delimiter, width = self._delimiter, self._width
        cells = body.replace("\n", f"{delimiter}\n{delimiter}").split(delimiter)
        rows, rest = divmod(len(cells) + 1, width + 1)
        if rest or cells[width :: width + 1].count("\n") != rows - 1:
            return None
        try:
            return self.layout.quotes(cells, width + 1)
        except (BadRow, BadTime, ValueError):
            return None

    def _one_by_one(self, body: str, line: int, file: str) -> tuple[list[Row], list[int]]:
        """The rows of some text that can be read, and their line numbers."""
        parsed: list[Row] = []
        lines: list[int] = []
        last_ns = self.judge.memory.latest_ns
        for number, text in enumerate(body.split("\n"), start=line):
            if not text.strip():
                self._counts["blank"] += 1
                continue
            self._counts["rows"] += 1
            try:
                rows, complaint = self._row(text, last_ns)
            except BadRow as bad:
                rows, complaint = [], bad
            if complaint is not None:
                self._first_complaint = self._first_complaint or f"{file}, line {number}: {complaint.found}"
                policy = self.judge.tally.judge(complaint.kind)
                if policy == "fail":
                    raise RefusedRow(complaint.kind, file, number, complaint.found)
                if policy == "drop":
                    continue
            parsed += rows
            lines += [number] * len(rows)
            last_ns = max(last_ns, rows[-1][0])
        return parsed, lines

    def _row(self, text: str, last_ns: int) -> tuple[list[Row], BadRow | None]:
        cells = self._cells(text)
        if len(cells) != self._width or len(cells) < self._least:
            raise BadRow(RowKind.COLUMNS, f"{len(cells)} columns where {self._width} belong: {text[:80]!r}")
        return self.layout.row(cells, last_ns)

    def _cells(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self._delimiter)
        try:
            return next(csv.reader([text], delimiter=self._delimiter), [])
        except csv.Error as error:
            raise BadRow(RowKind.COLUMNS, f"{error}: {text[:80]!r}") from None

    def _demand_readable(self, rows_min: int) -> None:
        """Raise if not one of at least ``rows_min`` rows could be read: that is a wrong setting, not bad data."""
        rows = self._counts["rows"]
        if rows >= rows_min and sum(self._counts[kind] for kind in _UNREADABLE) == rows:
            raise DataError(
                f"not one of {rows:,} rows could be read; the first: {self._first_complaint}. "
                "Look at format, delimiter, header, columns and time_format"
            )
