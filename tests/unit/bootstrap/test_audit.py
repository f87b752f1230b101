"""What `verify` says of an account that is held."""

from __future__ import annotations

import pytest

from tests.unit.bootstrap.books import latch
from tradekeel.bootstrap.audit import Audit, audit
from tradekeel.bootstrap.place import Place
from tradekeel.domain.records import Latch


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
