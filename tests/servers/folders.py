"""Folders for servers: one a run of pytest, found by the server's user, gone at the end, and swept when the run was killed.

Whoever runs the tests owns the run's folder and holds a lock on a file in it. A folder whose lock is free belongs to
nobody any more, so the next run removes it, with whatever still runs in it. Nothing else is ever touched: not a folder of
another user, and not one by another name.

As root the servers run as `nobody` (PostgreSQL refuses root), so the folder must lie where that user can get: in the
folder for temporary files, or in another of the usual ones where TMPDIR is root's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from tests.servers.errors import ServersError

PREFIX = "tradekeel-servers-"
LOCK = "lock"
KEEPER = Path(__file__).with_name("keeper.py")
UNLOCKED_AGE_S = 600.0
"""A folder without a lock file is being made, or was left in the middle of that: how old it is tells."""

PASSWORD_BYTES = 12

UNPRIVILEGED = "nobody"
UNPRIVILEGED_ID = 65_534
OTHER_PLACES = ("/tmp", "/var/tmp", "/dev/shm")
MEMORY = Path("/dev/shm")

NO_ENTRY = 13
ENTERS = f"""
import os, sys
uid, gid, folder = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
sys.exit(0 if os.access(folder, os.X_OK) else {NO_ENTRY})
"""


def in_memory(room_bytes: int) -> Path | None:
    """Memory to put folders into, if there is so much room: a kill is as good there as on a disk, since the machine lives on."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > room_bytes else None


class User(NamedTuple):
    """Whom the servers run as."""

    uid: int
    gid: int


def server_user() -> User:
    """Ourselves, or the user without rights where we are root."""
    if os.geteuid() != 0:
        return User(os.geteuid(), os.getegid())
    try:
        known = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        return User(UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    return User(known.pw_uid, known.pw_gid)


class RunFolder:
    """The folder of this run. Use as a context manager, or call `close`."""

    def __init__(self, place: Path | None = None) -> None:
        """``place``: where to make it; without one the first of the usual places that the servers' user can enter."""
        self.user = server_user()
        place = place or usable_place(self.user)
        sweep(place)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        # It has its name when it is locked: nobody finds it free in between.
        unnamed = self.path / f"{LOCK}.new"
        self._lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / LOCK)
        self.made: dict[tuple[str, ...], Path] = {}  # what is made once for all servers of the run, which copy it
        self.password = secrets.token_hex(PASSWORD_BYTES)  # of those copies
        if os.geteuid() == 0:
            self.path.chmod(0o711)  # passed through by the servers' user, listed by nobody

    def make(self, name: str) -> Path:
        """A folder in it that belongs to the servers' user, and that no other user can enter."""
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path))
        if os.geteuid() == 0:
            os.chown(path, *self.user)
        return path

    def close(self) -> None:
        """Remove it with all that is in it; again is fine."""
        if self._lock >= 0:
            shutil.rmtree(self.path)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def usable_place(user: User) -> Path:
    """The first usual place for temporary files that this user can enter and that we can write to."""
    places = list(dict.fromkeys(Path(place) for place in (tempfile.gettempdir(), *OTHER_PLACES)))
    for place in places:
        if place.is_dir() and os.access(place, os.W_OK | os.X_OK) and can_enter(user, place):
            return place
    raise ServersError(
        f"user {user.uid}, as whom the servers run, can enter none of {', '.join(map(str, places))}:"
        " set TMPDIR to a folder that every user can enter (like /tmp, mode 1777)"
    )


def can_enter(user: User, folder: Path) -> bool:
    """Whether this user gets into a folder: tried, since modes do not tell it all."""
    if os.geteuid() != 0:
        return os.access(folder, os.X_OK)
    tried = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ENTERS, *map(str, user), str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if tried.returncode not in {0, NO_ENTRY}:
        raise ServersError(f"root cannot become user {user.uid}, as whom the servers run: {tried.stderr.strip()}")
    return tried.returncode == 0


def sweep(place: Path) -> list[Path]:
    """Remove what killed runs of ours left in a place, processes and folders; which folders those were."""
    swept = []
    for path in sorted(place.glob(f"{PREFIX}*")):
        with _taken_over(path) as ours:
            if ours:
                end_processes_in(path)
                shutil.rmtree(path, ignore_errors=True)
                swept.append(path)
    return swept


@contextlib.contextmanager
def _taken_over(path: Path) -> Iterator[bool]:
    """Whether this is a folder of ours whose run is gone; while the block runs no other run takes it over."""
    try:
        known = path.lstat()
    except FileNotFoundError:
        yield False
        return
    if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.geteuid():
        yield False
        return
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield time.time() - known.st_mtime > UNLOCKED_AGE_S
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)


def end_processes_in(folder: Path) -> None:
    """Kill every process of the servers' user that works in this folder: the rest of a run whose keeper was killed as well.

    It is done as that user: root in a container may not look where another's process works.
    """
    creators = [int(path.read_text().split()[0]) for path in folder.glob("*/data/postmaster.pid")]
    spec: dict[str, object] = {"sweep": str(folder), "creators": creators}
    if os.geteuid() == 0:
        spec["user"] = list(server_user())
    subprocess.run(
        [sys.executable, "-I", "-S", str(KEEPER), json.dumps(spec)],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
