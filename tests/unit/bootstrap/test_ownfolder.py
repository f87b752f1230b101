"""A command's own folder is gone behind it; one that a kill has left goes with the next, and nobody else's does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli_daemon import environment
from tradekeel.bootstrap.ownfolder import own_folder

PREFIX = "tradekeel-test-"
HOLDER = f"""
import time
from tradekeel.bootstrap.ownfolder import own_folder
with own_folder("{PREFIX}") as folder:
    (folder / "1.job").write_text("a job")
    print(folder, flush=True)
    time.sleep(1_000)
"""


def test_one_that_a_kill_has_left_is_removed_by_the_next_and_one_that_is_in_use_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", HOLDER),
        env={**environment(), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            left = Path(holder.stdout.readline().strip())
            with own_folder(PREFIX, tmp_path) as ours:
                assert set(tmp_path.iterdir()) == {left, ours}
        finally:
            holder.kill()
    assert (left / "1.job").exists()
    with own_folder(PREFIX, tmp_path) as ours:
        assert list(tmp_path.iterdir()) == [ours]
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_known_to_be_of_a_process_that_is_gone_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (tmp_path / f"{PREFIX}begun").mkdir()
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    linked = tmp_path / f"{PREFIX}linked"
    linked.mkdir()
    (linked / "lock").symlink_to(elsewhere / "lock")
    before = sorted(tmp_path.rglob("*"))
    with own_folder(PREFIX, tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's folder")
def test_somebody_elses_is_let_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f"{PREFIX}theirs"
    theirs.mkdir()
    (theirs / "lock").touch()
    os.chown(theirs, 12_345, 12_345)
    with own_folder(PREFIX, tmp_path):
        pass
    assert theirs.exists()
