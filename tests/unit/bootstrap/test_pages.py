"""Beside a page nothing stays of processes that were killed while they wrote it; those that still do lose nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.backtest.reporting.reports import report
from tradekeel.backtest.reporting.page import BEGINNING
from tradekeel.bootstrap.pages import demand_place, write_page
from tradekeel.errors import InputError


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def left_of(page: Path, pid: int, text: str = BEGINNING + "half a pa") -> Path:
    beside = page.with_name(f".{page.name}.{pid}.new")
    beside.write_text(text)
    return beside


WRITES_AND_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from tradekeel.bootstrap import pages

with pages._beside(Path(sys.argv[1])) as file:
    file.write(pages.BEGINNING)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_has_left_is_gone_behind_the_next_page(page: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITES_AND_IS_KILLED, page], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [each.name.startswith(".report.html.") for each in page.parent.iterdir()] == [True]
    write_page(report(), page)
    assert list(page.parent.iterdir()) == [page]
    assert page.read_text().endswith("</html>\n")


@pytest.mark.parametrize("text", ["", BEGINNING[:9], BEGINNING + "half a pa"])
def test_however_far_it_came_and_whichever_process_it_was(page: Path, text: str) -> None:
    """The number may be our own by now: in a container it nearly always is."""
    for pid in (1, os.getpid(), 4_000_000):
        left_of(page, pid, text)
    demand_place(page)
    assert list(page.parent.iterdir()) == []


def test_what_somebody_writes_at_this_moment_stays(page: Path) -> None:
    beside = left_of(page, 1)
    with beside.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_page(report(), page)
        assert beside.exists()
    write_page(report(), page)
    assert not beside.exists(), "it has ended"


def test_nothing_else_is_taken_away(page: Path) -> None:
    others = [
        left_of(page, 1, "mine"),
        left_of(page.with_name("other.html"), 1),
        page.with_name(".report.html.new"),
        page.with_name(".report.html.1x.new"),
        page.with_name(".reportXhtml.1.new"),
    ]
    for other in others[2:]:
        other.write_text(BEGINNING)
    link = page.with_name(".report.html.2.new")
    link.symlink_to(others[1])
    os.mkfifo(page.with_name(".report.html.3.new"))
    page.with_name(".report.html.4.new").mkdir()
    there = {each.name for each in page.parent.iterdir()}
    write_page(report(), page)
    assert {each.name for each in page.parent.iterdir()} == there | {page.name}


def test_a_name_that_is_taken_by_something_else_is_an_error_that_says_so(page: Path) -> None:
    left_of(page, os.getpid(), "mine")
    with pytest.raises(InputError, match="cannot be written: File exists"):
        write_page(report(), page)
    assert not page.exists()
