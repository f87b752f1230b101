"""A file is there whole or not at all, and belongs to whoever must read it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.statedir import explain, remove_durably, write_atomically
from tradekeel.statedir.files import LEFT_BEHIND_NS, sweep


def test_a_file_is_written_and_replaced_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two" * 100_000)
    assert path.read_bytes() == b"two" * 100_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()  # a rename onto it must fail, after everything was written
    (path / "inside").write_text("")
    with pytest.raises(StoreUnavailable):
        write_atomically(path, b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (path / "inside").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_says_that_nothing_was_lost() -> None:
    with pytest.raises(OSError, match="No space left") as caught, open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123
        file.write(b"x")
    assert explain(caught.value, Path("/srv/books.db")).startswith(
        "/srv/books.db: No space left on device; the disk is full: nothing was lost, free some space"
    )


def test_the_rest_of_a_process_that_died_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / f".a.{os.getpid()}.tmp").write_text("half")
    write_atomically(tmp_path / "a", b"whole")
    assert os.listdir(tmp_path) == ["a"]


def test_rests_of_processes_that_died_long_ago_are_swept_and_nothing_else(tmp_path: Path) -> None:
    old, new, other, ours = (tmp_path / name for name in (".a.json.7.tmp", ".b.json.8.tmp", "c.7.tmp", ".d.json"))
    for path in (old, new, other, ours):
        path.write_bytes(b"")
    now_ns = new.stat().st_mtime_ns
    for path in (old, other, ours):
        os.utime(path, ns=(now_ns, now_ns - LEFT_BEHIND_NS - 1))
    (tmp_path / ".folder.9.tmp").mkdir()
    sweep(tmp_path, now_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.8.tmp", ".d.json", ".folder.9.tmp", "c.7.tmp"]
    sweep(tmp_path / "nowhere", now_ns)


def test_links_in_the_place_of_files_and_folders_are_not_followed(tmp_path: Path) -> None:
    target, link, folder = tmp_path / "target", tmp_path / "folder" / "link", tmp_path / "folder"
    folder.mkdir()
    target.write_text("untouched")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert target.read_text() == "untouched"
    assert link.read_bytes() == b"new"
    (tmp_path / "linked").symlink_to(folder)
    with pytest.raises(StoreUnavailable):
        write_atomically(tmp_path / "linked" / "x", b"")


def test_removing_says_whether_there_was_something(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"")
    assert remove_durably(tmp_path / "a")
    assert not remove_durably(tmp_path / "a")


def test_a_path_without_a_name_is_refused() -> None:
    with pytest.raises(InputError):
        write_atomically(Path("/"), b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave a file for somebody else")
def test_what_root_leaves_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12346)
    write_atomically(tmp_path / "a", b"")
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid) == (12345, 12346)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.ENAMETOOLONG, errno.EIO])
def test_what_the_system_says_comes_with_what_to_do(code: int, tmp_path: Path) -> None:
    text = explain(OSError(code, os.strerror(code)), tmp_path / "x")
    assert text.startswith(f"{tmp_path / 'x'}: {os.strerror(code)}; ")
    assert len(text) > len(str(tmp_path)) + 40
