"""Runs every benchmark, one after another, and prints one table.

    python -m tests.benchmarks.run                     all of them
    python -m tests.benchmarks.run --only recorder     those whose name contains a word (may be repeated)
    python -m tests.benchmarks.run --quick --json      short rounds; figures for a machine to read

Each benchmark has a process of its own, so that none inherits the memory, the caches or the garbage of another,
and one that dies leaves the others their turn. The exit code is 1 if a budget is missed or a benchmark died.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.report import Result, console, missed, table_of

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BENCH_TIMEOUT_S = 1800


def discover(only: Sequence[str], folder: Path = HERE) -> list[str]:
    """Names of the benchmarks, `bench_NAME.py` without the frame, that contain one of the words (or all)."""
    names = sorted(path.stem.removeprefix("bench_") for path in folder.glob("bench_*.py"))
    return [name for name in names if not only or any(word in name for word in only)]


def run_here(name: str, quick: bool) -> list[Result]:
    """Run one benchmark in this process."""
    module = importlib.import_module(f"tests.benchmarks.bench_{name}")
    results: list[Result] = module.bench(quick)
    return results


def run_apart(name: str, quick: bool) -> list[Result]:
    """Run one benchmark in a process of its own; one that dies or hangs is a figure that missed."""
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as folder:
        answer = Path(folder) / "results.json"
        command = [sys.executable, "-m", "tests.benchmarks.run", "--child", name, "--answer", str(answer)]
        if quick:
            command.append("--quick")
        try:
            # What a benchmark prints goes to stderr: stdout is for the table, or for JSON alone.
            code = subprocess.run(
                command, cwd=ROOT, stdout=sys.stderr.fileno(), timeout=BENCH_TIMEOUT_S, check=False
            ).returncode
            said = f"ended with {code}"
        except subprocess.TimeoutExpired:
            said = f"gave no answer in {BENCH_TIMEOUT_S} s"
        if not answer.is_file():
            return [Result(f"{name}: {said}", 0.0, "", budget="runs to its end", ok=False)]
        return [Result(**entry) for entry in json.loads(answer.read_text(encoding="utf-8"))]


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 0,
    }


def run_all(names: Sequence[str], quick: bool, quiet: bool) -> Iterator[Result]:
    """Run benchmarks in order, saying on stderr which one is at work."""
    for number, name in enumerate(names, start=1):
        if not quiet:
            print(f"[{number}/{len(names)}] {name}", file=sys.stderr, flush=True)
        yield from run_apart(name, quick)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description="Run the benchmarks.")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="names that contain WORD")
    parser.add_argument("--quick", action="store_true", help="short rounds: show that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 when every budget is met, 1 when not, 2 when nothing matches."""
    options = parse(argv)
    if options.child:
        results = run_here(options.child, options.quick)
        options.answer.write_text(json.dumps([asdict(result) for result in results]), encoding="utf-8")
        return 0
    names = discover(options.only)
    if options.list:
        print("\n".join(names))
        return 0
    if not names:
        known = ", ".join(discover([])) or "none yet"
        print(
            f"no benchmark matches {' or '.join(options.only) or 'anything'}; there are: {known}",
            file=sys.stderr,
        )
        return 2
    results = list(run_all(names, options.quick, quiet=options.json))
    if options.json:
        print(json.dumps({"machine": machine(), "quick": options.quick, "results": [asdict(r) for r in results]}))
    else:
        out = console()
        out.print(table_of(results))
        about = machine()
        out.print(f"Python {about['python']}, {about['machine']}, {about['cores']} cores" + quick_note(options.quick))
    return 1 if missed(results) else 0


def quick_note(quick: bool) -> str:
    """Warn beside figures that short rounds prove nothing."""
    return "; quick rounds: the figures show that it runs, not how fast" if quick else ""


if __name__ == "__main__":
    raise SystemExit(main())
