"""Files that are there whole or not at all, and what to do when the disk says no."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tradekeel.errors import InputError, StoreUnavailable

FILE_MODE = 0o600

LEFT_BEHIND_NS = 3_600_000_000_000
"""A file is put in place within moments: what has waited for this long is of a process that was killed at it."""

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


def write_atomically(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Put a file in place: after a crash at any moment there is the old one or the new one, and after the return the new one.

    The file gets the owner of its folder, so that what root leaves for a daemon of another user can be read by it. Links are
    not followed in the folder. Raises :class:`StoreUnavailable`.
    """
    if path.name in ("", ".", ".."):
        raise InputError(f"{path} is no name for a file")
    with explained(path), _opened_folder(path.parent) as folder:
        temporary = f".{path.name}.{os.getpid()}.tmp"
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)  # of a process that died with our id
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode, dir_fd=folder
        )
        try:
            try:
                _give_to_owner_of(folder, descriptor)
                _write_all(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


def sweep(folder: Path, now_ns: int) -> None:
    """Remove what processes that were killed while they put a file in place have left in a folder. What cannot be stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if now_ns - entry.stat(follow_symlinks=False).st_mtime_ns > LEFT_BEHIND_NS:
                        os.unlink(entry.path)


def remove_durably(path: Path) -> bool:
    """Remove a file so that it stays removed after a power cut. False if there was none."""
    with explained(path), _opened_folder(path.parent) as folder:
        try:
            os.unlink(path.name, dir_fd=folder)
        except FileNotFoundError:
            return False
        os.fsync(folder)
    return True


def no_file(path: Path) -> str | None:
    """What is there instead of a file, in words; None where there is one, or nothing. A pipe would hold up whoever opens it."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None  # whoever opens it says what it is
    if stat.S_ISREG(mode):
        return None
    return next((words for is_one, words in _NO_FILES if is_one(mode)), "something else")


_NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int) -> None:
    """Make a folder if it is not there. Like a file it gets the owner of the one it is in, whose daemon is to use it."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    with _opened_folder(path.parent) as parent, _opened_folder(path) as made:
        _give_to_owner_of(parent, made)


def _give_to_owner_of(folder: int, descriptor: int) -> None:
    owner = os.fstat(folder)
    if os.geteuid() == 0 and (owner.st_uid, owner.st_gid) != (0, 0):
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says about ``path`` into a :class:`StoreUnavailable` that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(explain(error, path)) from error


def explain(error: OSError, path: Path) -> str:
    """What is wrong with ``path`` and what to do about it."""
    what = _ADVICE.get(error.errno or 0, "check the disk and the system's log")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{path}: {reason}; {what}{_owner_hint(error, path)}"


_ADVICE = {
    errno.EROFS: "the file system is read-only: mount it writable, or set daemon.state_dir to a place that is",
    errno.ENOSPC: "the disk is full: nothing was lost, free some space and start again",
    errno.EDQUOT: "the disk quota is used up: nothing was lost, free some space and start again",
    errno.EACCES: "this user may not write there: chown the directory, or set daemon.state_dir to one of its own",
    errno.EPERM: "this user may not do that there: chown the directory, or set daemon.state_dir to one of its own",
    errno.ENOTDIR: "a file is where a folder should be: move it away, or set daemon.state_dir elsewhere",
    errno.EEXIST: "a file is where a folder should be: move it away, or set daemon.state_dir elsewhere",
    errno.ELOOP: "a symbolic link is where a file or folder of ours should be: remove it",
    errno.ENAMETOOLONG: "the path is too long: set a shorter daemon.state_dir",
    errno.EIO: "the disk fails: stop here, save what can be read, and replace it",
}


def _owner_hint(error: OSError, path: Path) -> str:
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    for candidate in (path, *path.parents):
        try:
            status = os.stat(candidate)
        except OSError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        return f" ({candidate} belongs to uid {status.st_uid}, mode {mode:04o}; we are uid {os.geteuid()})"
    return ""
