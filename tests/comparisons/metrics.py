"""Our figures of three curves beside quantstats', line by line; `make metrics-check` runs it.

    python -m tests.comparisons.metrics FOLDER [--keep FILE]

FOLDER is what :mod:`tests.comparisons.curves` wrote. It ends with 1 where a figure differs and no explanation covers it: then one
of the programs has a fault, or the explanation has. ``--keep`` writes their figures into a file, for the test without quantstats.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from tests.comparisons.curve import read_curve
from tests.comparisons.kept import keep
from tests.comparisons.rows import Figures, Verdict, judge
from tests.comparisons.theirs import their_figures


def main() -> int:
    """Compare, print, and say whether anything is left unexplained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    unexplained = 0
    kept: dict[str, Figures] = {}
    for path in sorted(given.folder.glob("*.json")):
        curve = read_curve(path)
        theirs = kept[curve.name] = their_figures(curve)
        verdicts = list(judge(curve, theirs))
        missed = [verdict for verdict in verdicts if verdict.status == "UNEXPLAINED"]
        unexplained += len(missed)
        show(f"{curve.name}: {len(curve.days)} days, {len(curve.trades)} trades", verdicts)
    if given.keep is not None:
        keep(given.keep, version("quantstats"), kept)
    return 1 if unexplained else 0


def show(title: str, verdicts: list[Verdict]) -> None:
    """A table; of months and years that are the same only the number."""
    same_periods = [v for v in verdicts if v.status == "same" and v.figure.startswith(("month ", "year "))]
    print(f"\n{title}\n{'figure':26}{'ours':>18}{'quantstats':>18}{'difference':>14}  why")
    for each in verdicts:
        if each not in same_periods:
            why = each.why if each.status == "explained" else f"{each.status}. {each.why}" if each.why else each.status
            print(f"{each.figure:26}{_number(each.ours)}{_number(each.theirs)}{_short(each.difference)}  {why}")
    print(f"{len(same_periods)} months and years are the same")
    counts = {status: sum(v.status == status for v in verdicts) for status in ("same", "explained", "UNEXPLAINED")}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))


def _number(value: float | None) -> str:
    return f"{'undefined' if value is None else format(value, '.9f'):>18}"


def _short(value: float | None) -> str:
    return f"{'' if value is None else format(value, '.2e'):>14}"


if __name__ == "__main__":
    sys.exit(main())
