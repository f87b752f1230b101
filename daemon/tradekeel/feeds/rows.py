"""Bad rows: what can be wrong with a row of market data, what is done about it, and the count of it all.

A row that is not as it should be is never silently used: it is counted under its kind with what was done about it, by a policy a
kind. ``drop`` leaves it out, ``fix`` mends it in the one sensible way, ``accept`` uses it as it is, ``fail`` stops with its
file and line. Rows are judged in the order of :class:`RowKind`; a row that is dropped or fails is judged no further.

Clean data is judged a block at a time by C loops (:meth:`Judge.all_clean`); a block in which anything is wrong is judged
row by row (:meth:`Judge.sift`), by the same rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import islice, repeat
from operator import eq, gt, le, lt, sub
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import asdict

from tradekeel.domain.money import ZERO
from tradekeel.domain.sessions import closed_ns_between
from tradekeel.errors import InputError


class RowKind(StrEnum):
    """What can be wrong with a row, in the order in which it is looked for."""

    COLUMNS = "columns"  # too few or too many columns
    TIME = "time"  # the time cannot be read, or never was
    NON_NUMERIC = "non_numeric"  # a price or size is no finite number
    BAR_RANGE = "bar_range"  # a bar's open or close lies outside its low and high
    NEGATIVE = "negative"  # a price at or below zero, or a size below zero
    OUTSIDE = "outside"  # before `start`, or at or after `end`
    OUT_OF_ORDER = "out_of_order"  # earlier than the row before it
    DUPLICATE = "duplicate"  # time, prices and sizes as in the row before it
    CROSSED = "crossed"  # bid above ask: a negative spread
    ZERO_SPREAD = "zero_spread"  # bid equal to ask
    GAP = "gap"  # too long after the row before it, weekends not counted


class BadRows(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy for each kind of bad row."""

    columns: Literal["drop", "fail"] = "drop"
    time: Literal["drop", "fail"] = "drop"
    non_numeric: Literal["drop", "fail"] = "drop"
    bar_range: Literal["drop", "accept", "fail"] = "drop"
    negative: Literal["drop", "fail"] = "drop"
    outside: Literal["drop", "fail"] = "drop"
    out_of_order: Literal["drop", "fix", "accept", "fail"] = "drop"  # fix: the time of the row before
    duplicate: Literal["drop", "accept", "fail"] = "drop"
    crossed: Literal["drop", "fix", "accept", "fail"] = "drop"  # fix: bid and ask change places
    zero_spread: Literal["drop", "fix", "accept", "fail"] = "drop"  # fix: one tick size wider on each side
    gap: Literal["accept", "fail"] = "accept"


_DONE = {"drop": "dropped", "fix": "fixed", "accept": "accepted"}
BADNESS = tuple(f"{kind}_{done}" for kind in RowKind for done in _DONE.values())


class BadRow(Exception):
    """One row is wrong in a way that leaves nothing to use; caught by whoever reads the rows."""

    def __init__(self, kind: RowKind, found: str) -> None:
        super().__init__(found)
        self.kind = kind
        self.found = found


class Quotes(NamedTuple):
    """Quotes of one instrument, a column each; sizes are None where the data has none."""

    times_ns: Sequence[int]
    bids: Sequence[Decimal]
    asks: Sequence[Decimal]
    bid_sizes: Sequence[Decimal | None] | None = None
    ask_sizes: Sequence[Decimal | None] | None = None

    def part(self, start: int, stop: int | None = None) -> Quotes:
        """The quotes from ``start`` to ``stop``."""
        return Quotes(*(None if column is None else column[start:stop] for column in self))  # type: ignore[arg-type]


class Tally:
    """Applies the policies to bad rows and counts them."""

    def __init__(self, policies: BadRows) -> None:
        self.policies: dict[str, str] = asdict(policies)
        self.counts: Counter[str] = Counter()

    def judge(self, kind: RowKind, where: str, found: str) -> str:
        """Count one bad row; what to do with it. Raises :class:`InputError` where the policy is ``fail``."""
        policy = self.policies[kind]
        if policy == "fail":
            raise InputError(f'{where}: {kind.replace("_", " ")}: {found} (bad_rows.{kind} is "fail")')
        self.counts[f"{kind}_{_DONE[policy]}"] += 1
        return policy


class Limits(NamedTuple):
    """What one instrument's rows are held against; None switches a limit off."""

    tick_size: Decimal
    start_ns: int | None = None
    end_ns: int | None = None
    gap_ns: int | None = None
    gap_on_weekends: bool = False


class Memory(NamedTuple):
    """What judging needs to know of the rows before: all there is to save for going on at the same place."""

    latest_ns: int = -1
    bid: Decimal = ZERO
    ask: Decimal = ZERO
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    row_ns: int = -1


class Judge:
    """Judges the quotes of one instrument, in order."""

    def __init__(self, limits: Limits, tally: Tally) -> None:
        self.limits = limits
        self.tally = tally
        self.memory = Memory()

    def all_clean(self, quotes: Quotes) -> bool:
        """Whether nothing at all is wrong with a block of quotes; if so they count as seen."""
        times_ns, bids, asks, bid_sizes, ask_sizes = quotes
        limits, memory = self.limits, self.memory
        first_ns, last_ns = times_ns[0], times_ns[-1]
        if first_ns < memory.latest_ns or min(bids) <= ZERO or not all(map(lt, bids, asks)):
            return False
        if not all(map(lt, times_ns, islice(times_ns, 1, None))) or first_ns == memory.latest_ns:
            if not all(map(le, times_ns, islice(times_ns, 1, None))):
                return False
            rows = [(memory.row_ns, *memory[1:5]), *_rows(quotes)]
            if any(map(eq, rows, islice(rows, 1, None))):
                return False
        if limits.start_ns is not None and first_ns < limits.start_ns:
            return False
        if limits.end_ns is not None and last_ns >= limits.end_ns:
            return False
        if limits.gap_ns is not None and self._any_gap(times_ns, limits.gap_ns):
            return False
        if any(
            min((s for s in sizes if s is not None), default=ZERO) < ZERO for sizes in (bid_sizes, ask_sizes) if sizes
        ):
            return False
        self.memory = Memory(
            last_ns,
            bids[-1],
            asks[-1],
            bid_sizes[-1] if bid_sizes else None,
            ask_sizes[-1] if ask_sizes else None,
            last_ns,
        )
        return True

    def _any_gap(self, times_ns: Sequence[int], gap_ns: int) -> bool:
        before_ns = self.memory.latest_ns if self.memory.latest_ns >= 0 else times_ns[0]
        if times_ns[-1] - before_ns <= gap_ns:
            return False
        if times_ns[0] - before_ns > gap_ns:
            return True
        return any(map(gt, map(sub, islice(times_ns, 1, None), times_ns), repeat(gap_ns)))

    def sift(self, quotes: Quotes, lines: Sequence[int], file: str) -> Quotes:
        """The quotes that are to be used, each judged by itself; ``lines`` are their line numbers in ``file``."""
        kept = [
            quote
            for line, row in zip(lines, _rows(quotes), strict=True)
            if (quote := self._one(row, f"{file}, line {line}")) is not None
        ]
        columns = list(zip(*kept, strict=True)) if kept else [(), (), (), (), ()]
        sized = quotes.bid_sizes is not None
        return Quotes(columns[0], columns[1], columns[2], columns[3] if sized else None, columns[4] if sized else None)

    def _one(self, row: _Row, where: str) -> _Row | None:
        ts_ns, bid, ask, bid_size, ask_size = row
        limits, memory, judge = self.limits, self.memory, self.tally.judge
        if bid <= ZERO or ask <= ZERO or (bid_size or ZERO) < ZERO or (ask_size or ZERO) < ZERO:
            judge(RowKind.NEGATIVE, where, f"bid {bid}, ask {ask}, sizes {bid_size} and {ask_size}")
            return None
        if (limits.start_ns is not None and ts_ns < limits.start_ns) or (
            limits.end_ns is not None and ts_ns >= limits.end_ns
        ):
            judge(RowKind.OUTSIDE, where, "a time before start, or not before end")
            return None
        if ts_ns < memory.latest_ns:
            late_ms = (memory.latest_ns - ts_ns) / 1e6
            policy = judge(RowKind.OUT_OF_ORDER, where, f"{late_ms:,.3f} ms before an earlier row")
            if policy == "drop":
                return None
            if policy == "fix":
                ts_ns = memory.latest_ns
        if row == (memory.row_ns, *memory[1:5]) and (
            judge(RowKind.DUPLICATE, where, f"the same time, bid {bid} and ask {ask} as before") == "drop"
        ):
            return None
        if bid >= ask:
            mended = self._spread(bid, ask, where)
            if mended is None:
                return None
            bid, ask = mended
        if limits.gap_ns is not None and memory.latest_ns >= 0 and ts_ns - memory.latest_ns > limits.gap_ns:
            self._gap(ts_ns, limits.gap_ns, where)
        self.memory = Memory(max(ts_ns, memory.latest_ns), row[1], row[2], bid_size, ask_size, row[0])
        return ts_ns, bid, ask, bid_size, ask_size

    def _spread(self, bid: Decimal, ask: Decimal, where: str) -> tuple[Decimal, Decimal] | None:
        """Bid and ask to use where bid is not below ask; None to drop them."""
        if bid > ask:
            policy = self.tally.judge(RowKind.CROSSED, where, f"bid {bid} is above ask {ask}")
            return None if policy == "drop" else (ask, bid) if policy == "fix" else (bid, ask)
        policy = self.tally.judge(RowKind.ZERO_SPREAD, where, f"bid and ask are both {bid}")
        if policy == "fix":
            step = self.limits.tick_size
            return (bid - step if bid > step else bid), ask + step
        return (bid, ask) if policy == "accept" else None

    def _gap(self, ts_ns: int, gap_ns: int, where: str) -> None:
        silent_ns = ts_ns - self.memory.latest_ns
        if not self.limits.gap_on_weekends:
            silent_ns -= closed_ns_between(self.memory.latest_ns, ts_ns)
        if silent_ns > gap_ns:
            self.tally.judge(RowKind.GAP, where, f"{silent_ns / 1e9:,.3f} s of open market without a row")


_Row = tuple[int, Decimal, Decimal, Decimal | None, Decimal | None]


def _rows(quotes: Quotes) -> list[_Row]:
    times_ns, bids, asks, bid_sizes, ask_sizes = quotes
    unsized: list[Decimal | None] = [None] * len(times_ns)
    return list(zip(times_ns, bids, asks, bid_sizes or unsized, ask_sizes or unsized, strict=True))
