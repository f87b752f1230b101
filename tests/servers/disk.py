"""Disks that run full: a small file system for a server's data, and a filler that takes what is left of it.

The file system is one in memory, in a mount namespace of its own. Nothing outside sees the mount, so nothing has to clean it up:
when its holder is gone it is gone, after a `kill -9` too. What is needed for that:

- root with CAP_SYS_ADMIN (a machine of one's own, a privileged container), or
- an ordinary user where user namespaces are allowed to everybody (most distributions).

A container without that right (Docker's default) has neither. There a limit of the size of files takes its place (`SizeLimit`):
the server cannot make a file larger, and is told "file too large" (EFBIG) instead of "no space left on device" (ENOSPC).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.servers.errors import DiskNotPossible, ServerNotStarted, ServersError
from tests.servers.folders import RunFolder
from tests.servers.process import ServerProcess

FILLER = "filler"
BYTES_PER_MB = 1_000_000
CHUNK_BYTES = 1 << 20

LIMITS = """
import os, resource, sys
uid, gid, size, *pids = map(int, sys.argv[1:])
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
for pid in pids:
    try:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    except ProcessLookupError:
        pass
"""


class Space(Protocol):
    """A way to take a server's space away and give it back, while it runs."""

    @property
    def holder(self) -> int | None:
        """The pid whose namespaces the server must join; None where it needs none."""

    @property
    def path(self) -> Path:
        """Where the server keeps its data, in its own eyes."""

    def fill(self, left_bytes: int = 0) -> None:
        """Leave this much room."""

    def free(self) -> None:
        """Give the room back."""

    def close(self) -> None:
        """Be gone."""


class SmallDisk:
    """A file system in memory, for one server."""

    def __init__(self, run: RunFolder, size_mb: int) -> None:
        """Mount it. Raises DiskNotPossible where this machine does not let us."""
        folder = run.make("disk")
        mount = folder / "mounted"
        mount.mkdir(mode=0o700)
        self.path = mount / "data"
        try:
            self._holding = ServerProcess(
                ["disk"],
                folder=folder,
                log=folder / "disk.log",
                user=run.user,
                disk={"path": str(mount), "size_bytes": size_mb * BYTES_PER_MB},
            )
        except ServerNotStarted as error:
            raise DiskNotPossible(f"no file system can be mounted here: {error}") from None
        self.holder = self._holding.pid
        # What others see below this path is not the disk; the holder's root shows it.
        self.outside = Path(f"/proc/{self.holder}/root") / mount.relative_to("/")
        made = self.outside / self.path.name
        made.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(made, *run.user)

    @property
    def left_bytes(self) -> int:
        """How much room there is now."""
        known = os.statvfs(self.outside)
        return known.f_bavail * known.f_frsize

    def fill(self, left_bytes: int = 0) -> None:
        """Take all room but this much."""
        with (self.outside / FILLER).open("ab", buffering=0) as filler:
            while (more := self.left_bytes - left_bytes) > 0:
                try:
                    filler.write(b"\0" * min(more, CHUNK_BYTES))
                except OSError:  # what was left is less than a block
                    return

    def free(self) -> None:
        """Give back what was taken; again is fine."""
        (self.outside / FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go: the file system ends with the last that uses it."""
        self._holding.kill()


class SizeLimit:
    """A limit of the size that files may grow to, for the processes of one server, set and lifted while they run."""

    holder = None

    def __init__(self, run: RunFolder, pids: Callable[[], list[int]]) -> None:
        """``pids`` tells the server's processes; the limit passes on to those that they start later."""
        self.path = run.make("data") / "data"
        self._user = run.user
        self._pids = pids

    def fill(self, left_bytes: int = 0) -> None:
        """No file may become larger than the largest is now and this much more."""
        sizes = [path.stat().st_size for path in self.path.rglob("*") if path.is_file()]
        self._set(max(sizes, default=0) + left_bytes)

    def free(self) -> None:
        """Let them grow as they may by right; again is fine."""
        self._set(resource.RLIM_INFINITY)

    def close(self) -> None:
        """Nothing is held."""

    def _set(self, size_bytes: int) -> None:
        # Whose process it is may do it: root, in a container, may not do it to another user's.
        arguments = [*self._user, size_bytes, *self._pids()]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", LIMITS, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise ServersError(f"the size of files cannot be limited: {done.stderr.strip()}")
