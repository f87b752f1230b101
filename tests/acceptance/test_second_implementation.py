"""Our figures of a run beside those of a program that we did not write: what quantstats said is kept in tests/comparisons.

`make metrics-check` asks quantstats itself; with `ARGS="--keep tests/comparisons/quantstats.json"` it keeps what that says.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.comparisons.curve import Curve
from tests.comparisons.curves import QUOTES, made_up_curve, recorded_curves
from tests.comparisons.kept import kept_figures, kept_version
from tests.comparisons.rows import ROWS, Figures, judge

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def curve() -> Curve:
    return made_up_curve()


def unexplained(curve: Curve, theirs: Figures) -> list[str]:
    return [verdict.figure for verdict in judge(curve, theirs) if verdict.status == "UNEXPLAINED"]


def test_three_years_have_what_makes_figures_differ(curve):
    gains = curve.gains
    assert len(gains) > 700
    assert sum(gain < 0 for gain in gains) > 100
    assert sum(gain == 0 for gain in gains) > 100
    assert [amount for _, amount in curve.funds] == ["5000"]


def test_every_figure_is_the_same_or_its_difference_is_explained(curve):
    assert unexplained(curve, kept_figures(curve.name)) == []


@pytest.mark.campaign
def test_so_it_is_on_recorded_quotes(data_dir):
    if not any(data_dir.glob(QUOTES)):
        pytest.skip(f"no recorded quotes at {data_dir / QUOTES}")
    for curve in recorded_curves(data_dir):
        assert unexplained(curve, kept_figures(curve.name)) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.figure)
def test_a_figure_of_theirs_that_changes_is_no_more_explained(curve, row):
    theirs = kept_figures(curve.name)
    value = theirs[row.theirs]
    changed = theirs | {row.theirs: value + max(1e-5, abs(value) * 1e-5)}
    assert row.figure in unexplained(curve, changed)


def test_the_guide_explains_every_figure_that_differs():
    section = GUIDE.split("## Beside quantstats")[1]
    explained = {
        name.strip() for cell in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE) for name in cell.split(",")
    }
    of_trades = {row.figure.removesuffix(", of days").removesuffix(", days") for row in ROWS if row.because is not None}
    assert of_trades <= explained


def test_the_guide_names_the_version_that_was_asked():
    assert f"quantstats {kept_version()}" in GUIDE
    pinned = (ROOT / "tests" / "comparisons" / "constraints.txt").read_text(encoding="utf-8")
    assert f"quantstats=={kept_version()}\n" in pinned
