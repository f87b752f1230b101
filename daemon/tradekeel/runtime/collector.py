"""When Python looks for garbage in cycles: rarely, and never in what was there at the start.

Nearly everything that actors make is freed the moment nobody refers to it. What is left for the collector are the
cycles of tasks and exceptions, and they are few. But each of its full rounds walks over every object there is, all
modules included, and for tens of milliseconds nothing else happens in the process.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_MAX = 10_000
"""New objects, less those that are gone again, before the youngest are looked through (Python's own figure is 700)."""

OLDER_EVERY = 20
"""Rounds over younger objects before the next older ones are looked through, too."""


def rest() -> None:
    """Do not look for garbage while modules load: they are there to stay, and looking is a good part of loading."""
    gc.disable()


@contextmanager
def seldom() -> Iterator[None]:
    """What exists now is not looked at any more, and what comes, seldom. Afterwards everything is as Python has it."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, OLDER_EVERY, OLDER_EVERY)
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def leave() -> None:
    """The process is about to end, and gives its memory back as a whole: nothing is looked through on the way out."""
    gc.freeze()
    gc.enable()
