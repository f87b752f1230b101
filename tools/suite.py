"""All tests, in parts of which four run beside each other: servers and daemons are waited for much of the time.

    python -m tools.suite [--coverage] [pytest's own arguments]

The first part is shown as it runs, the others behind it. The last line sums all up as pytest would. On servers that were there
before (TRADEKEEL_TEST_POSTGRES_URL, TRADEKEEL_TEST_REDIS_URL) the parts run one after the other: they would meet there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from tools.minder import minded

ROOT = Path(__file__).parent.parent


class Share(NamedTuple):
    """What one part runs."""

    folders: tuple[str, ...]
    without: tuple[str, ...] = ()
    measured: bool = True
    """Whether coverage looks on. Nearly all that scenarios run is in daemons of their own, where it does not; and random days,
    whole backtests and recorded days run lines that others' own tests run."""

    def __str__(self) -> str:
        return " ".join([*self.folders, *(f"without {folder}" for folder in self.without)])


RECKONED = ("tests/unit/domain", "tests/unit/strategies", "tests/unit/storage")
OF_BACKTESTS = ("tests/integration/backtest", "tests/acceptance")
STUDIES = "tests/integration/optimising"
WITH_SERVERS = ("tests/integration/storage", "tests/integration/ticks", "tests/integration/servers")
LISTS = "tests/conformance/repositories"
AWAY = "tests/scenarios/servers/test_server_away.py"
DAYS = "tests/unit/domain/test_execution_property.py"

PARTS = (
    Share(("tests/scenarios",), without=("tests/scenarios/servers",), measured=False),
    Share(("tests/scenarios/servers",), without=(AWAY,), measured=False),
    Share((LISTS,)),
    Share((STUDIES,)),
    Share(WITH_SERVERS),
    Share(("tests/unit",), without=RECKONED),
    Share(RECKONED, without=(DAYS,)),
    Share(OF_BACKTESTS, measured=False),
    Share(("tests/integration",), without=(*WITH_SERVERS, *OF_BACKTESTS, STUDIES)),
    Share(("tests/conformance",), without=(LISTS,)),
    Share((AWAY,), measured=False),
    Share((DAYS,), measured=False),
)
"""The longest first, and what waits for others before what only reckons, so that they end together."""

AT_ONCE = 4

SHARED_SERVERS = ("TRADEKEEL_TEST_POSTGRES_URL", "TRADEKEEL_TEST_REDIS_URL")
NO_TESTS = 5
"""pytest's exit code where nothing was selected."""

LOOK_EVERY_S = 0.2
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|xfailed|xpassed|errors?|deselected|warnings?)")


class Part:
    """One pytest, with its output in a file."""

    def __init__(self, share: Share, number: int, arguments: Sequence[str], *, coverage: bool) -> None:
        self.share = share
        self._out = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # as long as the part is
        self._shown = 0
        runner = ["-m", "coverage", "run", "-m", "pytest"] if coverage and share.measured else ["-m", "pytest"]
        without = [f"--ignore={folder}" for folder in share.without]
        cache = f"cache_dir=.pytest_cache/part-{number}"
        self.process = subprocess.Popen(  # noqa: S603  # our own words, and what whoever started us gave
            [sys.executable, *runner, "-q", "-o", cache, *arguments, *without, *share.folders],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )

    def show(self) -> None:
        """Show what has come since the last look."""
        self._out.seek(self._shown)
        new = self._out.read()
        self._shown += len(new)
        sys.stdout.write(new.decode(errors="replace"))
        sys.stdout.flush()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def close(self) -> None:
        """End it, if it still runs, and let go of its output."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self._out.close()

    def counts(self) -> Counter[str]:
        """What the closing line says."""
        self._out.seek(0)
        lines = self._out.read().decode(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if _COUNT.search(line)), "")
        return Counter({word: int(number) for number, word in _COUNT.findall(last)})


def code_of(codes: Sequence[int]) -> int:
    """The exit code of all together: that one part had nothing to do is no failure."""
    wrong = [code for code in codes if code not in (0, NO_TESTS)]
    if wrong:
        return wrong[0]
    return 0 if 0 in codes else NO_TESTS


def run(shares: Sequence[Share], arguments: Sequence[str], *, coverage: bool, at_once: int) -> tuple[int, Counter[str]]:
    """Run shares beside each other, and show their output one after the other; the exit code of all, and what they count."""
    with ExitStack() as stack:
        parts: list[Part] = []

        def begin_more() -> None:
            while len(parts) < len(shares) and sum(not part.is_over for part in parts) < at_once:
                number = len(parts)
                part = Part(shares[number], number, arguments, coverage=coverage)
                parts.append(stack.enter_context(closing(part)))

        begin_more()
        for number, share in enumerate(shares):
            print(f"== {share}", flush=True)
            while not parts[number].is_over:
                time.sleep(LOOK_EVERY_S)
                begin_more()
                parts[number].show()
            parts[number].show()
            begin_more()
        return code_of([part.process.returncode for part in parts]), sum((part.counts() for part in parts), Counter())


def main(arguments: Sequence[str]) -> int:
    """Run all parts."""
    coverage = "--coverage" in arguments
    passed_on = [argument for argument in arguments if argument != "--coverage"]
    one_after_the_other = any(os.environ.get(name) for name in SHARED_SERVERS)
    began_s = time.monotonic()
    with minded():
        code, counts = run(PARTS, passed_on, coverage=coverage, at_once=1 if one_after_the_other else AT_ONCE)
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    print(f"{said or 'no tests ran'} in {time.monotonic() - began_s:.2f}s")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
