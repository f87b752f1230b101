"""The guide explains every figure of a report, names none that there is not, and its example prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from tradekeel.domain import performance_report as reports
from tradekeel.domain.performance_days import TAIL_DAYS_MIN
from tradekeel.domain.performance_trades import GROUPS_MAX, OTHER, REOPENABLE_MAX, TAGS_MAX
from tradekeel.domain.sessions import EVERY_DAY_A_YEAR, TRADING_DAYS_A_YEAR

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")

GROUPS = (reports.TradeGroups, reports.PeriodGroups)
IN_TABLES = (
    reports.GroupFigures,
    reports.StreakFigures,
    reports.PeriodFigures,
    reports.FallFigures,
    reports.DrawdownFigures,
    reports.ReturnFigures,
    reports.CostFigures,
    reports.MarketFigures,
)
FIELDS = {name for kind in IN_TABLES for name in kind.__struct_fields__}


def named_in_tables() -> set[str]:
    rows = re.findall(r"^\| [^|]+ \| ((?:`\w+`(?:, )?)+) \|", GUIDE, re.MULTILINE)
    return {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_every_figure_has_a_row(field):
    assert field in named_in_tables()


def test_no_row_names_a_figure_that_there_is_not():
    assert named_in_tables() - FIELDS == {"exposure_percent"}  # of the report itself
    assert "exposure_percent" in reports.PerformanceReport.__struct_fields__


@pytest.mark.parametrize("field", [name for kind in GROUPS for name in kind.__struct_fields__])
def test_every_group_is_named(field):
    assert f"`{field}`" in GUIDE


def test_the_numbers_are_those_of_the_code():
    assert (TRADING_DAYS_A_YEAR, EVERY_DAY_A_YEAR, TAIL_DAYS_MIN, REOPENABLE_MAX, GROUPS_MAX, TAGS_MAX) == (
        252,
        365,
        20,
        1_000,
        100,
        8,
    )
    assert f"`{OTHER}`" in GUIDE


def test_the_example_prints_what_the_guide_says():
    example = GUIDE.split("```python\n")[1].split("```")[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "docs/performance.md", "exec"), {})
    assert f"It prints `{printed.getvalue().strip()}`." in GUIDE


def test_the_readme_leads_here():
    assert "docs/performance.md" in (ROOT / "README.md").read_text(encoding="utf-8")
