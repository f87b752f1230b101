"""All tests, in five parts beside each other.

Servers and daemons are waited for most of the time: two cores have room for all of them.

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

ROOT = Path(__file__).parent.parent


class Share(NamedTuple):
    """What one part runs."""

    folders: tuple[str, ...]
    without: str = ""
    measured: bool = True  # nearly all that scenarios run is in daemons of their own, which are not


PARTS = (
    Share(("tests/unit",)),
    Share(("tests/scenarios",), without="tests/scenarios/servers", measured=False),
    Share(("tests/scenarios/servers",), measured=False),
    Share(("tests/conformance",)),
    Share(("tests/integration", "tests/acceptance")),
)

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
        without = [f"--ignore={share.without}"] if share.without else []
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

    def follow(self) -> int:
        """Show everything until it ends; its exit code."""
        without = f" without {self.share.without}" if self.share.without else ""
        print(f"== {' '.join(self.share.folders)}{without}", flush=True)
        while self.process.poll() is None:
            self.show()
            time.sleep(LOOK_EVERY_S)
        self.show()
        return self.process.returncode

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


def main(arguments: Sequence[str]) -> int:
    """Run all parts."""
    coverage = "--coverage" in arguments
    passed_on = [argument for argument in arguments if argument != "--coverage"]
    one_after_the_other = any(os.environ.get(name) for name in SHARED_SERVERS)
    began_s = time.monotonic()
    parts: list[Part] = []
    codes: list[int] = []
    with ExitStack() as stack:
        for number, share in enumerate(PARTS):
            parts.append(stack.enter_context(closing(Part(share, number, passed_on, coverage=coverage))))
            if one_after_the_other:
                codes.append(parts[-1].follow())
        if not one_after_the_other:
            codes = [part.follow() for part in parts]
        counts = sum((part.counts() for part in parts), Counter())
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    print(f"{said or 'no tests ran'} in {time.monotonic() - began_s:.2f}s")
    return code_of(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
