"""One life of the daemon: a process of its own, killed at a named point, at a moment, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests import cradle
from tradekeel.runtime.faults import KILL_AT, POINTS_TO

LIFE_MAX_S = 180.0
"""No run is a tenth as long: one that is still going then hangs."""


@dataclass(frozen=True)
class Kill:
    """When to kill: at the ``count``-th pass of ``point``, or after ``share`` of the time a whole run takes.

    With ``politely`` it is asked to stop instead, by SIGTERM: between two kills that must change nothing either.
    """

    point: str = ""
    count: int = 1
    share: float = 0.0
    politely: bool = False

    def __str__(self) -> str:
        if self.point:
            return f"{self.point}:{self.count}"
        return f"{'stopped ' if self.politely else ''}after {self.share:.3f} of a run"


@dataclass(frozen=True)
class Life:
    """How a life went."""

    killed: bool
    stopped: bool  # it was asked to stop, and did
    code: int
    points: tuple[str, ...]  # in the order in which they were passed
    seconds: float
    log: str
    hung: bool = False

    @property
    def last_point(self) -> str:
        """The last named moment before it ended."""
        return self.points[-1] if self.points else ""


def live(
    config: Path,
    trace: Path,
    kill: Kill | None,
    whole_s: float,
    beside: AbstractContextManager[None] | None = None,
) -> Life:
    """Run the daemon until it ends or is killed, with something going on beside it."""
    trace.unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRADEKEEL_")} | {POINTS_TO: str(trace)}
    if kill is not None and kill.point:
        environment[KILL_AT] = f"{kill.point}:{kill.count}"
    log = trace.with_suffix(".log")
    began = time.monotonic()
    hung = asked = False
    with log.open("wb") as out, beside or nullcontext():
        process = cradle.begin(
            ["tradekeel", "run", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,  # what ends a campaign early ends no daemon of its
        )
        try:
            if kill is not None and not kill.point:
                try:
                    process.wait(kill.share * whole_s)
                except subprocess.TimeoutExpired:
                    asked = kill.politely
                    process.send_signal(signal.SIGTERM if asked else signal.SIGKILL)
            process.wait(LIFE_MAX_S)
        except subprocess.TimeoutExpired:
            hung = True
            process.send_signal(signal.SIGABRT)  # says where it stands, where a stack dump is armed
            time.sleep(0.5)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    points = tuple(p for p in (trace.read_text().split("\n") if trace.exists() else ()) if p and ":" not in p)
    text = log.read_text(errors="replace")
    killed = process.returncode == -signal.SIGKILL and not hung
    stopped = asked and process.returncode in (0, -signal.SIGTERM)  # the latter on the interpreter's way out
    return Life(killed, stopped, process.returncode, points, time.monotonic() - began, text, hung)
