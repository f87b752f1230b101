"""However a run of pytest ends, no server of it lives on, and its folder is gone then or with the next run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.servers.support import (
    ROOT,
    Child,
    Who,
    alive,
    both_servers,
    folders_left,
    keepers_of,
    until_gone,
)
from tests.servers.folders import LOCK, PREFIX, UNLOCKED_AGE_S, RunFolder, sweep
from tests.servers.keeper import send
from tests.servers.postgres import PostgresServer
from tests.servers.process import until
from tests.servers.valkey import ValkeyServer

BEGAN_S = int(time.time())
PAUSED = "postgres_server.pause(); redis_server.pause()"


def next_run(who: Who) -> None:
    """A run of the same user in the same place."""
    test = who.folder / "test_next.py"
    test.write_text("def test_next(servers_folder): pass\n")
    Child(who, "-p", "tests.servers.fixtures", "-c", ROOT / "pyproject.toml", "--rootdir", who.folder, test).succeed()


def test_a_run_that_ends_takes_its_servers_and_its_folder_along(who: Who) -> None:
    child, pids = both_servers(who, then="pass")
    child.succeed()
    assert alive(pids) == []
    assert shared_memory_of(pids) == []
    assert folders_left(who) == []


def test_a_killed_run_leaves_no_process(who: Who) -> None:
    child, pids = both_servers(who)
    with closing(child):
        keepers = keepers_of(child)
        assert alive([*pids, *keepers]) == [*pids, *keepers]
        child.kill()
        until_gone([*pids, *keepers])
        assert shared_memory_of(pids) == []


def test_a_killed_run_leaves_no_process_whose_servers_were_paused(who: Who) -> None:
    child, pids = both_servers(who, before=PAUSED)
    with closing(child):
        child.kill()
        until_gone(pids)


def test_servers_end_with_their_keepers_too(who: Who) -> None:
    child, pids = both_servers(who)
    with closing(child):
        for pid in [*keepers_of(child), child.process.pid]:
            send(pid, signal.SIGKILL)
        child.kill()
        until_gone(pids)
        next_run(who)
        assert shared_memory_of(pids) == []


def test_what_outlived_even_its_keeper_ends_with_the_next_run(who: Who) -> None:
    child, pids = both_servers(who, before=PAUSED)
    with closing(child):
        for pid in [*keepers_of(child), child.process.pid]:
            send(pid, signal.SIGKILL)
        child.kill()
        next_run(who)
        until_gone(pids)
        assert shared_memory_of(pids) == []
        assert folders_left(who) == []


def test_the_folder_of_a_killed_run_is_swept_by_the_next(who: Who) -> None:
    child, pids = both_servers(who)
    with closing(child):
        child.kill()
        until_gone(pids)
    assert len(folders_left(who)) == 1
    next_run(who)
    assert folders_left(who) == []


def test_the_folder_of_a_run_that_lives_is_not_swept(tmp_path: Path) -> None:
    with RunFolder(place=tmp_path) as run:
        assert sweep(tmp_path) == []
        assert run.path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_our_own_folders_is_swept(tmp_path: Path) -> None:
    being_made = tmp_path / f"{PREFIX}new"
    being_made.mkdir()
    another = tmp_path / "tradekeel"
    another.mkdir()
    (another / LOCK).touch()
    (tmp_path / f"{PREFIX}file").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    assert sweep(tmp_path) == []
    assert elsewhere.is_dir()
    long_ago_s = being_made.stat().st_mtime - 2 * UNLOCKED_AGE_S
    os.utime(being_made, (long_ago_s, long_ago_s))
    assert sweep(tmp_path) == [being_made], "a run that was killed before it had a lock"


def test_a_server_outlives_the_thread_that_started_it(servers_folder: RunFolder) -> None:
    server = ValkeyServer(servers_folder)
    with closing(server):
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
        until(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists(), "the thread did not end")
        assert server.ready()
        assert server.running


@pytest.mark.parametrize("kind", [PostgresServer, ValkeyServer])
def test_a_closed_server_leaves_nothing(servers_folder: RunFolder, kind: type[PostgresServer | ValkeyServer]) -> None:
    with kind(servers_folder) as server:
        assert server.process is not None
        pids = server.process.pids
    assert alive(pids) == []
    assert shared_memory_of(pids) == []
    assert not server.folder.exists()


def shared_memory_of(pids: Iterable[int]) -> list[int]:
    """What these processes made of System V's shared memory and is still there."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    names = lines[0].split()
    rows = [dict(zip(names, map(int, line.split()), strict=True)) for line in lines[1:]]
    # Numbers of processes come again: what is older than this run was another's.
    return [row["shmid"] for row in rows if row["cpid"] in set(pids) and row["ctime"] >= BEGAN_S]
