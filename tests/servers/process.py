"""One process of a server, with all its children: started under a keeper, stopped, paused and killed as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.servers.errors import ServerNotRunning, ServerNotStarted
from tests.servers.folders import KEEPER, User
from tests.servers.keeper import descendants, send, state_of

DEADLINE_S = 60.0
LOOK_EVERY_S = 0.005
LOG_SHOWN_CHARS = 6_000
ENDED = {None, "Z", "X"}
HELD = {"T", "t"} | ENDED


class ServerProcess:
    """A program that runs as the servers' user until it is told to end, or pytest has ended in whatever way."""

    def __init__(
        self,
        command: list[str],
        *,
        folder: Path,
        log: Path,
        user: User,
        joins: int | None = None,
        disk: dict[str, object] | None = None,
    ) -> None:
        """Start it.

        ``folder`` is its home and working directory, ``log`` takes what it says; ``joins`` is the pid of who holds its disk.
        With ``disk`` (see keeper.py) nothing is run but a disk held.
        """
        self.command = command
        self.log = log
        spec: dict[str, object] = {"command": command, "parent": os.getpid()}
        if os.geteuid() == 0 or disk is not None:
            spec["user"] = list(user)
        if joins is not None:
            spec["join"] = joins
        if disk is not None:
            spec["disk"] = disk
        with log.open("ab") as said:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=folder,
                env={"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,  # a Ctrl-C at the terminal is pytest's affair
            )
        assert self._keeper.stdout is not None
        with self._keeper.stdout as line:
            told = line.readline().strip()
        if not told:
            self._keeper.wait()
            raise ServerNotStarted(f"{KEEPER.name} did not start {command[:1]}: {self.said()}")
        self.pid = int(told)
        """The server's own process, the parent of all the others."""

    @property
    def running(self) -> bool:
        """Whether the server's own process is there, paused or not."""
        return self._keeper.poll() is None and state_of(self.pid) not in ENDED

    @property
    def pids(self) -> list[int]:
        """All its processes now, its own first."""
        return [self.pid, *descendants(self.pid)] if self.running else []

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_SHOWN_CHARS:]

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait until it and all it started have ended: its exit code, 128 + n where signal n ended it."""
        return self._keeper.wait(timeout_s)

    def terminate(self, number: signal.Signals, timeout_s: float = DEADLINE_S) -> None:
        """Ask it to end, and wait for that; what does not end in time is killed."""
        if self.running:
            self.resume()
            send(self.pid, number)
        try:
            self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End all its processes at once, as a power cut does."""
        if self.running:
            with contextlib.suppress(ServerNotRunning):
                self.pause()  # so that none of them sees another die first
            for pid in reversed(self.pids):
                send(pid, signal.SIGKILL)
        else:
            self._keeper.terminate()
        self.wait()

    def pause(self) -> None:
        """Stop all its processes where they are (SIGSTOP); connections stay, and nothing is answered."""
        self._need_running()
        # Its own process first: then it starts no other, and buries none whose number might be given to a stranger.
        send(self.pid, signal.SIGSTOP)
        until(lambda: state_of(self.pid) in HELD, f"process {self.pid} did not stop")
        for _ in range(100):
            going = [pid for pid in self.pids if state_of(pid) not in HELD]
            if not going:
                return
            for pid in going:
                send(pid, signal.SIGSTOP)
        until(lambda: all(state_of(pid) in HELD for pid in self.pids), f"children of {self.pid} did not stop")

    def resume(self) -> None:
        """Let all its processes go on (SIGCONT); again is fine."""
        self._need_running()
        for pid in reversed(self.pids):
            send(pid, signal.SIGCONT)

    def _need_running(self) -> None:
        if not self.running:
            raise ServerNotRunning(f"{Path(self.command[0]).name} is not running any more; it said: {self.said()}")


def run(command: list[str], *, folder: Path, log: Path, user: User, joins: int | None = None) -> None:
    """Run a program of a server's to its end, as the servers' user; any exit code but 0 is an error with its log."""
    process = ServerProcess(command, folder=folder, log=log, user=user, joins=joins)
    try:
        code = process.wait()
    except subprocess.TimeoutExpired:
        process.kill()
        raise ServerNotStarted(f"{command[0]} did not end within {DEADLINE_S:g} s: {process.said()}") from None
    if code != 0:
        raise ServerNotStarted(f"{command[0]} ended with {code}: {process.said()}")


def until(holds: Callable[[], bool], otherwise: str, timeout_s: float = DEADLINE_S) -> None:
    """Look until something holds, for a bounded time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {timeout_s:g} s")
        time.sleep(LOOK_EVERY_S)
