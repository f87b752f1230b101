"""What a benchmark says: figures, each beside the floor it is measured against.

A figure alone says little about another machine. So each benchmark measures, in the same run, a floor: the least
that the work must cost here (a bare loop, a raw commit), and a budget is a ratio to that floor. A module
`bench_NAME.py` exposes

    def bench(quick: bool) -> list[Result]

and, to be run alone, ends with `raise SystemExit(standalone(bench))` under `if __name__ == "__main__"`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Result:
    """One figure. `ok` is None where nothing was promised and the figure only stands beside the others."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    ratio: float | None = None
    budget: str = ""
    ok: bool | None = None


def at_least(name: str, value: float, unit: str, *, floor: float, floor_name: str, ratio_min: float) -> Result:
    """A rate that must reach `ratio_min` of the floor's rate."""
    ratio = value / floor
    return Result(name, value, unit, floor, floor_name, ratio, f"≥ {ratio_min:g} × floor", ratio >= ratio_min)


def at_most(
    name: str, value: float, unit: str, *, floor: float, floor_name: str, ratio_max: float, plus: float = 0.0
) -> Result:
    """A cost that must stay within `ratio_max` of the floor's cost, plus a constant in the same unit."""
    budget = f"≤ {ratio_max:g} × floor" + (f" + {plus:g} {unit}" if plus else "")
    return Result(name, value, unit, floor, floor_name, value / floor, budget, value <= ratio_max * floor + plus)


def reaches(
    name: str, value: float, unit: str, *, minimum: float, floor: float | None = None, floor_name: str = ""
) -> Result:
    """A rate with an absolute budget; the floor stands beside it for comparison."""
    ratio = None if floor is None else value / floor
    return Result(name, value, unit, floor, floor_name, ratio, f"≥ {minimum:,g} {unit}", value >= minimum)


def stays_within(
    name: str, value: float, unit: str, *, maximum: float, floor: float | None = None, floor_name: str = ""
) -> Result:
    """A cost with an absolute budget; the floor stands beside it for comparison."""
    ratio = None if floor is None else value / floor
    return Result(name, value, unit, floor, floor_name, ratio, f"≤ {maximum:,g} {unit}", value <= maximum)


def figure(value: float | None, unit: str = "") -> str:
    """Write a number with as many digits as it deserves."""
    if value is None:
        return "–"
    magnitude = abs(value)
    if magnitude >= 100:
        text = f"{value:,.0f}"
    elif magnitude >= 1:
        text = f"{value:.2f}"
    else:
        text = f"{value:.4g}"
    return f"{text} {unit}".rstrip()


VERDICTS = {True: "[green]met[/]", False: "[bold red]MISSED[/]", None: "–"}


def table_of(results: Iterable[Result]) -> Table:
    """All figures in one table: name, figure, floor, ratio, budget, verdict."""
    table = Table(title="Benchmarks", title_justify="left", pad_edge=False)
    table.add_column("name")
    table.add_column("figure", justify="right")
    table.add_column("floor", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("budget")
    table.add_column("verdict")
    for result in results:
        floor = figure(result.floor, result.unit) if result.floor is not None else "–"
        if result.floor_name:
            floor += f" ({result.floor_name})"
        table.add_row(
            result.name,
            figure(result.value, result.unit),
            floor,
            figure(result.ratio),
            result.budget or "–",
            VERDICTS[result.ok],
        )
    return table


def missed(results: Iterable[Result]) -> list[Result]:
    """The figures that do not keep their budget."""
    return [result for result in results if result.ok is False]


def console() -> Console:
    """The console to print on; a pipe gets wide lines, so that no figure is cut off."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=160)


def standalone(bench: Callable[[bool], list[Result]], argv: Sequence[str] | None = None) -> int:
    """Run one benchmark by itself and print its figures; return 1 if a budget is missed."""
    parser = argparse.ArgumentParser(description=(bench.__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short rounds: shows that it runs, not how fast")
    results = bench(parser.parse_args(argv).quick)
    console().print(table_of(results))
    return 1 if missed(results) else 0
