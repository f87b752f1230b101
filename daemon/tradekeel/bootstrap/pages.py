"""Where the page of a report is written: nothing is ever replaced by it but an earlier page."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tradekeel.backtest.reporting.model import RunReport
from tradekeel.backtest.reporting.page import BEGINNING, make_page, plotly_script
from tradekeel.errors import InputError


def own_page(path: Path, account: str, several: bool) -> Path:
    """The page of one account: of several each has its own, NAME-ACCOUNT.html."""
    return path.with_name(f"{path.stem}-{account}{path.suffix}") if several else path


def demand_place(path: Path) -> None:
    """Whether a page can be written there, asked before the work is done. Nothing is changed.

    Raises InputError where there is something else than a page of ours, or no folder that can be written.
    """
    _refuse_other(path)
    with _beside(path):
        pass


def write_page(report: RunReport, path: Path) -> None:
    """The report as an HTML file, whole or not at all. InputError as of :func:`demand_place`, or without plotly."""
    page = make_page(report, plotly_script())
    with _beside(path) as file:
        file.write(page)
        file.flush()  # and not closed: it is locked as long as it is open
        _refuse_other(path)  # it may have come while a backtest ran
        os.replace(file.name, path)


@contextmanager
def _beside(path: Path) -> Iterator[TextIO]:
    """A new file in the folder of a page, which is gone behind it unless it was moved. InputError where that cannot be."""
    try:
        _sweep(path)
        with _new(path) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def _new(path: Path) -> TextIO:
    """A file that is ours as long as it is open: whoever sweeps leaves what is locked. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    for _ in range(TRIES_MAX):
        file = beside.open("x", encoding="utf-8")  # never through a link, and never into what is there
        with suppress(OSError):  # not every file system has locks, and then nobody sweeps there
            if not _is_ours_alone(file.fileno()) or not os.fstat(file.fileno()).st_nlink:
                file.close()  # somebody who swept saw it before it was locked, and takes it away
                continue
        return file
    raise BlockingIOError(errno.EAGAIN, "somebody else writes it at this moment")


TRIES_MAX = 5


def _sweep(path: Path) -> None:
    """Take away what processes have left that were killed while they wrote this page; their lock ended with them."""
    left = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.new")
    with os.scandir(path.parent) as entries:
        found = [Path(entry.path) for entry in entries if left.fullmatch(entry.name)]
    for beside in found:
        with suppress(OSError):  # somebody else's, or gone meanwhile: it is in nobody's way
            handle = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                is_file = stat.S_ISREG(os.fstat(handle).st_mode)
                begun = BEGINNING.encode()
                if is_file and begun.startswith(os.read(handle, len(begun))) and _is_ours_alone(handle):
                    beside.unlink()
            finally:
                os.close(handle)


def _is_ours_alone(handle: int) -> bool:
    """Lock an open file; whether nobody else has. It is locked until it is closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_other(path: Path) -> None:
    """InputError for what is there and is no page of ours: a configuration, books, a device, a link, a folder."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "no file"
        raise InputError(f"{path} is {what}: a report is written into a file of its own. Choose another name")
    try:
        with path.open("rb") as file:
            is_ours = file.read(len(BEGINNING)) == BEGINNING.encode()
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: what is there cannot be read: {error.strerror or error}"
        ) from error
    if not is_ours:
        raise InputError(
            f"{path} is there and is no report of ours: nothing else is ever replaced. Choose another name"
        )
