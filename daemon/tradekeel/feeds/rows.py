"""Bad rows: what can be wrong with a row of market data, what is done about it, and the count of it all.

A row that is not as it should be is never silently used: it is counted under its kind with what was done about it, by a policy a
kind. ``drop`` leaves it out, ``fix`` mends it in the one sensible way, ``accept`` uses it as it is, ``fail`` stops with its
file and line. Rows are judged in the order of :class:`RowKind`; a row that is dropped or fails is judged no further.

Clean data is judged a block at a time by C loops (:meth:`Judge.all_clean`). In a block in which anything is wrong, the rows
that may be wrong are judged one by one (:meth:`Judge.sift`), by the same rules.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import compress, count, islice, repeat
from operator import eq, gt, le, lt, sub
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import asdict

from tradekeel.domain.money import ZERO, on_grid
from tradekeel.domain.sessions import closed_ns_between
from tradekeel.errors import DataError


class RowKind(StrEnum):
    """What can be wrong with a row, in the order in which it is looked for."""

    COLUMNS = "columns"  # too few or too many columns
    TIME = "time"  # the time cannot be read, or never was
    NON_NUMERIC = "non_numeric"  # a price or size is no finite number
    BAR_RANGE = "bar_range"  # a bar's open or close lies outside its low and high
    NEGATIVE = "negative"  # a price at or below zero, or a size below zero
    OUTSIDE = "outside"  # before `start`, or at or after `end`
    OUT_OF_ORDER = "out_of_order"  # earlier than the row before it
    DUPLICATE = (
        "duplicate"  # time, prices and sizes as in the row before it; of several imports, as in any row of its time
    )
    CROSSED = "crossed"  # bid above ask: a negative spread
    ZERO_SPREAD = "zero_spread"  # bid equal to ask
    OFF_GRID = "off_grid"  # a price that is no whole number of the instrument's tick sizes
    GAP = "gap"  # too long after the row before it, weekends not counted


class BadRows(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy for each kind of bad row."""

    columns: Literal["drop", "fail"] = "drop"
    time: Literal["drop", "fail"] = "drop"
    non_numeric: Literal["drop", "fail"] = "drop"
    bar_range: Literal["drop", "accept", "fail"] = "drop"
    negative: Literal["drop", "fail"] = "drop"
    outside: Literal["drop", "fail"] = "drop"
    out_of_order: Literal["drop", "fix", "fail"] = "drop"  # fix: the time of the row before; time never steps back
    duplicate: Literal["drop", "accept", "fail"] = "accept"  # a quote that is said twice is harmless
    crossed: Literal["drop", "fix", "accept", "fail"] = "drop"  # fix: bid and ask change places
    zero_spread: Literal["drop", "fix", "accept", "fail"] = "drop"  # fix: one tick size wider on each side
    off_grid: Literal["drop", "accept", "fail"] = "accept"  # averages are so, too: whose prices they are is asked
    gap: Literal["accept", "fail"] = "accept"


LOOKED_FOR_LATER = {"off_grid": "accept"}
"""Kinds that versions before did not look for, with the default: with it, a fingerprint is what it was."""

_DONE = {"drop": "dropped", "fix": "fixed", "accept": "accepted"}


class BadRow(Exception):
    """One row is wrong in a way that leaves nothing to use; caught by whoever reads the rows."""

    def __init__(self, kind: RowKind, found: str) -> None:
        super().__init__(found)
        self.kind = kind
        self.found = found


class Unfit(Exception):
    """A row shows that the feed's settings are not of this data; caught by whoever reads the rows, and knows which it is."""


class Quotes(NamedTuple):
    """Quotes of one instrument, a column each; sizes are None where the data has none."""

    times_ns: Sequence[int]
    bids: Sequence[Decimal]
    asks: Sequence[Decimal]
    bid_sizes: Sequence[Decimal | None] | None = None
    ask_sizes: Sequence[Decimal | None] | None = None

    def part(self, start: int, stop: int | None = None) -> Quotes:
        """The quotes from ``start`` to ``stop``."""
        parts = (None if column is None else column[start:stop] for column in self)
        return Quotes(*parts)  # type: ignore[arg-type]  # each column stays what it is


Describe = Callable[[], tuple[str, str]]
"""Where a bad row is, and what was found there: put into words only where somebody wants to know."""


class Tally:
    """The policies, and the count of what they did."""

    def __init__(self, policies: BadRows) -> None:
        self.policies: dict[str, str] = asdict(policies)
        self.counts: Counter[str] = Counter()
        self.complained: Callable[[RowKind, Describe, str], None] | None = None  # with the policy
        self._keys = {kind: f"{kind}_{_DONE.get(policy, policy)}" for kind, policy in self.policies.items()}

    def judge(self, kind: RowKind, describe: Describe | None = None) -> str:
        """Count one bad row; what to do with it. ``describe`` is for whoever looks on."""
        self.counts[self._keys[kind]] += 1
        policy = self.policies[kind]
        if self.complained is not None and describe is not None:
            self.complained(kind, describe, policy)
        return policy


class RefusedRow(DataError):
    """A row whose policy is ``fail``; the rows before it are good."""

    def __init__(self, kind: RowKind, where: str, line: int, found: str) -> None:
        super().__init__(f'{where} {line}: {kind.replace("_", " ")}: {found} (bad_rows.{kind} is "fail")')
        self.kind = kind
        self.line = line


class Limits(NamedTuple):
    """What one instrument's rows are held against; None switches a limit off."""

    tick_size: Decimal
    start_ns: int | None = None
    end_ns: int | None = None
    gap_ns: int | None = None
    gap_on_weekends: bool = False
    of_several: bool = False  # imports, whose rows may stand between each other where they have one time


Row = tuple[int, Decimal, Decimal, Decimal | None, Decimal | None]
"""Time, bid, ask, and the sizes of both."""

NO_ROW: Row = (-1, ZERO, ZERO, None, None)

SOUND_MAX = 50_000
"""Prices that are known to be sound: those of a day are some thousand."""

SAME_TIME_MAX = 10_000
"""Rows of one time that a row is held against: more of them have a time that says no more than the day."""


class Memory(NamedTuple):
    """What judging needs to know of the rows before: all there is to save for going on at the same place."""

    latest_ns: int = -1
    row: Row = NO_ROW  # the last one that was used, as it stood in the file
    same_time: frozenset[Row] = frozenset()  # those of its time before it, where rows are of several imports


class Judge:
    """Judges the quotes of one instrument, in order."""

    def __init__(self, limits: Limits, tally: Tally) -> None:
        self.limits = limits
        self.tally = tally
        self._latest_ns = -1
        self._row = NO_ROW
        self._same_time: set[Row] = set()
        self._sound: set[Decimal] = set()  # prices that were looked at, and nothing is wrong with
        self._where = ""

    @property
    def memory(self) -> Memory:
        """What is known of the rows so far."""
        return Memory(self._latest_ns, self._row, frozenset(self._same_time))

    def recall(self, memory: Memory) -> None:
        """Go on from what was known at another time."""
        self._latest_ns, self._row = memory.latest_ns, memory.row
        self._same_time = set(memory.same_time)

    def all_clean(self, quotes: Quotes) -> bool:
        """Whether nothing at all is wrong with a block of quotes; if so they count as seen."""
        return self._all_sound(quotes) and self._clean_but_for_prices(quotes)

    def _clean_but_for_prices(self, quotes: Quotes) -> bool:
        """The same, each price by itself left aside."""
        times_ns, bids, asks = quotes[:3]
        if not self._in_time(quotes) or not all(map(lt, bids, asks)):
            return False
        if times_ns[0] == self._latest_ns and _row(quotes, 0) == self._row:
            return False
        of_several = self.limits.of_several
        if of_several and times_ns[0] == self._latest_ns:
            return False
        if any(of_several or _row(quotes, index) == _row(quotes, index - 1) for index in _at_one_time(times_ns)):
            return False
        self._used(_row(quotes, -1), times_ns[-1])
        return True

    def _in_time(self, quotes: Quotes) -> bool:
        """Whether a block is in order, within start and end, without a gap, and without a negative size."""
        times_ns, _, _, bid_sizes, ask_sizes = quotes
        limits = self.limits
        return (
            times_ns[0] >= self._latest_ns
            and all(map(le, times_ns, islice(times_ns, 1, None)))
            and (limits.start_ns is None or times_ns[0] >= limits.start_ns)
            and (limits.end_ns is None or times_ns[-1] < limits.end_ns)
            and (limits.gap_ns is None or not self._any_gap(times_ns, limits.gap_ns))
            and (bid_sizes is None or min(size or ZERO for size in bid_sizes) >= ZERO)
            and (ask_sizes is None or min(size or ZERO for size in ask_sizes) >= ZERO)
        )

    def _any_gap(self, times_ns: Sequence[int], gap_ns: int) -> bool:
        before_ns = self._latest_ns if self._latest_ns >= 0 else times_ns[0]
        if times_ns[-1] - before_ns <= gap_ns:
            return False
        if times_ns[0] - before_ns > gap_ns:
            return True
        return any(map(gt, map(sub, islice(times_ns, 1, None), times_ns), repeat(gap_ns)))

    def sift(self, quotes: Quotes, lines: Sequence[int], where: str) -> Quotes:
        """The quotes that are to be used; ``lines`` are their numbers in ``where``, such as "ticks.csv, line"."""
        self._where = where
        strays = self._strays(quotes)
        if self._only_strays(quotes, strays):
            for stray in strays:
                self._policy(RowKind.OFF_GRID, _row(quotes, stray), lines[stray])
            return quotes
        rows = _rows(quotes)
        kept: list[Row] = []
        passed = 0
        for index in (*self._suspects(quotes, rows, strays), len(rows)):
            if index > passed:
                kept += rows[passed:index]
                self._used(rows[index - 1], rows[index - 1][0])
                for stray in strays[bisect_left(strays, passed) : bisect_left(strays, index)]:
                    self._policy(RowKind.OFF_GRID, rows[stray], lines[stray])
            row = self._one(rows[index], lines[index]) if index < len(rows) else None
            if row is not None:
                kept.append(row)
            passed = index + 1
        return quotes_of(kept)

    def _all_sound(self, quotes: Quotes) -> bool:
        """Whether all prices are above zero, and whole numbers of tick sizes. They repeat, and to find one again is cheap."""
        _, bids, asks = quotes[:3]
        known = self._sound
        if known.issuperset(bids) and known.issuperset(asks):
            return True
        if len(known) > SOUND_MAX:
            known.clear()
        step = self.limits.tick_size
        new = {*bids, *asks} - known
        found = [price for price in new if price > ZERO and on_grid(price, step)]
        known.update(found)
        return len(found) == len(new)

    def _strays(self, quotes: Quotes) -> Sequence[int]:
        """The rows with a price off the grid, where none is negative."""
        if self._all_sound(quotes):
            return ()
        known = self._sound
        pairs = zip(quotes.bids, quotes.asks, strict=True)
        return [i for i, (bid, ask) in enumerate(pairs) if bid not in known or ask not in known]

    def _only_strays(self, quotes: Quotes, strays: Sequence[int]) -> bool:
        """Whether nothing is wrong but prices off the grid, which are used; if so the block counts as seen."""
        return (
            bool(strays)
            and self.tally.policies[RowKind.OFF_GRID] == "accept"
            and min(quotes.bids) > ZERO
            and min(quotes.asks) > ZERO
            and self._clean_but_for_prices(quotes)
        )

    def _suspects(self, quotes: Quotes, rows: Sequence[Row], strays: Sequence[int]) -> Sequence[int]:
        """The rows that must be looked at one by one: those that look wrong, and the one after each, whose neighbour may go.

        Prices off the grid that are accepted are only counted: a whole file may be of them.
        """
        if min(quotes.bids) <= ZERO or min(quotes.asks) <= ZERO or not self._in_time(quotes):
            return range(len(rows))
        wrong = {0}
        wrong.update(i for i, (bid, ask) in enumerate(zip(quotes.bids, quotes.asks, strict=True)) if bid >= ask)
        if self.limits.of_several:
            wrong.update(_at_one_time(quotes.times_ns))
        wrong.update(i for i, same in enumerate(map(eq, rows, islice(rows, 1, None)), start=1) if same)
        if self.tally.policies[RowKind.OFF_GRID] != "accept":
            wrong.update(strays)
        wrong.update([i + 1 for i in wrong if i + 1 < len(rows)])
        return sorted(wrong)

    def _one(self, row: Row, line: int) -> Row | None:
        ts_ns, bid, ask, bid_size, ask_size = row
        limits = self.limits
        if bid <= ZERO or ask <= ZERO or (bid_size or ZERO) < ZERO or (ask_size or ZERO) < ZERO:
            self._policy(RowKind.NEGATIVE, row, line)
            return None
        if limits.start_ns is not None and ts_ns < limits.start_ns:
            self._policy(RowKind.OUTSIDE, row, line)
            return None
        if limits.end_ns is not None and ts_ns >= limits.end_ns:
            self._policy(RowKind.OUTSIDE, row, line)
            return None
        if ts_ns < self._latest_ns:
            policy = self._policy(RowKind.OUT_OF_ORDER, row, line)
            if policy == "drop":
                return None
            if policy == "fix":
                ts_ns = self._latest_ns
        repeats = row == self._row or (bool(self._same_time) and row in self._same_time)
        if repeats and self._policy(RowKind.DUPLICATE, row, line) == "drop":
            return None
        if bid >= ask:
            mended = self._spread(row, line)
            if mended is None:
                return None
            bid, ask = mended
        strays = not (on_grid(row[1], limits.tick_size) and on_grid(row[2], limits.tick_size))
        if strays and self._policy(RowKind.OFF_GRID, row, line) == "drop":
            return None
        if limits.gap_ns is not None and self._silent_ns(ts_ns, limits.gap_ns) > limits.gap_ns:
            self._policy(RowKind.GAP, row, line)
        self._used(row, max(ts_ns, self._latest_ns))
        return ts_ns, bid, ask, bid_size, ask_size

    def _used(self, row: Row, latest_ns: int) -> None:
        """This one is used, and whatever comes next is held against it."""
        if self.limits.of_several:
            if row[0] != self._row[0]:
                self._same_time.clear()
            elif len(self._same_time) < SAME_TIME_MAX:
                self._same_time.add(self._row)
        self._latest_ns, self._row = latest_ns, row

    def _spread(self, row: Row, line: int) -> tuple[Decimal, Decimal] | None:
        """Bid and ask to use where bid is not below ask; None to drop them."""
        bid, ask = row[1], row[2]
        crossed = bid > ask
        policy = self._policy(RowKind.CROSSED if crossed else RowKind.ZERO_SPREAD, row, line)
        if policy == "drop":
            return None
        if policy == "accept":
            return bid, ask
        if crossed:
            return ask, bid
        step = self.limits.tick_size
        return (bid - step if bid > step else bid), ask + step

    def _silent_ns(self, ts_ns: int, gap_ns: int) -> int:
        """How long the open market was silent before ``ts_ns``; weekends are looked up only where it matters."""
        silent_ns = ts_ns - self._latest_ns if self._latest_ns >= 0 else 0
        if silent_ns > gap_ns and not self.limits.gap_on_weekends:
            silent_ns -= closed_ns_between(self._latest_ns, ts_ns)
        return silent_ns

    def _policy(self, kind: RowKind, row: Row, line: int) -> str:
        """Count a bad row; what to do with it. Raises :class:`DataError` where that is to stop."""
        policy = self.tally.judge(kind, lambda: (f"{self._where} {line}", self._found(kind, row)))
        if policy == "fail":
            raise RefusedRow(kind, self._where, line, self._found(kind, row))
        return policy

    def _found(self, kind: RowKind, row: Row) -> str:
        ts_ns, bid, ask, bid_size, ask_size = row
        if kind is RowKind.OUTSIDE:
            return "the time is before start, or not before end"
        if kind is RowKind.OUT_OF_ORDER:
            return f"{(self._latest_ns - ts_ns) / 1e9:,.6f} s before an earlier row"
        if kind is RowKind.GAP:
            return f"{(ts_ns - self._latest_ns) / 1e9:,.3f} s after the row before"
        if kind is RowKind.OFF_GRID:
            return f"bid {bid} and ask {ask} are not both whole steps of {self.limits.tick_size:f}"
        sizes = "" if bid_size is None and ask_size is None else f", sizes {bid_size} and {ask_size}"
        return f"bid {bid}, ask {ask}{sizes}"


def quotes_of(rows: Sequence[Row]) -> Quotes:
    """Rows as columns."""
    if not rows:
        return Quotes((), (), ())
    times_ns, bids, asks, bid_sizes, ask_sizes = zip(*rows, strict=True)
    return Quotes(times_ns, bids, asks, bid_sizes, ask_sizes)


def _at_one_time(times_ns: Sequence[int]) -> Iterator[int]:
    """The rows that have the time of the one before them."""
    return compress(count(1), map(eq, times_ns, islice(times_ns, 1, None)))


def _rows(quotes: Quotes) -> list[Row]:
    times_ns, bids, asks, bid_sizes, ask_sizes = quotes
    unsized: list[Decimal | None] = [None] * len(times_ns)
    return list(zip(times_ns, bids, asks, bid_sizes or unsized, ask_sizes or unsized, strict=True))


def _row(quotes: Quotes, index: int) -> Row:
    times_ns, bids, asks, bid_sizes, ask_sizes = quotes
    sizes = (
        None if bid_sizes is None else bid_sizes[index],
        None if ask_sizes is None else ask_sizes[index],
    )
    return times_ns[index], bids[index], asks[index], *sizes
