"""The small process between pytest and a server: it starts the server, and lets nothing of it outlive pytest.

Run as a script (``python -I -S keeper.py SPEC``), on the standard library alone. The chain has no weak link:

- pytest is gone, killed or not: the keeper sees that its parent is another one, and kills the whole tree;
- the keeper is gone: the kernel kills the server (PR_SET_PDEATHSIG), and PostgreSQL's backends end with their postmaster;
- the server is gone: the keeper, a subreaper, inherits what it left running, kills that, and ends.

The signal at a parent's death is tied to the *thread* that forked, which in pytest may be any and end at any time: so the
keeper, which has only one, does the forking, and looks for pytest's death itself. It is also cleared by a change of user:
so it is asked for after that.

SPEC is JSON: `command` (argv, its first item a path), `parent` (the pid of pytest), and where needed `user` ([uid, gid] to
become), `join` (the pid whose user and mount namespaces are entered) or `disk` (a path and a size: hold a small file system
there, and run nothing) or `sweep` (a folder, and with `creators` the pids of its servers: end what a dead run left there). The
server's pid is the first line of stdout. The exit code is the server's; 128 + n says that signal n ended it.

Memory that PostgreSQL shares the old way (System V; it is how a postmaster knows that another's children still live) outlives a
killed one until the next start on the same data. Where there is none, the keeper removes it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 0.1
ROUNDS_MAX = 1_000
NOT_STARTED = 127
ORPHANED = 126

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
MS_NOSUID = 2
MS_NODEV = 4
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
IPC_RMID = 0

WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_LIBC = ctypes.CDLL(None, use_errno=True)


def descendants(pid: int) -> list[int]:
    """The processes below this one, parents before their children."""
    below: dict[int, list[int]] = {}
    for each in _numbers(os.listdir("/proc")):
        if (known := _state_and_parent(each)) is not None:
            below.setdefault(known[1], []).append(each)
    found = [pid]
    for one in found:  # grows while it is walked
        found.extend(below.get(one, ()))
    return found[1:]


def state_of(pid: int) -> str | None:
    """One letter: R, S, D for what runs, T for what is stopped, Z for what is dead; None for no such process."""
    known = _state_and_parent(pid)
    return None if known is None else known[0]


def _state_and_parent(pid: int) -> tuple[str, int] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may hold anything, brackets and blanks too.
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may just have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main(spec: dict[str, Any]) -> int:
    """Hold a disk, or start the command and stay until it has ended or nobody wants it any more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    if "sweep" in spec:
        if "user" in spec:
            _become(*spec["user"])
        _sweep(Path(spec["sweep"]), set(spec["creators"]))
        return 0
    _checked("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if "disk" in spec:
        _hold_disk(spec["disk"], spec.get("user"))
        _say(os.getpid())
        while os.getppid() == spec["parent"] and not _told_to_end():
            pass
        return 0
    keeper = os.getpid()
    child = os.fork()
    if child == 0:
        _become_server(spec, keeper)
    _say(child)
    while True:
        if os.getppid() != spec["parent"] or _told_to_end():
            _kill_all()
        code = _reap(child)
        if code is not None:
            _kill_all()
            _forget_shared_memory(child, spec.get("user"))
            return code


def _say(pid: int) -> None:
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()


def _told_to_end() -> bool:
    """Wait a little; whether one of the signals that end a process came."""
    came = signal.sigtimedwait(WATCHED, LOOK_EVERY_S)
    return came is not None and came.si_signo == signal.SIGTERM


def _kill_all() -> None:
    """Kill everything below; what loses its parent meanwhile becomes ours, and is met in the next round."""
    me = os.getpid()
    for _ in range(ROUNDS_MAX):
        alive = [pid for pid in descendants(me) if state_of(pid) not in {None, "Z"}]
        if not alive:
            return
        for pid in alive:
            send(pid, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY_S / 10)


def _reap(server: int) -> int | None:
    """Collect whoever ended; the server's exit code once it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == server:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


# --- what is left of the dead -----------------------------------------------------------------------------------------


def _sweep(folder: Path, creators: set[int]) -> None:
    """Kill every process that works in this folder (its keeper was killed as well), and remove what the servers shared."""
    for _ in range(ROUNDS_MAX):
        left = [pid for pid in _numbers(os.listdir("/proc")) if _works_in(pid, folder)]
        if not left:
            break
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(LOOK_EVERY_S / 10)
    _remove_shared_memory(creators)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(folder)
    except OSError:  # it has ended, is about to, or is another user's
        return False


def _forget_shared_memory(server: int, user: list[int] | None) -> None:
    """Remove what the server left. Its own user may do so everywhere; root in a container may not."""
    child = os.fork()
    if child == 0:
        try:
            if user is not None:
                _become(*user)
            _remove_shared_memory({server})
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _remove_shared_memory(creators: set[int]) -> None:
    """Remove the shared memory of processes that have ended, where nobody uses it."""
    try:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    except FileNotFoundError:  # a kernel without it
        return
    names = lines[0].split()
    for line in lines[1:]:
        known = dict(zip(names, map(int, line.split()), strict=True))
        if known["cpid"] in creators and known["nattch"] == 0 and known["uid"] == os.geteuid():
            _LIBC.shmctl(known["shmid"], IPC_RMID, None)


def _numbers(names: list[str]) -> list[int]:
    return [int(name) for name in names if name.isdecimal()]


# --- the child, between fork and exec ---------------------------------------------------------------------------------


def _become_server(spec: dict[str, Any], keeper: int) -> None:
    try:
        if "join" in spec:
            _join(spec["join"])
        if "user" in spec:
            _become(*spec["user"])
        _checked("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(ORPHANED)  # it died before we asked
        os.umask(0o077)
        # Standard output is the log, as standard error is; the line to pytest stays the keeper's.
        os.dup2(2, 1)
        # Python ignores two signals, and exec keeps that. SIGXFSZ stays so: at a limit of size a write fails, as on a full disk.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.execv(spec["command"][0], spec["command"])
    except OSError as error:
        sys.stderr.write(f"cannot start {spec['command'][0]}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(NOT_STARTED)


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _join(pid: int) -> None:
    """Enter the namespaces of whoever holds the disk; the user's one first, since it gives the right to the other."""
    for kind, flag in (("user", CLONE_NEWUSER), ("mnt", CLONE_NEWNS)):
        theirs = f"/proc/{pid}/ns/{kind}"
        if os.stat(theirs).st_ino == os.stat(f"/proc/self/ns/{kind}").st_ino:
            continue
        namespace = os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
        _checked("setns", namespace, flag)
        os.close(namespace)


def _hold_disk(disk: dict[str, Any], user: list[int] | None) -> None:
    """A file system in memory that only this process and those who join it see: with them it is gone, whatever happens."""
    uid, gid = user or (os.getuid(), os.getgid())
    if os.geteuid() == 0:
        _checked("unshare", CLONE_NEWNS)
    else:
        _checked("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    # Else the mount would be seen outside, where systemd shares everything under /.
    _checked("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    options = f"size={disk['size_bytes']},mode=0700,uid={uid},gid={gid}"
    _checked("mount", b"tmpfs", os.fsencode(disk["path"]), b"tmpfs", MS_NOSUID | MS_NODEV, options.encode())


def _checked(function: str, *arguments: object) -> None:
    longs = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    if getattr(_LIBC, function)(*longs) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
