"""The coverage gates: what part of the package the tests must run, file pattern by file pattern.

`[tool.tradekeel.coverage]` in pyproject.toml maps a pattern of files, relative to the package, to the least
percentage of their lines. Each gate stands alone, so that the domain's 100 % cannot be bought with lines from
somewhere else. A pattern that no measured file matches is an error: a renamed module does not leave its gate behind.

    python -m tools.coverage_gates    after `coverage run` and `coverage combine`
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from coverage import Coverage

PACKAGE = "daemon/tradekeel/"
MISSING_SHOWN_MAX = 40


@dataclass(frozen=True)
class FileLines:
    """How many lines of one file count, and which of them no test ran."""

    statements: int
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Gate:
    """One gate and how it went."""

    pattern: str
    least_percent: float
    files: int
    statements: int
    missing: Mapping[str, tuple[int, ...]]

    @property
    def percent(self) -> float:
        """Lines that ran, in percent; files without lines are covered."""
        uncovered = sum(len(lines) for lines in self.missing.values())
        return 100.0 if self.statements == 0 else 100.0 * (self.statements - uncovered) / self.statements

    @property
    def holds(self) -> bool:
        """Whether some file matched and enough of its lines ran."""
        return self.files > 0 and self.percent >= self.least_percent


def judge(measured: Mapping[str, FileLines], gates: Mapping[str, float]) -> list[Gate]:
    """Hold each gate against the files, named relative to the package, that its pattern matches."""
    judged = []
    for pattern, least_percent in gates.items():
        matched = {name: lines for name, lines in measured.items() if fnmatchcase(name, pattern)}
        missing = {name: lines.missing for name, lines in matched.items() if lines.missing}
        statements = sum(lines.statements for lines in matched.values())
        judged.append(Gate(pattern, least_percent, len(matched), statements, missing))
    return judged


def ranges(lines: tuple[int, ...]) -> str:
    """Write line numbers shortly: (1, 2, 3, 7) becomes "1-3, 7"."""
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def report(gates: list[Gate]) -> str:
    """One line a gate; below a gate that is broken, the lines that no test ran."""
    text = io.StringIO()
    for gate in gates:
        verdict = "ok" if gate.holds else "BROKEN"
        figure = f"{gate.percent:6.2f} % of {gate.statements:,} lines" if gate.files else "no such file"
        print(f"coverage {gate.pattern:<20} {figure:<28} ≥ {gate.least_percent:g} %  {verdict}", file=text)
        if not gate.holds:
            worst = sorted(gate.missing.items(), key=lambda item: -len(item[1]))
            for name, lines in worst[:MISSING_SHOWN_MAX]:
                print(f"    {name}: {ranges(lines)}", file=text)
    return text.getvalue()


def measure(root: Path) -> dict[str, FileLines]:
    """Read what `coverage run` recorded, for every file of the package."""
    coverage = Coverage(data_file=root / ".coverage", config_file=root / "pyproject.toml")
    coverage.load()
    with tempfile.TemporaryDirectory() as folder:
        outfile = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(outfile))
        files = json.loads(outfile.read_text(encoding="utf-8"))["files"]
    measured = {}
    for name, figures in files.items():
        inside = Path(name).as_posix().partition(PACKAGE)[2]
        if inside:
            measured[inside] = FileLines(figures["summary"]["num_statements"], tuple(figures["missing_lines"]))
    return measured


def main() -> int:
    """Print every gate and return 1 if one is broken."""
    root = Path(__file__).parent.parent
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    gates = judge(measure(root), settings["tool"]["tradekeel"]["coverage"])
    sys.stdout.write(report(gates))
    return 0 if all(gate.holds for gate in gates) else 1


if __name__ == "__main__":
    raise SystemExit(main())
