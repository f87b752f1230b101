"""The state directory: who holds it, and what lies where.

    books.db                    the journal and its tables
    paper-ACCOUNT.db            the paper venue's own ledger of one account
    lock                        held by the daemon, or a command; holds its process id
    running                     there while a run goes on: each account's newest execution of the runs before it
    latches/SCOPE.json          a kill that only a person releases; SCOPE is an account, or "all"
    latches/ACCOUNT.release     a release that was asked for without a daemon, until the account has started
    commands/…json              what a person asked the running daemon for, in order
    results/ID.json             what became of it
    installation                an id that tells it from any other, for servers that they share
    backups/                    copies of the books: from before a migration, a wipe or a restore
    archives/                   what was moved out of the books: tradekeel db archive; in no copy of them made afterwards
    spool/                      what is acknowledged and waits for the books' server: never to be deleted
    backtests/                  executions of backtests, each a state directory of its own
    optimizations/              studies of parameters: tradekeel optimize
    restoring/                  a copy that is being put in place of the books
    status.json                 what the daemon said of itself last
    crash-PID.txt               the traceback of a bug

The lock is an open-file-description lock rather than flock(2): asking who holds it (F_OFD_GETLK) takes nothing, so a
`tradekeel status` can never be what keeps a starting daemon out. The kernel drops it with the process, however that
ends; the file stays.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from tradekeel.errors import AlreadyRunning, InputError, StoreCorrupt, StoreUnavailable
from tradekeel.statedir.files import (
    FILE_MODE,
    explain,
    explained,
    make_folder,
    no_file,
    remove_durably,
    sweep,
    write_atomically,
)

DIRECTORY_MODE = 0o700
SCOPE_ALL = "all"

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_OURS = re.compile(
    r"books(\.db.*)?|paper-[^.]*|paper-.*\.db.*|status(\.json)?|crash-[0-9]+(\.txt)?|lock|running|latches|commands|results|"
    r"backtests|optimizations|backups|archives|restoring|spool|installation|\..*\.tmp"
)
"""What lies here under these names is ours, and "books", say, would be renamed and removed with what begins with "books."."""
_FLOCK = "hhqqi"  # struct flock of <fcntl.h>: type, whence, start, length, pid


A_DAEMON_IS_ALONE = (
    "two would break the journal. Stop it first (tradekeel stop), or give this one a state_dir of its own"
)
A_COMMAND_IS_ALONE = "this command changes books that nobody else uses meanwhile. Stop it first (tradekeel stop)"
"""Why a state directory has one process at a time: what a daemon is told that finds another, and what a command is."""

A_BACKTEST_IS_ALONE = "one process at a time runs it"
ITS_END = "Wait for it, or stop it (Ctrl-C, or SIGTERM)"
"""Of a backtest's folder: what `tradekeel stop` asks for reaches daemons only."""

_COMMAND, _BACKTEST = b"command", b"backtest"
"""Stand in the lock behind the process id of one that is no daemon."""
_WORDS = {A_COMMAND_IS_ALONE: _COMMAND, A_BACKTEST_IS_ALONE: _BACKTEST}


class StateDir:
    """One state directory. Creating the object changes nothing."""

    def __init__(self, path: Path) -> None:
        # The directory itself may be reached through a link (systemd's is, for a dynamic user); nothing inside it may be one.
        self.path = Path(os.path.realpath(path))
        self._lock: int | None = None
        self._folder: int | None = None  # held with the lock, and not to be removed as a file is
        self.left_over: frozenset[str] = frozenset()
        """Files that were in the folder of commands when this process took the directory: given to a daemon before it."""

    # --- what lies where ---------------------------------------------------------------------------------------------

    @property
    def books(self) -> Path:
        """The database of journal and projections."""
        return self.path / "books.db"

    def paper_ledger(self, account: str) -> Path:
        """The paper venue's ledger of an account. It is the exchange's file, not ours: `--fresh` alone removes it."""
        return self.path / f"paper-{_part(account)}.db"

    @property
    def latches(self) -> Path:
        """The folder of latch files."""
        return self.path / "latches"

    def latch(self, scope: str = SCOPE_ALL) -> Path:
        """The latch file of an account, or of all of them."""
        return self.latches / f"{_part(scope)}.json"

    def release_note(self, account: str) -> Path:
        """What a release without a daemon has left for the account's next start."""
        return self.latches / f"{_part(account)}.release"

    @property
    def commands(self) -> Path:
        """The folder where a person's commands arrive."""
        return self.path / "commands"

    @property
    def results(self) -> Path:
        """The folder of answers to commands."""
        return self.path / "results"

    @property
    def spool(self) -> Path:
        """The folder of what waits for the books' server."""
        return self.path / "spool"

    def installation(self, make: Callable[[], str]) -> str:
        """What tells this state directory from any other, for a server that they share. Made once."""
        path = self.path / "installation"
        with explained(path):
            if not path.exists():
                write_atomically(path, f"{make()}\n".encode())
            return path.read_text(encoding="ascii").strip()

    def place(self) -> str:
        """What tells this very directory from a copy of it, which has the installation's id, too. The id is made before.

        It is the number of the id's file, and when that was put there: no copy on a file system that makes files anew has both.
        """
        path = self.path / "installation"
        with explained(path):
            found = path.stat()
        return f"{found.st_ino:x}-{found.st_ctime_ns:x}"

    @property
    def backups(self) -> Path:
        """The folder of copies made before migrations, wipes and restores."""
        return self.path / "backups"

    @property
    def backtests(self) -> Path:
        """The folder of backtests, each with books of its own, unless another one was named."""
        return self.path / "backtests"

    @property
    def archives(self) -> Path:
        """The folder of what was moved out of the books, unless another one was named."""
        return self.path / "archives"

    @property
    def restoring(self) -> Path:
        """The folder of a copy on its way into the place of the books."""
        return self.path / "restoring"

    def keeps(self, path: Path) -> bool:
        """Whether a file that somebody else wants to write is one that the daemon keeps here, however it is reached."""
        try:
            found = (Path(os.path.realpath(path)), Path(os.path.realpath(path.parent)) / path.name)
        except (OSError, ValueError):
            return False  # it is no path at all
        within = [each.relative_to(self.path).parts for each in found if each.is_relative_to(self.path)]
        return any(parts and _OURS.fullmatch(parts[0]) for parts in within)

    def refuse_what_is_no_file(self) -> None:
        """What lies where a file of ours should be, and is none, would hold up whoever opens it, or worse.

        Raises :class:`StoreCorrupt` for the books and the ledgers, :class:`StoreUnavailable` for what can be made again.
        """
        for path in (self.books, *sorted(self.path.glob("paper-*.db"))):
            refuse_no_data(path)
        for path in (self.path / name for name in ("lock", "running", "status.json")):
            _refuse_no_file(path)

    # --- whether a run is being gone on with ---------------------------------------------------------------------------

    def begin_run(self, newest: Mapping[str, int]) -> dict[str, int]:
        """Mark that a run is going on; the number of each account's newest execution of the runs before it.

        That is ``newest``, unless an earlier process left its mark, because it was stopped, was killed or crashed: then the
        run is that one's, and so is the answer. Whatever an account has behind that number, this run has begun.
        """
        marker = self.path / "running"
        with explained(marker):
            left = marker.read_bytes() if marker.exists() else None
        if left is None:
            write_atomically(marker, msgspec.json.encode(newest))
            return dict(newest)
        try:
            return msgspec.json.decode(left, type=dict[str, int])
        except msgspec.DecodeError:
            return {}  # of a version that only made the file: all that has ended counts as ended in this run, as it did there

    def end_run(self) -> None:
        """The run is over: all its feeds have ended. A run that was only stopped is gone on with."""
        remove_durably(self.path / "running")

    # --- who holds it ------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the directory and its folders, for us alone. Raises :class:`StoreUnavailable`."""
        try:
            self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        except OSError as error:
            said = explain(error, self.path)
            raise StoreUnavailable(f"the state directory (daemon.state_dir) cannot be made: {said}") from error
        with explained(self.path):
            for folder in self._folders:
                make_folder(folder, DIRECTORY_MODE)

    def mend(self) -> list[Path]:
        """Make those folders again that somebody has removed; which those were. None where the directory itself is gone.

        Raises :class:`StoreUnavailable`.
        """
        missing = [folder for folder in self._folders if not folder.exists()] if self.path.is_dir() else []
        if missing:
            self.create()
        return missing

    @property
    def _folders(self) -> tuple[Path, ...]:
        return (self.latches, self.commands, self.results, self.backups)

    def lock(self, why: str = A_DAEMON_IS_ALONE) -> None:
        """Take the directory for this process, until :meth:`release` or the process's end. Creates what is missing.

        Raises :class:`AlreadyRunning` naming the process that has it, with ``why`` that is in the way and what to do;
        :class:`StoreUnavailable` if nobody could write here.
        """
        if self._lock is not None:
            raise AlreadyRunning(f"this process holds {self.path} already")
        self.create()
        self.refuse_what_is_no_file()
        with explained(self.path / "lock"):
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            self._take(descriptor, why)
        except BaseException:
            self.release()
            os.close(descriptor)
            raise
        self._lock = descriptor

    @property
    def is_at_work(self) -> bool:
        """Whether a command that changes books holds the directory, which ends by itself; or nobody does any more, or says that
        he does: who takes it or gives it back is at that for a moment.
        """
        if not self.holder():
            return True
        with explained(self.path / "lock"):
            said = (self.path / "lock").read_bytes().split()
        return not said or said[1:] == [_COMMAND]

    def still_starting(self) -> None:
        """Whoever looks goes by the time of the lock: this process has not said anything yet because it is still starting."""
        if self._lock is not None:
            with suppress(OSError):
                os.utime(self._lock)

    def _take(self, descriptor: int, why: str) -> None:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise StoreUnavailable(explain(error, self.path / "lock")) from error
            if _word_in(descriptor) == _BACKTEST:
                why = f"one process at a time is at a backtest's books. {ITS_END}"
            raise AlreadyRunning(f"{_said_in(descriptor)} holds {self.path}: {why}") from None
        self._hold_folder()
        with explained(self.commands):  # before anybody can see that we are here, and give us one
            self.left_over = frozenset(os.listdir(self.commands))
        with explained(self.path / "lock"):
            said = f"{os.getpid():<10}\n".encode() + _WORDS.get(why, b"")
            os.pwrite(descriptor, said, 0)
            os.ftruncate(descriptor, len(said))
            os.fsync(descriptor)
            now_ns = os.fstat(descriptor).st_mtime_ns
        for folder in (self.path, *self._folders):
            sweep(folder, now_ns)

    def _hold_folder(self) -> None:
        """Hold the directory itself, too: a lock file looks like one that a dead process has left, and people remove those.

        Not every file system can do this: there the file alone has to do.
        """
        with explained(self.path):
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise AlreadyRunning(
                f"a daemon or a command still holds {self.path}, though its file `lock` was removed or replaced: end that "
                "process first (look for it with `ps` or `fuser`). Two would break the journal"
            ) from None
        except OSError:
            pass
        self._folder = folder

    def release(self) -> None:
        """Give the directory back. Safe to call twice."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
        if self._lock is not None:
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def holder(self) -> int | None:
        """The process id of the daemon that holds this directory, None if none does. Takes nothing, changes nothing.

        0 means that one does, but has not yet written who it is.
        """
        _refuse_no_file(self.path / "lock")
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(explain(error, self.path / "lock")) from error
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
            kind = struct.unpack(_FLOCK, answer)[0]
            return None if kind == fcntl.F_UNLCK else _read_pid(descriptor) or 0
        finally:
            os.close(descriptor)


def refuse_no_data(path: Path) -> None:
    """Raise :class:`StoreCorrupt` where books or a ledger should be, and something is that is no file."""
    found = no_file(path)
    if found is not None:
        raise StoreCorrupt(f"{path} is {found}, where a file should be: put a copy of that in its place")


def _refuse_no_file(path: Path) -> None:
    found = no_file(path)
    if found is not None:
        raise StoreUnavailable(f"{path} is {found}, where a file of ours should be: remove it")


def _part(name: str) -> str:
    """A name that becomes part of a file's; whatever it is, it leads nowhere else."""
    if not _PART.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a file: 1 to 64 letters, digits, and _ . : - behind the first"
        )
    return name


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 10, 0).strip()
    return int(text) if text.isdigit() else None


def _said_in(descriptor: int) -> str:
    pid, word = _read_pid(descriptor), _word_in(descriptor)
    who = f"a {word.decode()}" if word in (_COMMAND, _BACKTEST) else "a daemon"
    return f"{who}{f' (process {pid})' if pid else ''}"


def _word_in(descriptor: int) -> bytes:
    """What the holder of a lock says that it is; empty of a daemon."""
    return b"".join(os.pread(descriptor, 32, 0).split()[1:])
