"""Books that are damaged, or no books at all: whoever reads them says so and ends with 4, and nobody calls it a bug."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli_daemon import call
from tests.unit.storage.looking import tamper
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.standing import read_status
from tradekeel.bootstrap.summary import read_summaries
from tradekeel.errors import ExitCode, StoreCorrupt

READING = ("status", "positions", "trades", "orders", "fills", "signals", "events", "executions")

DAMAGED = {
    "UPDATE fills SET realised = 'abc'": ("status", "fills"),
    "UPDATE fills SET price = 'abc'": ("status", "positions", "fills"),
    "UPDATE fills SET quantity = CAST('1000' AS BLOB)": ("status", "positions"),
    "UPDATE trades SET entry_fee = 'abc'": ("status", "trades"),
    "UPDATE trades SET side = 'UP'": ("trades",),
    "UPDATE trades SET tags = '{'": ("trades",),
    "UPDATE orders SET price = 'abc'": ("orders",),
    "UPDATE strategies SET instruments = 'x'": ("status",),
    "UPDATE strategy_events SET data = '{'": ("events",),
    "UPDATE executions SET latch = 'ajar'": ("status", "positions", "trades"),
    "UPDATE journal SET payload = x'82a474797065a1f9'": ("status",),
}
"""What somebody did to the books, and a few commands that come upon it."""


def damage(place: Place, statement: str) -> None:
    tamper(place.statedir.books, "PRAGMA ignore_check_constraints = ON", statement)


@pytest.mark.parametrize("statement", DAMAGED)
def test_values_that_nobody_of_ours_has_written_are_damage(place: Place, statement: str) -> None:
    damage(place, statement)
    for command in DAMAGED[statement]:
        said = call(command, "--state", place.state_dir)
        assert said.returncode == ExitCode.BOOKS_DO_NOT_MATCH, f"{command}: {said.stdout}{said.stderr}"
        assert "a bug of ours" not in said.stderr
    assert not list(place.state_dir.glob("crash-*"))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_books_that_were_cut_off_are_damage(place: Place, share: float) -> None:
    whole = place.statedir.books.read_bytes()
    place.statedir.books.write_bytes(whole[: int(len(whole) * share)])
    for command in READING:
        said = call(command, "--state", place.state_dir)
        assert said.returncode in (ExitCode.DONE, ExitCode.BOOKS_DO_NOT_MATCH), f"{command}: {said.stderr}"
    with pytest.raises(StoreCorrupt, match="is damaged"):
        read_summaries(place.statedir.books)
    status = read_status(place)
    assert status["damaged"]
    assert "is damaged" in status["problem"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_books(place: Place, make: Callable[[Path], None]) -> None:
    """A pipe would hold up whoever reads it for good."""
    place.statedir.books.unlink()
    make(place.statedir.books)
    for command in (*READING, "verify"):
        said = call(command, "--state", place.state_dir)
        assert said.returncode == ExitCode.BOOKS_DO_NOT_MATCH, command
        assert "where a file should be" in " ".join((said.stdout + said.stderr).split())


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_ledger_that_is_no_file_is_told_by_verify_alone(place: Place, make: Callable[[Path], None]) -> None:
    make(place.statedir.paper_ledger("paper-1"))
    said = call("verify", "--state", place.state_dir)
    assert said.returncode == ExitCode.BOOKS_DO_NOT_MATCH
    assert "where a file should be" in " ".join((said.stdout + said.stderr).split())
    assert call("trades", "--state", place.state_dir).returncode == 0
