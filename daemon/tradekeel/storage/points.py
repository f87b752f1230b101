"""Points that a harness may be told of when they are passed, to make something go wrong just there."""

from __future__ import annotations

from collections.abc import Callable

Point = Callable[[str], None]


def unwatched(name: str) -> None:
    """No harness is watching."""
