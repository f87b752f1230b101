"""Run a command as another user, who is shown what he needs even where it lies in a folder of root's own.

``python -I -S become.py UID GID SHOWN... -- COMMAND``, as root, in the root of the repository. Only this process and its
children see it: in a mount namespace of theirs an empty folder covers the first one that the user could not enter, and
what he needs is mounted there again, at the same path. No mode of any folder is changed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWNS = 0x0002_0000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
OTHERS_ENTER = 0o001
_LIBC = ctypes.CDLL(None, use_errno=True)


def closed_ancestor(path: Path) -> Path | None:
    """The first folder on the way that is root's own."""
    way = [*reversed(path.parents), path]
    return next((folder for folder in way if not folder.stat().st_mode & OTHERS_ENTER), None)


def show(paths: list[Path]) -> None:
    """Make these folders reachable, for this process and its children."""
    hidden = [(path, closed) for path in paths if (closed := closed_ancestor(path)) is not None]
    if not hidden:
        return
    _checked(_LIBC.unshare(CLONE_NEWNS), "unshare")
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    opened = {path: os.open(path, os.O_PATH) for path, _ in hidden}
    for closed in dict.fromkeys(closed for _, closed in hidden):
        _mount("none", str(closed), "tmpfs", 0, "mode=0755")
    for path, handle in opened.items():
        path.mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{handle}", str(path), None, MS_BIND | MS_REC)
        os.close(handle)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind, options)]
    done = _LIBC.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])
    _checked(done, f"mount {target}")


def _checked(done: int, what: str) -> None:
    if done != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    split = sys.argv.index("--")
    uid, gid = map(int, sys.argv[1:3])
    show([Path(word) for word in sys.argv[3:split]])
    os.chdir(Path.cwd())  # by its name: what was mounted over it is not where we are
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.umask(0o022)
    os.execv(sys.argv[split + 1], sys.argv[split + 1 :])
