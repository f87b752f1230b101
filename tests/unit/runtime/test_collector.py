"""The collector rests while modules load, comes seldom while the daemon runs, and is left as it was found."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tradekeel.runtime import collector


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*before)


class Knot:
    """Refers to itself: only the collector can free it."""

    freed = 0

    def __init__(self) -> None:
        self.self = self

    def __del__(self) -> None:
        Knot.freed += 1


def test_at_rest_nothing_is_looked_for() -> None:
    collector.rest()
    assert not gc.isenabled()


def test_what_was_there_before_is_not_looked_at_and_what_comes_is() -> None:
    gc.collect()
    Knot.freed = 0
    Knot()
    with collector.seldom():
        assert gc.isenabled()
        gc.collect()
        assert Knot.freed == 0
        Knot()
        gc.collect()
        assert Knot.freed == 1
    gc.collect()
    assert Knot.freed == 2


def test_garbage_made_meanwhile_stays_within_bounds() -> None:
    Knot.freed = 0
    with collector.seldom():
        for _ in range(5 * collector.YOUNG_MAX):
            Knot()
        assert Knot.freed >= 3 * collector.YOUNG_MAX


def test_python_has_its_own_way_again_afterwards() -> None:
    before = gc.get_threshold()
    with pytest.raises(RuntimeError, match="ends"), collector.seldom():
        raise RuntimeError("it ends")
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_a_process_that_leaves_still_runs_what_is_registered_for_its_end() -> None:
    code = (
        "import atexit; from tradekeel.runtime import collector; atexit.register(print, 'the end'); collector.rest(); "
        "collector.leave()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "the end\n"
