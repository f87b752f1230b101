"""Which process somebody is: told apart from any that ever had its number, and looked up where it can be.

A process is its machine's boot, its namespace of processes, its number there, and the moment it began. Two containers of one
machine share the boot and not the namespace, so neither looks up the other's processes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradekeel.runtime.clock import SystemClock, pause

if TYPE_CHECKING:
    from tradekeel.backtest.optimising.studies import Me

_PROC = Path("/proc")
_BEGAN = 19
"""The field of /proc/PID/stat behind the name, counted from 0, that says when a process began: proc(5), starttime."""


def this_process(beat_every_s: float) -> Me:
    """This process, as a :class:`~tradekeel.backtest.optimising.studies.Me`, which gives a sign of life every so often."""
    from tradekeel.backtest.optimising.studies import BEATS_EVERY_S, Me

    place = _place()
    pid = os.getpid()
    owner = {"place": place, "pid": pid, "began": _began(pid), BEATS_EVERY_S: beat_every_s}
    return Me(owner, lambda other: _lives(other, place), SystemClock().monotonic, pause)


def _place() -> str:
    """The machine since its last start, and the namespace of its processes."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(pid: int) -> str | None:
    """When a process began, in the kernel's words; None where there is none, or it has ended and is not yet collected."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[_BEGAN]


def _lives(owner: dict[str, Any], place: str) -> bool | None:
    if not place or owner.get("place") != place:
        return None
    began = _began(int(owner["pid"]))
    return began is not None and began == owner.get("began")
