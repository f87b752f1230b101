"""One daemon a state directory, however the last one ended; and messages that say what to do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tradekeel.errors import AlreadyRunning, InputError, StoreCorrupt, StoreUnavailable
from tradekeel.statedir import StateDir

HOLD = """
import sys
from collections.abc import Callable
from pathlib import Path
from tradekeel.statedir import StateDir
StateDir(Path(sys.argv[1])).lock()
print("held", flush=True)
sys.stdin.read()
"""


def held_by_a_process(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_it_is_made_for_us_alone(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "a" / "b")
    state.create()
    for folder in (state.path, state.latches, state.commands, state.results, state.backups):
        assert folder.stat().st_mode & 0o777 == 0o700
    state.create()


def test_a_copy_is_of_the_same_installation_at_another_place(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    state.create()
    assert state.installation(lambda: "one") == state.installation(lambda: "two") == "one"
    place = state.place()
    copied = StateDir(shutil.copytree(state.path, tmp_path / "copied"))
    assert copied.installation(lambda: "two") == "one"
    assert copied.place() != place
    renamed = StateDir(state.path.rename(tmp_path / "renamed"))
    assert renamed.place() == place


def test_each_thing_has_its_place(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert state.books == tmp_path / "books.db"
    assert state.paper_ledger("paper-1") == tmp_path / "paper-paper-1.db"
    assert state.latch() == tmp_path / "latches" / "all.json"
    assert state.latch("paper-1") == tmp_path / "latches" / "paper-1.json"
    assert state.release_note("paper-1") == tmp_path / "latches" / "paper-1.release"


@pytest.mark.parametrize("name", ["", ".", "..", "../status", "a/b", "a\0b", "a\n", "x" * 65])
def test_what_becomes_part_of_a_path_cannot_lead_elsewhere(tmp_path: Path, name: str) -> None:
    state = StateDir(tmp_path)
    for path_of in (state.latch, state.release_note, state.paper_ledger):
        with pytest.raises(InputError, match="cannot be the name of a file"):
            path_of(name)


def test_the_directory_may_be_reached_through_a_link(tmp_path: Path) -> None:
    # As systemd's is: /var/lib/tradekeel/NAME leads to /var/lib/private/tradekeel/NAME.
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    state = StateDir(tmp_path / "link")
    state.lock()
    assert state.begin_run({}) == {}
    assert StateDir(tmp_path / "real").holder() == os.getpid()
    state.end_run()
    state.release()


def test_a_run_that_was_not_ended_in_order_left_a_mark(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.create()
    assert state.begin_run({"a": 1}) == {"a": 1}
    assert state.begin_run({"a": 2, "b": 1}) == {"a": 1}, "the run that goes on began behind the first executions"
    state.end_run()
    assert state.begin_run({"a": 2, "b": 1}) == {"a": 2, "b": 1}


def test_a_mark_of_a_version_that_wrote_nothing_into_it_is_one_all_the_same(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.create()
    (tmp_path / "running").touch()
    assert state.begin_run({"a": 1}) == {}


def test_the_second_one_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    first, second = StateDir(tmp_path), StateDir(tmp_path)
    first.lock()
    assert second.holder() == os.getpid()
    with pytest.raises(AlreadyRunning, match=rf"\(process {os.getpid()}\) holds .*tradekeel stop"):
        second.lock()
    with pytest.raises(AlreadyRunning, match="this process holds"):
        first.lock()
    first.release()
    first.release()
    assert second.holder() is None
    second.lock()
    second.release()


def test_whoever_takes_it_sweeps_it_and_knows_what_was_asked_before(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.create()
    for folder in (state.path, state.commands, state.latches):
        rest = folder / ".x.json.7.tmp"
        rest.write_bytes(b"")
        os.utime(rest, ns=(0, 0))
    (state.commands / "early.json").write_bytes(b"")
    state.lock()
    (state.commands / "late.json").write_bytes(b"")
    assert state.left_over == {"early.json", ".x.json.7.tmp"}
    assert list(tmp_path.rglob("*.tmp")) == []
    state.release()


def test_a_daemon_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    process = held_by_a_process(tmp_path)
    state = StateDir(tmp_path)
    assert state.holder() == process.pid
    with pytest.raises(AlreadyRunning, match=f"process {process.pid}"):
        state.lock()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert state.holder() is None
    state.lock()
    assert state.holder() == os.getpid()
    state.release()


def test_asking_who_holds_it_takes_nothing_and_creates_nothing(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "none")
    assert state.holder() is None
    assert not state.path.exists()
    state.lock()
    state.release()
    asked = StateDir(state.path)
    for _ in range(100):
        assert asked.holder() is None
        state.lock()
        state.release()


def test_a_holder_that_has_not_yet_written_who_it_is_is_zero(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.lock()
    os.truncate(tmp_path / "lock", 0)
    assert StateDir(tmp_path).holder() == 0
    with pytest.raises(AlreadyRunning, match="a daemon holds"):
        StateDir(tmp_path).lock()
    state.release()


def test_a_file_where_the_directory_should_be_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreUnavailable, match="a file is where a folder should be"):
        StateDir(tmp_path / "state").lock()
    with pytest.raises(StoreUnavailable, match="a file is where a folder should be"):
        StateDir(tmp_path / "state" / "inner").lock()
    with pytest.raises(StoreUnavailable, match="a file is where a folder should be"):
        StateDir(tmp_path / "state").holder()


@pytest.mark.parametrize(
    "name",
    [
        "books.db",
        "books.db-wal",
        "books",
        "paper-a.db",
        "paper-a.b.db-journal",
        "paper-a",
        "status.json",
        "status",
        "lock",
        "running",
        "latches/all.json",
        "commands/x",
        "results",
        "backups/keel.log",
        "crash-5.txt",
        "./books.db",
    ],
)
def test_the_files_that_it_keeps_are_known_however_they_are_reached(name: str, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "state")
    (tmp_path / "file").symlink_to(tmp_path / "state" / name)
    statedir = StateDir(tmp_path / "folder")
    assert statedir.keeps(tmp_path / "state" / name)
    assert statedir.keeps(tmp_path / "folder" / name)
    assert statedir.keeps(tmp_path / "file")
    assert not statedir.keeps(tmp_path / name)


@pytest.mark.parametrize("name", ["keel.log", "books.log", "paper-a.log", "log/books.db", "status.log", "locked", ""])
def test_other_files_in_it_are_not_its_own(name: str, tmp_path: Path) -> None:
    assert not StateDir(tmp_path).keeps(tmp_path / name)


def test_one_of_its_own_that_leads_elsewhere_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "books.db").symlink_to(tmp_path / "elsewhere.db")
    assert StateDir(tmp_path / "state").keeps(tmp_path / "state" / "books.db")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("books.db", StoreCorrupt),
        ("paper-a.db", StoreCorrupt),
        ("lock", StoreUnavailable),
        ("running", StoreUnavailable),
        ("status.json", StoreUnavailable),
    ],
)
def test_what_lies_where_a_file_should_be_and_is_none_is_told_before_it_is_opened(
    name: str, error: type[Exception], make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(error, match=f"{name} is a (folder|named pipe), where a file"):
        StateDir(tmp_path).lock()
    if name == "lock":
        with pytest.raises(error, match="where a file of ours should be: remove it"):
            StateDir(tmp_path).holder()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_folder_that_root_makes_again_is_the_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    StateDir(tmp_path).mend()
    assert {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {(12345, 0o700)}


def test_a_link_instead_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="a symbolic link"):
        StateDir(tmp_path).lock()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_directory_of_somebody_else_names_the_owner(tmp_path: Path) -> None:
    # The attempt is another user's, in a process of its own: rights are the process's, not the test's.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    code = (
        "import os, sys; from pathlib import Path; from tradekeel.statedir import StateDir; os.setgid(12345); os.setuid(12345)\n"
        "try: StateDir(Path(sys.argv[1])).lock()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "state")], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("StoreUnavailable ")
    assert "this user may not write there: chown the directory" in result.stdout
    assert "belongs to uid 0, mode 0755; we are uid 12345)" in result.stdout


def test_a_read_only_file_system_is_explained() -> None:
    # /proc refuses every new directory, also root's.
    with pytest.raises(StoreUnavailable, match=r"^the state directory \(daemon\.state_dir\) cannot be made: /proc/"):
        StateDir(Path("/proc/tradekeel-state")).lock()
