"""One instrument's rows from all its parts: read in pieces, judged, and counted, so that any place can be found again.

Parts are files as a rule, read in their order; what reads them (:class:`PartReader`) knows what they are made of. Where each part
begins, the stream remembers what judging knew and had counted (a :class:`Mark`). Going back to the nth quote is going back to
the part that holds it and reading on from there, which gives the same quotes and the same counts as the first time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from tradekeel.domain.counting import counted
from tradekeel.errors import DataError, StoreAway
from tradekeel.feeds.rows import BadRow, Describe, Judge, Memory, Quotes, RefusedRow, Row, RowKind, Unfit, quotes_of

UNREADABLE_MAX = 1_000  # so many rows, and not one that could be read: the format is wrong, not the data
_UNREADABLE = tuple(f"{kind}_dropped" for kind in (RowKind.COLUMNS, RowKind.TIME, RowKind.NON_NUMERIC))
BLANK = "blank"
"""What a row is counted as that is none."""


class Part(Protocol):
    """What is read at a stretch: a file, as a rule."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def size_bytes(self) -> int:
        """How much there is to read in it, in whatever unit all parts of a stream have."""
        ...


P = TypeVar("P", bound=Part)
P_contra = TypeVar("P_contra", bound=Part, contravariant=True)


class Block(NamedTuple):
    """Some rows that could be read together."""

    quotes: Quotes
    rows: int  # that they were made from, those that are passed over included
    numbers: Callable[[], Sequence[int]]  # of each quote, its row's number in the part
    passed_over: Mapping[str, int] = {}  # rows that are no quotes, by what they are


class Piece(Protocol):
    """Some consecutive rows of a part, which may be read in two ways with one meaning."""

    def at_once(self) -> Block | None:
        """All of them, or None if anything in them needs a closer look."""
        ...

    def rows(self) -> Iterator[tuple[int, Any]]:
        """Each row with its number, from 1."""
        ...

    def row(self, row: Any, last_ns: int) -> tuple[list[Row], BadRow | None] | str:
        """The quotes of one row, and a complaint that a policy may overrule; or what it is, if it is no quote.

        Raises BadRow, and Unfit where the row shows that the settings are wrong.
        ``last_ns`` is the latest time before it.
        """
        ...

    def before(self, number: int) -> Piece | None:
        """What stands before a row."""
        ...


class PartReader(Protocol[P_contra]):
    """Reads parts of one kind."""

    unit: str  # what a row is called: "line"
    advice: str  # what to look at when not one row can be read

    @property
    def share_read(self) -> float:
        """Of the part that is being read, 0 to 1."""
        ...

    def span(self, part: P_contra) -> tuple[int, int] | None:
        """The first and the last nanosecond that a part can have, if that is known before it is read."""
        ...

    def pieces(self, part: P_contra) -> Iterator[Piece]:
        """Its rows in order; closing the iterator lets go of it. Raises DataError."""
        ...

    def finish(self, counts: Mapping[str, int]) -> None:
        """All parts have been read. Raises DataError where there was nothing in them that could be meant."""
        ...


class Watch(Protocol):
    """Looks on while a stream is read."""

    def saw(self, instrument: str, part: str, rows: int, times_ns: Sequence[int]) -> None:
        """So many rows of a part, and the times of the quotes that were read from them, before anything is left out."""

    def complained(self, instrument: str, kind: RowKind, describe: Describe, policy: str) -> None:
        """A bad row, and what is done about it; ``describe``, asked at once, says where it is and what is wrong with it."""


class FirstBad(Struct, frozen=True):
    """The first bad row of a kind."""

    instrument: str
    kind: RowKind
    policy: str
    where: str
    found: str


class FirstBadRows:
    """Keeps where the first bad row of each kind is, for each instrument. A :class:`Watch` that costs next to nothing."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, RowKind], FirstBad] = {}

    @property
    def found(self) -> Sequence[FirstBad]:
        """As they were met."""
        return tuple(self._found.values())

    def saw(self, instrument: str, part: str, rows: int, times_ns: Sequence[int]) -> None:
        """Rows of a part: whatever they are."""

    def complained(self, instrument: str, kind: RowKind, describe: Describe, policy: str) -> None:
        """A bad row."""
        if (instrument, kind) not in self._found:
            self._found[instrument, kind] = FirstBad(instrument, kind, policy, *describe())


class Mark(Struct, frozen=True):
    """What was known where a part begins."""

    part: int
    quotes: int  # delivered before it
    memory: Memory
    counts: dict[str, int]


class PartStream(Generic[P]):
    """The quotes of one instrument, in the order of its parts."""

    def __init__(self, parts: Sequence[P], reader: PartReader[P], judge: Judge) -> None:
        self.parts = parts
        self.judge = judge
        self.part = 0  # the one being read
        self._reader = reader
        self._counts = judge.tally.counts
        self._marks = [Mark(0, 0, Memory(), {})]  # one of each part that was begun
        self._skip = 0  # quotes that were delivered before the stream went back behind them
        self._blocks: Iterator[Quotes] | None = None
        self._first_complaint = ""
        self._saw: Callable[[str, int, Sequence[int]], None] | None = None

    def watched(self, instrument: str, watch: Watch) -> None:
        """Let somebody look on."""
        self._saw = lambda part, rows, times_ns: watch.saw(instrument, part, rows, times_ns)
        self.judge.tally.complained = lambda kind, describe, policy: watch.complained(
            instrument, kind, describe, policy
        )

    @property
    def bytes_total(self) -> int:
        """The size of all parts as stored."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def bytes_read(self) -> float:
        """How much of them has been read."""
        at = self.part  # looked at once: where a thread reads, it goes on meanwhile
        whole = sum(part.size_bytes for part in self.parts[:at])
        if self._blocks is None or at >= len(self.parts):
            return whole
        return whole + self.parts[at].size_bytes * self._reader.share_read

    def seek(self, quotes: int) -> None:
        """Go to where so many quotes have been delivered."""
        mark = max((mark for mark in self._marks if mark.quotes <= quotes), key=lambda mark: mark.part)
        self.close()
        self.judge.recall(mark.memory)
        self._counts.clear()
        self._counts.update(mark.counts)
        self._skip = quotes - mark.quotes
        self._blocks = self._read_parts(mark)

    def read(self) -> Quotes | None:
        """The quotes of the next piece, which may be none; None at the end. Raises :class:`DataError`.

        StoreAway where a part is elsewhere and cannot be had now: the next call asks for it again.
        """
        if self._blocks is None:
            self.seek(0)
        assert self._blocks is not None
        try:
            return next(self._blocks, None)
        except StoreAway:  # before anything of the part was read
            self._blocks = self._read_parts(self._marks[self.part])
            raise

    def close(self) -> None:
        """Let go of the part that is open, if any."""
        blocks, self._blocks = self._blocks, None
        if blocks is not None:
            blocks.close()  # type: ignore[attr-defined] # it is a generator

    def counts(self) -> Counter[str]:
        """Rows by kind, up to where has been read."""
        return Counter(self._counts)

    def _read_parts(self, mark: Mark) -> Iterator[Quotes]:
        delivered = mark.quotes
        for index in range(mark.part, len(self.parts)):
            self.part = index
            if index > self._marks[-1].part:
                self._marks.append(Mark(index, delivered, self.judge.memory, dict(self._counts)))
            for block in self._read_part(self.parts[index]):
                count = len(block.times_ns)
                delivered += count
                passed = min(self._skip, count)
                self._skip -= passed
                yield block.part(passed) if passed else block
        self.part = len(self.parts)
        self._demand_readable(1)
        self._reader.finish(self._counts)

    def _read_part(self, part: P) -> Iterator[Quotes]:
        if self._outside(part):
            self._counts["files_outside"] += 1
            return
        where = f"{part.name}, {self._reader.unit}"
        for piece in self._reader.pieces(part):
            memory, counts = self.judge.memory, dict(self._counts)
            refused: RefusedRow | None = None
            try:
                block = self._judged(piece, part.name, where)
            except RefusedRow as error:
                refused = error
                self.judge.recall(memory)
                self._counts.clear()
                self._counts.update(counts)
                block = self._judged_before(error, piece, part.name, where)
            self._demand_readable(UNREADABLE_MAX)
            yield block
            if refused is not None:
                raise refused

    def _outside(self, part: P) -> bool:
        """Whether a part that holds one day lies wholly outside of what is wanted."""
        span = self._reader.span(part)
        if span is None:
            return False
        limits = self.judge.limits
        first_ns, last_ns = span
        return (limits.start_ns is not None and last_ns < limits.start_ns) or (
            limits.end_ns is not None and first_ns >= limits.end_ns
        )

    def _judged_before(self, refused: RefusedRow, piece: Piece, name: str, where: str) -> Quotes:
        """What stands before a row that ends it all is used: it does not matter how much is read at a time."""
        good = piece.before(refused.line)
        block = self._judged(good, name, where) if good is not None else quotes_of(())
        self._counts["rows"] += 1
        self.judge.tally.judge(refused.kind)
        return block

    def _judged(self, piece: Piece, name: str, where: str) -> Quotes:
        """The quotes of some rows that are to be used."""
        block, before = piece.at_once(), self._counts["rows"]
        if block is None:
            parsed, numbers = self._one_by_one(piece, where)
            quotes = quotes_of(parsed)
            self._tell(name, self._counts["rows"] - before, quotes)
            return self.judge.sift(quotes, numbers, where) if parsed else quotes
        quotes = block.quotes
        self._counts["rows"] += block.rows
        for kind, count in block.passed_over.items():
            self._counts[kind] += count
        self._tell(name, block.rows, quotes)
        if not quotes.times_ns or self.judge.all_clean(quotes):
            return quotes
        return self.judge.sift(quotes, block.numbers(), where)

    def _tell(self, name: str, rows: int, quotes: Quotes) -> None:
        if self._saw is not None and rows:
            self._saw(name, rows, quotes.times_ns)

    def _one_by_one(self, piece: Piece, where: str) -> tuple[list[Row], list[int]]:
        """The rows of a piece that can be read, and their numbers."""
        parsed: list[Row] = []
        numbers: list[int] = []
        last_ns = self.judge.memory.latest_ns
        for number, row in piece.rows():
            try:
                found = piece.row(row, last_ns)
            except BadRow as bad:
                found = [], bad
            except Unfit as error:
                raise DataError(f"{where} {number}: {error}") from None
            if isinstance(found, str):
                self._counts[found] += 1
                self._counts["rows"] += found != BLANK
                continue
            self._counts["rows"] += 1
            rows, complaint = found
            if complaint is not None:
                self._first_complaint = self._first_complaint or f"{where} {number}: {complaint.found}"
                policy = self.judge.tally.judge(complaint.kind, lambda: (f"{where} {number}", complaint.found))  # noqa: B023  # asked at once
                if policy == "fail":
                    raise RefusedRow(complaint.kind, where, number, complaint.found)
                if policy == "drop":
                    continue
            parsed += rows
            numbers += [number] * len(rows)
            last_ns = max(last_ns, rows[-1][0])
        return parsed, numbers

    def _demand_readable(self, rows_min: int) -> None:
        """Raise if not one of at least ``rows_min`` rows could be read: that is a wrong setting, not bad data."""
        rows = self._counts["rows"]
        if rows >= rows_min and sum(self._counts[kind] for kind in _UNREADABLE) == rows:
            raise DataError(
                f"not one of {counted(rows, 'row')} could be read; the first: {self._first_complaint}. {self._reader.advice}"
            )
