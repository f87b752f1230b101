"""Another pytest, in a process of its own and perhaps as another user, with the fixtures of tests/servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.servers.folders import PREFIX, User
from tests.servers.keeper import descendants, state_of
from tests.servers.process import ENDED, until

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
CHILD_TIMEOUT_S = 240.0

BOTH = """
from pathlib import Path

def test_both_run(postgres_server, redis_server):
    {before}
    pids = [*postgres_server.process.pids, *redis_server.process.pids]
    note = Path({note!r})
    note.with_suffix(".part").write_text(" ".join(map(str, pids)))
    note.with_suffix(".part").rename(note)
    {then}
"""


class Who(NamedTuple):
    """As whom a child runs, and the folder that is its own for everything."""

    user: User | None  # None: as ourselves
    folder: Path


class Child:
    """A pytest of its own."""

    def __init__(self, who: Who, *arguments: str | Path, **extra: str) -> None:
        """Start it; ``extra`` goes to its environment."""
        self.who = who
        self.log = who.folder / "pytest.log"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)]
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                as_user(who.user, command),
                cwd=ROOT,
                env=environment(who) | extra,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def wait(self) -> int:
        """Its exit code."""
        code: int = self.process.wait(CHILD_TIMEOUT_S)
        return code

    def succeed(self) -> None:
        """Wait for it; all its tests must have passed."""
        assert self.wait() == 0, self.said()

    def said(self) -> str:
        """All it said."""
        return self.log.read_text()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(CHILD_TIMEOUT_S)

    def close(self) -> None:
        """It and its keepers are gone afterwards."""
        if self.process.poll() is None:
            self.kill()


def environment(who: Who) -> dict[str, str]:
    """Ours without what is about ourselves; TMPDIR is the folder."""
    names = ("TRADEKEEL", "PYTEST", "COVERAGE", "XDG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    ours = {
        "TMPDIR": str(who.folder),
        "PYTHONPATH": f"{ROOT / 'daemon'}{os.pathsep}{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return kept | ours


def both_servers(who: Who, *, before: str = "pass", then: str = "") -> tuple[Child, list[int]]:
    """A pytest that has both servers running, and their processes; without ``then`` it waits to be killed."""
    note = who.folder / "pids"
    note.unlink(missing_ok=True)
    test = who.folder / "test_both.py"
    test.write_text(BOTH.format(note=str(note), before=before, then=then or "import signal; signal.pause()"))
    child = Child(who, "-p", "tests.servers.fixtures", "-c", ROOT / "pyproject.toml", "--rootdir", who.folder, test)
    until(lambda: note.exists() or child.process.poll() is not None, "the servers did not start")
    assert note.exists(), child.said()
    return child, [int(pid) for pid in note.read_text().split()]


def keepers_of(child: Child) -> list[int]:
    """The keepers of a child's servers: its children."""
    return [pid for pid in descendants(child.process.pid) if _parent(pid) == child.process.pid]


def until_gone(pids: Iterable[int]) -> None:
    """Wait until none of these processes is there."""
    until(lambda: not alive(pids), f"some of {list(pids)} live on")


def alive(pids: Iterable[int]) -> list[int]:
    """Those of these processes that are there."""
    return [pid for pid in pids if state_of(pid) not in ENDED]


def folders_left(who: Who) -> list[Path]:
    """What a run left in its folder for temporary files."""
    return list(who.folder.glob(f"{PREFIX}*"))


def as_user(user: User | None, command: list[str]) -> list[str]:
    """The same command as another user, who can reach the interpreter, its libraries and the tests."""
    if user is None:
        return command
    shown = dict.fromkeys(Path(place).resolve() for place in (sys.base_prefix, sys.prefix, ROOT))
    become = [sys.executable, "-I", "-S", str(HERE / "become.py"), *map(str, user), *map(str, shown)]
    return [*become, "--", *command]


def why_not(user: User) -> str | None:
    """Why this user cannot run the tests here; None where he can."""
    command = as_user(user, [sys.executable, "-c", "import tests.servers.fixtures, psycopg, redis"])
    tried = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False)
    return None if tried.returncode == 0 else f"user {user.uid} cannot run tests here: {tried.stderr.strip()[-500:]}"


def _parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
