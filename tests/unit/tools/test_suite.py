"""The parts of all tests count as one run."""

from __future__ import annotations

from contextlib import closing

import pytest

from tools.suite import NO_TESTS, PARTS, ROOT, Part, code_of


@pytest.mark.parametrize(
    ("codes", "code"),
    [([0, 0], 0), ([0, NO_TESTS], 0), ([NO_TESTS, NO_TESTS], NO_TESTS), ([0, 1], 1), ([2, NO_TESTS], 2)],
)
def test_a_half_without_tests_fails_nobody_and_any_failure_does(codes: list[int], code: int) -> None:
    assert code_of(codes) == code


def test_every_folder_of_tests_is_in_a_half() -> None:
    with_tests = {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in (ROOT / "tests").rglob("test_*.py")}
    assert with_tests == {folder for part in PARTS for folder in part}


def test_the_closing_line_is_what_counts(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Part(["tests/unit/tools/test_coverage_gates.py"], 9, [], coverage=False)) as part:
        assert part.follow() == 0
        counts = part.counts()
    assert f"{counts['passed']} passed" in capfd.readouterr().out
    assert counts.keys() == {"passed"}
