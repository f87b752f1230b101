"""What the servers have in common: a folder, an address that lasts, a process, and all that may befall it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import time
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Self

from tests.servers.disk import SizeLimit, SmallDisk, Space
from tests.servers.errors import DiskNotPossible, ServerNotRunning, ServerNotStarted
from tests.servers.folders import PASSWORD_BYTES, RunFolder
from tests.servers.ports import HOST, Port
from tests.servers.process import DEADLINE_S, ServerProcess

LOOK_EVERY_S = 0.01
HEALS_WITHIN_S = 15.0

Limited = Literal["disk", "size"]


class Server(ABC):
    """A server of one test, or of all: it starts when it is told to, and is gone when it is closed."""

    NAME: ClassVar[str]
    STOP: ClassVar[signal.Signals]

    def __init__(self, run: RunFolder, *, room_mb: int | None = None, limited: Limited | None = None) -> None:
        """Make its folder and take its port.

        With ``room_mb`` its data lies on a disk of this size that can be filled; where no disk can be mounted the size of
        its files can be limited instead. ``limited`` insists on one of the two, and DiskNotPossible says if it cannot be.
        """
        self.run = run
        self.process: ServerProcess | None = None
        self.space: Space | None = None
        self._paused = False
        if room_mb is not None or limited is not None:
            self.space = self._make_space(room_mb or 0, limited)
        self.port = Port()
        self.password = secrets.token_hex(PASSWORD_BYTES)
        self.folder = run.make(self.NAME)
        self.log = self.folder / "server.log"
        self.data = self.space.path if self.space else self.folder / "data"

    def _make_space(self, room_mb: int, limited: Limited | None) -> Space:
        if limited != "size":
            try:
                return SmallDisk(self.run, room_mb)
            except DiskNotPossible:
                if limited == "disk":
                    raise
        return SizeLimit(self.run, lambda: self.process.pids if self.process else [])

    # --- what each kind of server says ---------------------------------------------------------------------------------

    @abstractmethod
    def _prepare(self) -> None:
        """What is done before each start."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers a client now."""

    # --- life ----------------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """Where it listens."""
        return HOST

    @property
    def running(self) -> bool:
        """Whether it is there, paused or not."""
        return self.process is not None and self.process.running

    @property
    def holder(self) -> int | None:
        """The pid whose namespaces its programs must join to see its data."""
        return self.space.holder if self.space else None

    def start(self) -> Self:
        """Start it, and wait until it answers. Raises ServerNotStarted with the end of its log."""
        assert not self.running, "it is running already"
        self._prepare()
        self._paused = False
        self.process = self._start_process(self._command())
        if not self._comes_up(self.process):
            self.process.wait()
            raise ServerNotStarted(f"{self.NAME} ended while it was starting: {self.process.said()}")
        return self

    def _comes_up(self, process: ServerProcess, within_s: float = DEADLINE_S) -> bool:
        """Wait until it answers (True) or has ended (False); one that does neither in time is killed, and an error."""
        deadline = time.monotonic() + within_s
        while not self.ready():
            if not process.running:
                return False
            if time.monotonic() > deadline:
                said = process.said()
                process.kill()
                raise ServerNotStarted(f"{self.NAME} did not answer within {within_s:g} s: {said}")
            time.sleep(LOOK_EVERY_S)
        return True

    def _start_process(self, command: list[str]) -> ServerProcess:
        return ServerProcess(command, folder=self.folder, log=self.log, user=self.run.user, joins=self.holder)

    def stop(self) -> None:
        """Stop it in order: what clients have open is cut, what it was told to keep is on disk. Again is fine."""
        if self.process is not None:
            self.process.terminate(self.STOP)
            self.process = None
        self._paused = False

    def kill(self) -> None:
        """End it at once, with all its processes (SIGKILL), as a power cut does; the disk keeps what it was given."""
        self._there().kill()
        self.process = None
        self._paused = False

    def pause(self) -> None:
        """Hold all its processes where they are (SIGSTOP): connections stay open and new ones are taken, nothing answers."""
        self._there().pause()
        self._paused = True

    def resume(self) -> None:
        """Let it go on; again is fine."""
        self._there().resume()
        self._paused = False

    def restart(self) -> Self:
        """Stop it if it runs, and start it on the same data and port."""
        self.stop()
        return self.start()

    def heal(self) -> Self:
        """Make it answer as if nothing had been, whatever a test left: paused, without room, in a recovery or gone."""
        if self.running and self._paused:
            self.resume()
        if self.space is not None:
            self.space.free()
        if self.process is not None and self.running:
            # One that began its own recovery while it had no room may wait for ever for a part of it that failed then.
            with contextlib.suppress(ServerNotStarted):
                if self._comes_up(self.process, HEALS_WITHIN_S):
                    return self
        return self.restart()

    def fill_disk(self, left_bytes: int = 0) -> None:
        """Leave it this much room to write, while it runs; only for a server with ``room_mb``."""
        assert self.space is not None, "a server that shall run out of space needs room_mb"
        self.space.fill(left_bytes)

    def free_disk(self) -> None:
        """Give the room back. Where it ended meanwhile, `restart` it."""
        assert self.space is not None, "a server that shall run out of space needs room_mb"
        self.space.free()

    def close(self) -> None:
        """End it and remove its folder; again is fine."""
        if self.process is not None:
            if self.running:
                self.process.kill()  # nobody needs its data any more
            self.process.wait()
            self.process = None
        if self.space is not None:
            self.space.close()
        self.port.close()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def said(self) -> str:
        """Its log, of all its starts."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _there(self) -> ServerProcess:
        if self.process is None:
            raise ServerNotRunning(f"{self.NAME} is not running: start it first")
        return self.process
