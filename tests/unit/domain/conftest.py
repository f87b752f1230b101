"""What the tests of pure cores share: the gate is asked where the executor asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tradekeel.domain.money import ledger


@pytest.fixture(autouse=True)
def _gates_are_asked_inside_the_ledger(request: pytest.FixtureRequest) -> Iterator[None]:
    """The executor decides under the ledger's context, where an unnamed rounding raises: so does every test of the gate."""
    if not request.path.name.startswith("test_risk"):
        yield
        return
    with ledger():
        yield
