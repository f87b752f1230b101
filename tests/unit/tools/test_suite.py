"""The parts of all tests count as one run."""

from __future__ import annotations

import pytest

from tools.suite import NO_TESTS, PARTS, ROOT, Share, code_of, run


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
            and not any(file.is_relative_to(folder) for folder in share.without)
        ]
        assert len(parts) == 1, file
    assert all((ROOT / folder).exists() for share in PARTS for folder in share.folders)


def test_the_closing_line_is_what_counts(capfd: pytest.CaptureFixture[str]) -> None:
    gates, determinism = (Share((f"tests/unit/tools/test_{name}.py",)) for name in ("coverage_gates", "determinism"))
    alone = [run([share], [], coverage=False, at_once=1)[1]["passed"] for share in (gates, determinism)]
    capfd.readouterr()
    for at_once in (1, 2):
        code, counts = run([gates, determinism], [], coverage=False, at_once=at_once)
        shown = capfd.readouterr().out
        assert (code, counts) == (0, {"passed": sum(alone)})
        assert all(f"{passed} passed" in shown for passed in alone)
        assert shown.index(f"== {gates}") < shown.index(f"{alone[0]} passed") < shown.index(f"== {determinism}")
