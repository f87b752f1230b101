"""Benchmarks judge their figures by the budget, and print them so that nothing is lost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import report, run
from tests.benchmarks.report import Result, at_least, at_most, figure, missed, reaches, stays_within, table_of


def test_a_rate_is_measured_against_a_share_of_its_floor() -> None:
    assert at_least("rows", 60.0, "rows/s", floor=100.0, floor_name="raw", ratio_min=0.6).ok
    short = at_least("rows", 59.0, "rows/s", floor=100.0, floor_name="raw", ratio_min=0.6)
    assert (short.ok, short.ratio, short.budget) == (False, 0.59, "≥ 0.6 × floor")


def test_a_cost_may_take_a_multiple_of_its_floor_and_a_constant() -> None:
    within = at_most("latency", 3.5, "ms", floor=1.0, floor_name="one commit", ratio_max=3, plus=0.5)
    assert (within.ok, within.budget) == (True, "≤ 3 × floor + 0.5 ms")
    assert not at_most("latency", 3.6, "ms", floor=1.0, floor_name="one commit", ratio_max=3, plus=0.5).ok


def test_an_absolute_budget_keeps_the_floor_beside_it() -> None:
    assert reaches("orders", 5_000, "/s", minimum=5_000, floor=10_000).ratio == 0.5
    assert not reaches("orders", 4_999, "/s", minimum=5_000).ok
    assert stays_within("memory", 80, "MB", maximum=80).ok
    assert not stays_within("memory", 80.1, "MB", maximum=80).ok


def test_a_figure_without_a_budget_is_neither_met_nor_missed() -> None:
    results = [Result("persisted", 1.0, "/s"), stays_within("memory", 81, "MB", maximum=80)]
    assert [result.name for result in missed(results)] == ["memory"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (412_345.6, "412,346"), (100, "100"), (3.14159, "3.14"), (0.0123456, "0.01235"), (0, "0")],
)
def test_a_figure_has_as_many_digits_as_it_deserves(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_the_table_shows_name_figure_floor_ratio_budget_and_verdict() -> None:
    out = io.StringIO()
    result = at_least("recorder rows", 61_000, "rows/s", floor=100_000, floor_name="executemany", ratio_min=0.6)
    Console(file=out, width=160).print(table_of([result]))
    line = next(line for line in out.getvalue().splitlines() if "recorder rows" in line)
    for part in ("61,000 rows/s", "100,000 rows/s (executemany)", "0.61", "≥ 0.6 × floor", "met"):
        assert part in line


def test_a_benchmark_alone_fails_when_it_misses(capsys: pytest.CaptureFixture[str]) -> None:
    def bench(quick: bool) -> list[Result]:
        return [stays_within("stop", 0.1 if quick else 1.0, "s", maximum=0.5)]

    assert report.standalone(bench, ["--quick"]) == 0
    assert report.standalone(bench, []) == 1
    assert "MISSED" in capsys.readouterr().out


def test_benchmarks_are_found_by_a_word_of_their_name(tmp_path: Path) -> None:
    for name in ("bench_recorder.py", "bench_live_path.py", "report.py"):
        (tmp_path / name).touch()
    assert run.discover([], tmp_path) == ["live_path", "recorder"]
    assert run.discover(["path", "nothing"], tmp_path) == ["live_path"]


def test_a_word_that_no_benchmark_has_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--only", "no-such-benchmark"]) == 2
    assert "no benchmark matches" in capsys.readouterr().err


def test_a_benchmark_that_dies_is_a_figure_that_missed() -> None:
    (result,) = run.run_apart("of_nothing_that_exists", quick=True)
    assert result.ok is False
    assert result.name == "of_nothing_that_exists: ended with 1"
