"""How many cases each interface is held to on each backend: ``python -m tools.conformance``.

The cases are those that pytest collects in ``tests/conformance``; a module is an interface, and the backend is the word that its
fixture puts into the case's name.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
SUITE = "tests/conformance"
BACKENDS = ("sqlite", "postgres", "memory", "redis", "redis-limited-user")
NONE = "of itself"  # cases that no backend is named in: they are about one of them, or about all

_CASE = re.compile(r"^tests/conformance/(?P<module>[\w/]+)\.py::\w+(?:\[(?P<name>.*)\])?$")


def count(cases: Iterable[str]) -> dict[str, Counter[str]]:
    """Interface → backend → number of cases, of the ids that pytest gives them."""
    found: dict[str, Counter[str]] = {}
    for case in cases:
        read = _CASE.match(case)
        if read is not None:
            interface = read["module"].replace("test_", "")
            found.setdefault(interface, Counter())[backend_of(read["name"] or "")] += 1
    return found


def backend_of(name: str) -> str:
    """The backend in a case's name: a whole part of it, the longest first."""
    for backend in sorted(BACKENDS, key=len, reverse=True):
        if re.search(rf"(^|-){backend}($|-)", name):
            return backend
    return NONE


def table_of(found: dict[str, Counter[str]]) -> Table:
    """The same for people, the sums at the end."""
    columns = [*BACKENDS, NONE]
    table = Table("interface", *columns, "cases", title="Conformance", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    sums: Counter[str] = Counter()
    for interface, cases in sorted(found.items()):
        sums += cases
        table.add_row(interface, *(str(cases[name] or "–") for name in columns), str(cases.total()))
    table.add_section()
    table.add_row("all", *(str(sums[name] or "–") for name in columns), str(sums.total()))
    return table


def main() -> int:
    """Collect, count, print."""
    command = [sys.executable, "-m", "pytest", SUITE, "--collect-only", "-q", "-p", "no:cacheprovider"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    if collected.returncode:
        sys.stderr.write(collected.stdout + collected.stderr)
        return 1
    plain = Console()
    console = plain if plain.is_terminal else Console(width=120)
    console.print(table_of(count(collected.stdout.splitlines())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
