"""What `verify` says of an account that is held, and of books that a start did not get to make."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from tests.unit.bootstrap.books import append, latch
from tests.unit.storage import samples
from tradekeel.bootstrap.audit import Audit, audit
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.reading import Query, read_rows
from tradekeel.bootstrap.schemas import history, upgrade
from tradekeel.bootstrap.standing import read_status
from tradekeel.domain.records import ExecutionClosed, ExecutionStarted
from tradekeel.domain.rows import Latch
from tradekeel.errors import InputError
from tradekeel.storage.store import Store


def audited(place: Place) -> Audit:
    return audit(place, lambda step, done, total: None)


CONTRADICTION = "the venue took order tk1, which has our mark and is not in our books"


@pytest.mark.parametrize("by", ["books", "reconcile"])
def test_an_account_that_both_sides_contradiction_halted_is_no_proof_of_anything(place: Place, by: str) -> None:
    latch(place, Latch.HALTED, by, CONTRADICTION)
    latch(place, Latch.HALTED, "a person", "pausing says nothing of the halt", paused=True)
    assert f"the account was halted: {CONTRADICTION}" in audited(place).lines()
    assert not audited(place).ok


@pytest.mark.parametrize("by", ["risk", "latch file", "a person"])
def test_an_account_that_somebody_else_halted_has_books_that_agree(place: Place, by: str) -> None:
    latch(place, Latch.HALTED, by, CONTRADICTION)
    assert not [line for line in audited(place).lines() if "was halted" in line]


def test_nor_is_one_that_a_person_has_released(place: Place) -> None:
    latch(place, Latch.HALTED, "books", CONTRADICTION)
    latch(place, Latch.OPEN, "a person", "looked at both")
    assert not [line for line in audited(place).lines() if "was halted" in line]


def test_the_run_after_it_is_still_held_for_the_same_reason(place: Place) -> None:
    latch(place, Latch.HALTED, "books", CONTRADICTION)
    append(place, [ExecutionClosed(ts_ns=samples.START_NS, reason="the feed has ended")])
    row = structs.replace(samples.execution("exec-2", 2), latch=Latch.HALTED, latch_reason=CONTRADICTION)
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        store.commit([samples.Desk("exec-2").group(ExecutionStarted(ts_ns=samples.START_NS, row=row))])
    assert f"the account was halted: {CONTRADICTION}" in audited(place).lines()


ASKED: list[Callable[[Place], object]] = [
    audited,
    history,
    lambda place: read_rows(place, "trades", Query()),
    lambda place: read_rows(place, "journal", Query()),
]


@pytest.fixture(params=["an empty file", "a log without tables"])
def unmade(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Books as a kill leaves them before the first tables are there."""
    place = Place(tmp_path / "state", None)
    place.statedir.create()
    with closing(sqlite3.connect(place.statedir.books)) as db:
        if request.param == "a log without tables":
            db.execute("PRAGMA journal_mode = WAL")
    return place


@pytest.mark.parametrize("ask", ASKED)
def test_books_that_a_start_did_not_get_to_make_are_said_to_come_with_the_next(
    unmade: Place, ask: Callable[[Place], object]
) -> None:
    unmade.statedir.books.touch()
    with pytest.raises(InputError, match=r"not made yet.*the next start makes them"):
        ask(unmade)


def test_the_status_says_it_too_and_an_upgrade_makes_them(unmade: Place) -> None:
    unmade.statedir.books.touch()
    assert "not made yet" in str(read_status(unmade)["problem"])
    assert upgrade(unmade, print)["applied"]
    assert history(unmade)
