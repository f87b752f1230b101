"""The real program in a process of its own, as a person or a service manager runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests import cradle
from tests.conftest import ROOT
from tradekeel.cli.app import dispatch

DEADLINE_S = 60.0
PROGRAM = (sys.executable, "-m", "tradekeel")

CONFIG = """
[daemon]
name = "test"
state_dir = "state"
{daemon}

[storage]
checkpoint_every_s = 0.5

[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
seed = 7
interval_ms = 500
volatility = "0.25"
{feed}

[accounts.paper]
venue = "paper"
feed = "market"
leverage = 30

[accounts.paper.risk]
quantity_max = 20000
{risk}

[strategies.trend]
kind = "ema_cross"
account = "paper"
instruments = ["EUR_USD"]

[strategies.trend.params]
fast = 5
slow = 20
{params}
"""

SHORT = "ticks = 600"
LONG = 'duration = "50h"\nspeed = 60'


def write_config(folder: Path, *, feed: str, daemon: str = "", risk: str = "", params: str = "") -> Path:
    """A configuration of one account and one strategy; ``feed`` is SHORT (ends by itself) or LONG (does not)."""
    path = folder / "test.toml"
    path.write_text(CONFIG.format(feed=feed, daemon=daemon, risk=risk, params=params))
    return path


def copy_shipped_files(folder: Path) -> None:
    """What ``config/`` is in a clone, without what somebody who followed the documentation there has had written beside it."""
    shutil.copytree(ROOT / "config", folder / "config", ignore=shutil.ignore_patterns("found.toml"))


def environment(**extra: str) -> dict[str, str]:
    """Ours without what would change a daemon."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRADEKEEL", "NOTIFY", "JOURNAL"))}
    return kept | {"PYTHONWARNINGS": "error"} | extra


def start(*words: str | Path, loaded: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run one command in a process of its own, to its end; what is not ``loaded`` begins with nothing, as a person's does."""
    begin = partial(cradle.begin, loaded=cradle.COMMANDS) if loaded else cradle.begin_anew
    return cradle.to_its_end(
        begin(["tradekeel", *map(str, words)], **cradle.HEARD, env=environment(**extra)), DEADLINE_S
    )


def start_anew(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one as a person does, with nothing loaded before."""
    return start(*words, loaded=False)


class Said(NamedTuple):
    """What a command said and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def call(*words: str | Path) -> Said:
    """Run one command here: what a process of its own would do, without the second that one takes to start."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = dispatch([str(word) for word in words])
    return Said(int(code), out.getvalue(), err.getvalue())


def read_json(*words: str | Path) -> Any:
    """What a reading command says with --json; it must succeed."""
    done = call(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Daemon:
    """A `tradekeel run` in the background. Use as a context manager: it is gone afterwards, whatever happened."""

    def __init__(self, config: Path, *words: str, loaded: bool = True, **extra: str) -> None:
        self.config = config
        self.log = config.with_name("daemon.log")
        with self.log.open("a") as log:
            begin = cradle.begin if loaded else cradle.begin_anew
            self.process = begin(
                ["tradekeel", "run", str(config), *words],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment(**extra),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(timeout=DEADLINE_S)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def until_said(self, text: str) -> None:
        """Wait until the log says this."""
        self.until(lambda: text in self.log.read_text(), f"the log never said {text!r}")

    def until(self, holds: Callable[[], bool], otherwise: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"{otherwise}: {self.log.read_text()}"
            time.sleep(0.01)

    def until_trading(self) -> None:
        """Wait until the account is reconciled."""
        self.until_said("is reconciled and trading")

    def until_catching(self, number: signal.Signals) -> None:
        """Wait until the process has a handler for this signal: before that it would just die of it."""
        status = Path(f"/proc/{self.process.pid}/status")

        def catches() -> bool:
            caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
            return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

        self.until(catches, f"it never caught {number.name}")


@contextlib.contextmanager
def minding(number: signal.Signals) -> Iterator[None]:
    """What is started here minds a signal, also where we run under nohup, whose children ignore SIGHUP."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)
