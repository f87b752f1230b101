"""The parts of all tests count as one run."""

from __future__ import annotations

from contextlib import closing

import pytest

from tools.suite import NO_TESTS, PARTS, ROOT, Part, Share, code_of


@pytest.mark.parametrize(
    ("codes", "code"),
    [([0, 0], 0), ([0, NO_TESTS], 0), ([NO_TESTS, NO_TESTS], NO_TESTS), ([0, 1], 1), ([2, NO_TESTS], 2)],
)
def test_a_part_without_tests_fails_nobody_and_any_failure_does(codes: list[int], code: int) -> None:
    assert code_of(codes) == code


def test_every_file_of_tests_is_in_one_part() -> None:
    files = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")]
    for file in files:
        parts = [
            share
            for share in PARTS
            if any(file.is_relative_to(folder) for folder in share.folders)
            and not (share.without and file.is_relative_to(share.without))
        ]
        assert len(parts) == 1, file
    assert all((ROOT / folder).is_dir() for share in PARTS for folder in share.folders)


def test_the_closing_line_is_what_counts(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Part(Share(("tests/unit/tools/test_coverage_gates.py",)), 9, [], coverage=False)) as part:
        assert part.follow() == 0
        counts = part.counts()
    assert f"{counts['passed']} passed" in capfd.readouterr().out
    assert counts.keys() == {"passed"}
