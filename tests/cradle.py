"""Processes that have loaded what they run before they begin: two thirds of what a short daemon costs is loading modules.

A cradle is a process that has loaded some modules and done nothing else. At each request it forks one that becomes what was
asked for: with the folder, the environment, the files and the dispositions of signals that were sent along, in a session of
its own where that is wished. From there on it is what ``python -m MODULE WORDS`` would be, to be signalled and killed like any
other. What a test has to say of the way to there (signals while modules are loaded, what a start loads) needs a start of its
own, and campaigns do without cradles.

There are two for the same modules, which take turns: what one process left is gone on with by one whose hashes differ, so the
order of what is in a set has to matter to nobody.

A process that is begun here is a child of whoever asked, as `subprocess` needs it: its parent in the cradle ends at once, and
who asked adopts whoever is left alone meanwhile (PR_SET_CHILD_SUBREAPER). Where there is no such thing, nothing is loaded before.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TURNS = 2
REQUEST_BYTES_MAX = 1_000_000
PR_SET_CHILD_SUBREAPER = 36
DISPOSED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""Signals that a program minds or ignores as whoever starts it does."""

DAEMON = (
    *("tradekeel.cli.running", "tradekeel.bootstrap.launch", "sqlalchemy.dialects.sqlite", "uvloop"),
    *("anyio._backends._asyncio", "psycopg", "redis.asyncio"),
)
"""What `tradekeel run` loads; libraries for servers are loaded where there are some."""

COMMANDS = (
    *(*DAEMON, "tradekeel.cli.app", "tradekeel.bootstrap.backtests", "tradekeel.bootstrap.reports"),
    *("tradekeel.cli.backtesting", "rich.progress"),
)
"""And with it all other commands."""

STORE = ("tradekeel.storage.store", "tradekeel.storage.spool", "tradekeel.storage.verify", "alembic.command", "psycopg")
"""What those load who write books, or change them."""

STUDIES = (
    *(*COMMANDS, "optuna.storages", "optuna.storages._rdb.storage", "numpy.random", "alembic.command"),
    *(
        "alembic.config",
        "alembic.migration",
        "sqlalchemy.orm",
        "sqlalchemy.dialects.postgresql",
        "tradekeel.bootstrap.optimising.working",
    ),
)
"""And those who try something in a study."""

is_wanted = False
"""Whether there are cradles. Tests say so; what else starts processes with `begin` has each begin anew."""

READ_EARLY = ("PYTHON", "LC_", "LANG", "TZ", "LOGURU")

_cradles: dict[tuple[object, ...], _Cradle] = {}
_turns: Counter[tuple[str, ...]] = Counter()
_one_at_a_time = threading.Lock()


def begin(words: Sequence[str], *, loaded: Sequence[str] = DAEMON, **how: Any) -> subprocess.Popen[Any]:
    """Start ``python -m WORDS``, or ``python -c CODE`` where they begin so; ``how`` is for `subprocess.Popen`."""
    if not is_wanted or sys.platform != "linux":
        return begin_anew(words, **how)
    return _Begun(words, loaded, **how)


def begin_anew(words: Sequence[str], **how: Any) -> subprocess.Popen[Any]:
    """Start it without a cradle, where the way to there matters."""
    return subprocess.Popen(_command(words), **how)


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, *(() if words[0] == "-c" else ("-m",)), *words]


HEARD: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
"""How to start what is to be heard."""


def to_its_end(process: subprocess.Popen[Any], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` does behind the start."""
    with process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class _Begun(subprocess.Popen[Any]):
    """A process out of a cradle: everything of `subprocess.Popen` but how it comes into being."""

    def __init__(self, words: Sequence[str], loaded: Sequence[str], **how: Any) -> None:
        self._loaded = tuple(loaded)
        self._words = list(words)
        super().__init__(_command(words), **how)

    def _execute_child(self, *args: Any) -> None:
        mine: Any = super()
        asked = inspect.signature(mine._execute_child).bind(*args).arguments
        ends = [asked[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        environ = dict(os.environ if asked["env"] is None else asked["env"])
        request = {
            "words": self._words,
            "folder": os.fspath(asked["cwd"] or Path.cwd()),
            "environ": environ,
            "session": asked["start_new_session"],
            "ignored": [number for number in DISPOSED if signal.getsignal(number) is signal.SIG_IGN],
        }
        files = [own if given == -1 else given for own, given in enumerate((ends[0], ends[3], ends[5]))]
        self.pid = _next_cradle(self._loaded, environ).begin(request, files)
        self._child_created = True
        close: Any = self._close_pipe_fds  # type: ignore[attr-defined]  # subprocess's own, as is the name above
        close(*ends)


def _next_cradle(loaded: tuple[str, ...], environ: Mapping[str, str]) -> _Cradle:
    """The one whose turn it is. Some variables are read when Python starts or loads, so for others there are others."""
    of_python = {key: value for key, value in environ.items() if key.startswith(READ_EARLY)}
    with _one_at_a_time:
        _turns[loaded] += 1
        key = (os.getpid(), loaded, tuple(sorted(of_python.items())), _turns[loaded] % TURNS)
        if key not in _cradles:
            others = {key: value for key, value in os.environ.items() if not key.startswith((*READ_EARLY, "TRADEKEEL"))}
            _cradles[key] = _Cradle(loaded, others | of_python)
        return _cradles[key]


class _Cradle:
    """Our end of one."""

    def __init__(self, loaded: Sequence[str], environ: Mapping[str, str]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *loaded],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environ,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    def begin(self, request: Mapping[str, object], files: Sequence[int]) -> int:
        """The pid of a process that runs this, by now our child."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        with _one_at_a_time, _adopting():
            self._ours.sendmsg([json.dumps(request).encode("utf-8", "surrogateescape")], ancillary)
            answer = self._ours.recv(REQUEST_BYTES_MAX)
        assert answer, "the cradle has ended: it has said why"
        return int(answer)

    def close(self) -> None:
        """Nobody asks any more."""
        self._ours.close()
        self._process.wait()


class _adopting:  # noqa: N801  # reads as what it is
    """Who is left alone by a parent below us becomes our child."""

    def __enter__(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def __exit__(self, *_: object) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


# --- the cradle itself --------------------------------------------------------------------------------------------------------


def _serve(asked: socket.socket) -> list[str]:
    """Begin what is asked for, until nobody asks any more. Returns in each process that is begun: what it is to run."""
    while True:
        data, ancillary, *_ = asked.recvmsg(REQUEST_BYTES_MAX, socket.CMSG_LEN(3 * array.array("i").itemsize))
        if not data:
            os._exit(0)
        files = array.array("i")
        files.frombytes(ancillary[0][2])
        request = json.loads(data.decode("utf-8", "surrogateescape"))
        told, tells = os.pipe()
        between = _fork()
        if not between:
            asked.close()
            os.close(told)
            _leave_alone(tells)
            _become(request, files)
            return list(request["words"])
        os.close(tells)
        os.waitpid(between, 0)
        number = os.read(told, REQUEST_BYTES_MAX)  # of one whose parent has ended, so that it is adopted by now
        asked.send(number)
        for each in (told, *files):
            os.close(each)


def _fork() -> int:
    """From 3.12 on Python warns of threads, such as libraries that are written in C begin; none of Python's own run here."""
    assert threading.active_count() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _leave_alone(tells: int) -> None:
    """Between the cradle and what is begun: begin it, tell its number, and end. Returns in what is begun, when it is adopted."""
    parent = os.getpid()
    child = _fork()
    if child:
        os.write(tells, str(child).encode())
        os._exit(0)
    os.close(tells)
    while os.getppid() == parent:
        os.sched_yield()


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    """Be in its place, with its files, as if started there."""
    if request["session"]:
        os.setsid()
    for number in DISPOSED:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else usual)
    for own, given in enumerate(files):
        os.dup2(given, own)
    for given in files:
        os.close(given)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.path[0] = request["folder"]


def main() -> None:
    """Load, and serve; in what is begun, run."""
    asked = socket.socket(fileno=int(sys.argv[1]))
    asked.set_inheritable(False)
    sys.path[0] = str(ROOT)
    for name in sys.argv[2:]:
        with suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)
    module, *words = _serve(asked)
    if module == "-c":
        sys.argv[:] = words
        sys.argv[0] = module
        exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv[1:] = words
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
