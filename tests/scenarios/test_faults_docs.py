"""The fault table of the recovery guide is held to the code: every row names tests, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

from tradekeel.errors import ExitCode, FailureWord

HERE = Path(__file__).parent
GUIDE = (HERE.parent.parent / "docs" / "recovery.md").read_text(encoding="utf-8")
FAULTS = GUIDE[GUIDE.index("## Faults, one by one") :]
WORDS = {word.value for word in FailureWord} | {""}
CODES = {str(int(code)) for code in ExitCode} | {"goes on", "0 or 70", "128 + signal"}


def _tables() -> list[tuple[list[str], list[list[str]]]]:
    """Heads and rows of the tables."""
    blocks = re.findall(r"(?:^\|.*\n?)+", FAULTS, re.MULTILINE)
    cells = [[[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]
    return [(table[0], table[2:]) for table in cells]


def test_every_row_is_shown_by_tests_that_exist() -> None:
    there = {
        name
        for file in HERE.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    rows = [row for _, table in _tables() for row in table]
    assert len(rows) > 35
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named, f"no test shows: {row[0]}"
        assert set(named) <= there, f"{set(named) - there} of: {row[0]}"


def test_words_and_exit_codes_are_those_of_the_code() -> None:
    for head, rows in _tables():
        for row in rows:
            cells = dict(zip(head, row, strict=True))
            assert cells.get("word", "") in WORDS, row
            assert cells.get("exit code", "0") in CODES, row
