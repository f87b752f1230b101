"""Which parameters may be what: ranges, and the points that they span.

A point is a value for each range. What a sampler deals in are its *marks*: whole numbers for whole-numbered parameters, the
number of the step for a range of decimals (so that a decimal is exact: from + step × number), the number of a choice, and a
number of :data:`DIGITS` digits where a range has no step. Points with the same marks are the same point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal
from itertools import product
from typing import Any

from msgspec import Struct

DIGITS = 6
"""Digits of a value from a range without a step: beyond them nothing of trading can tell two values apart."""

POINTS_LISTED_MAX = 20_000
"""Of a larger space nobody makes a list of all points."""

_ROUNDING = Context(prec=DIGITS)

Mark = int | float
Marks = Mapping[str, Mark]
"""By the name of the range, STRATEGY.PARAMETER."""


class Range(Struct, frozen=True, kw_only=True):
    """What one parameter may be. ``low`` and ``high`` are included; a range without step and choices is a stretch of numbers."""

    strategy: str
    parameter: str
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    step: Decimal | None = None
    log: bool = False
    whole: bool = False  # the parameter takes whole numbers
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """As studies, tables and the configuration's paths name it."""
        return f"{self.strategy}.{self.parameter}"

    @property
    def count(self) -> int | None:
        """How many values there are; None of a stretch."""
        if self.choices:
            return len(self.choices)
        if self.step is None:
            return None
        return int((self.high - self.low) / self.step) + 1

    @property
    def counts_itself(self) -> bool:
        """Whether a mark is the value itself, and not the number of a step or choice."""
        return not self.choices and (self.step is None or (self.whole and self.step == 1))

    def marks(self) -> Sequence[Mark]:
        """All marks, of a range that has a count."""
        count = self.count
        assert count is not None
        return range(int(self.low), int(self.low) + count) if self.counts_itself else range(count)

    def rounded(self, mark: Mark) -> Mark:
        """A mark as it is kept: of a stretch with :data:`DIGITS` digits, and still inside."""
        if self.count is not None:
            return int(mark)
        number = min(max(_ROUNDING.create_decimal(repr(float(mark))), self.low), self.high)
        return float(number)

    def value(self, mark: Mark) -> Any:
        """What the parameter is: an int, a Decimal, or a choice as it was written."""
        if self.choices:
            return self.choices[int(mark)]
        if self.step is None:
            return Decimal(repr(float(mark)))
        number = Decimal(int(mark)) if self.counts_itself else self.low + self.step * int(mark)
        return int(number) if self.whole else number


class Space(Struct, frozen=True):
    """All ranges, in the order of the configuration."""

    ranges: tuple[Range, ...]

    @property
    def count(self) -> int | None:
        """How many points there are; None where a range is a stretch."""
        total = 1
        for each in self.ranges:
            if each.count is None:
                return None
            total *= each.count
        return total

    def points(self) -> Iterator[Marks]:
        """All of them, in a stable order. Only of a space that has a count."""
        names = [each.name for each in self.ranges]
        for marks in product(*(each.marks() for each in self.ranges)):
            yield dict(zip(names, marks, strict=True))

    def values(self, marks: Marks) -> dict[str, dict[str, Any]]:
        """The parameters of each strategy that a point says something of."""
        found: dict[str, dict[str, Any]] = {}
        for each in self.ranges:
            found.setdefault(each.strategy, {})[each.parameter] = each.value(marks[each.name])
        return found

    def shown(self, marks: Marks) -> dict[str, Any]:
        """A point for people and programs: the values by their names."""
        return {each.name: each.value(marks[each.name]) for each in self.ranges}


def key_of(marks: Marks) -> tuple[tuple[str, Mark], ...]:
    """What is the same for the same point, and sorts."""
    return tuple(sorted(marks.items()))
