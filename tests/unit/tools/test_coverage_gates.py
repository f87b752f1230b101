"""The coverage gates open and shut where they should."""

from __future__ import annotations

from tools.coverage_gates import FileLines, judge, ranges, report

MEASURED = {
    "domain/money.py": FileLines(10, ()),
    "domain/orders/states.py": FileLines(10, (4, 5)),
    "cli/run.py": FileLines(80, (1, 2, 3)),
}


def test_a_gate_counts_the_lines_of_the_files_its_pattern_matches() -> None:
    (whole, money, orders) = judge(MEASURED, {"**": 95, "domain/money*": 100, "domain/orders*": 100})
    assert (whole.files, whole.percent, whole.holds) == (3, 95.0, True)
    assert (money.percent, money.holds) == (100.0, True)
    assert (orders.percent, orders.holds) == (80.0, False)


def test_a_gate_without_files_is_broken() -> None:
    (gate,) = judge(MEASURED, {"domain/risk*": 100})
    assert not gate.holds
    assert "no such file" in report([gate])


def test_a_broken_gate_says_which_lines_no_test_ran() -> None:
    gates = judge(MEASURED, {"domain/orders*": 100})
    assert "BROKEN" in report(gates)
    assert "domain/orders/states.py: 4-5" in report(gates)


def test_nearly_all_is_not_all() -> None:
    (gate,) = judge({"domain/risk.py": FileLines(100_000, (7,))}, {"domain/risk*": 100})
    assert not gate.holds


def test_line_numbers_are_written_as_ranges() -> None:
    assert ranges(()) == ""
    assert ranges((1, 2, 3, 7, 9, 10)) == "1-3, 7, 9-10"
