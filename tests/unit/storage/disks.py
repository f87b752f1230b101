"""Disks that are soon full, and one that has gone bad."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A file system of two megabytes."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a tiny disk; the limit on a file's size is tested everywhere")
    folder = Path(tempfile.mkdtemp(prefix="tradekeel-tiny-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tradekeel-test", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("this machine lets nobody mount a tiny disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def fill(folder: Path) -> None:
    """Leave no byte of a tiny disk free: a file ``filler`` takes what there is."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (65_536, 1):
            try:
                while filler.write(b"x" * size):
                    pass
            except OSError:
                continue


def overwrite_the_middle(path: Path, size: int = 3_000) -> None:
    """As a disk does that goes bad, or somebody else's program: all is there, and some of it is nonsense."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + size] = b"\xa5" * size
    path.write_bytes(content)
