"""Where the page of a report is written: nothing is ever replaced by it but an earlier page."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
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
        file.close()
        _refuse_other(path)  # it may have come while a backtest ran
        os.replace(file.name, path)


@contextmanager
def _beside(path: Path) -> Iterator[TextIO]:
    """A new file in the folder of a page, which is gone behind it unless it was moved. InputError where that cannot be."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    made = False
    try:
        with beside.open("x", encoding="utf-8") as file:  # never through a link, and never into what is there
            made = True
            yield file
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if made:
            beside.unlink(missing_ok=True)


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
