"""Nothing that tests or a campaign start outlives them, however they end: daemons, commands, other pytests.

(Servers have keepers of their own, see servers/keeper.py; those and their servers do not bear the mark.)

Each process that is started from now on inherits a mark in its environment. The minder, a process of its own (this file, run
as a script on the standard library alone), waits until its parent is gone without having said goodbye, and kills whatever
bears the mark: what was started by a thread, in a session of its own, or by a process that has ended since, too.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "STARTED_BY_TESTS"
LOOK_EVERY_S = 0.2
ROUNDS_MAX = 1_000


@contextmanager
def minded() -> Iterator[None]:
    """What is started in the block ends with this process, at the latest."""
    before, mark = os.environ.get(MARK), secrets.token_hex(8)
    with subprocess.Popen(  # noqa: S603  # ourselves
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), mark],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={},
        start_new_session=True,  # a Ctrl-C at the terminal is not for it
    ) as minder:
        os.environ[MARK] = mark
        try:
            yield
        finally:
            minder.kill()
            if before is None:
                del os.environ[MARK]
            else:
                os.environ[MARK] = before


def bearers(mark: str) -> list[int]:
    """The processes that were started with this mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            continue
        if wanted in environment.split(b"\0"):
            found.append(int(name))
    return found


def _mind(parent: int, mark: str) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    for _ in range(ROUNDS_MAX):  # one that is killed may just have started another
        left = bearers(mark)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(LOOK_EVERY_S / 10)


if __name__ == "__main__":
    _mind(int(sys.argv[1]), sys.argv[2])
