"""Names for what is put aside: nothing that is there is ever written over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from pathlib import Path


def free_name(name: str, is_taken: Callable[[str], bool], joint: str = "-") -> str:
    """The name, or a numbered one where that is taken."""
    names = chain([name], (f"{name}{joint}{number}" for number in count(2)))
    return next(each for each in names if not is_taken(each))


def free_path(path: Path) -> Path:
    """The path, or one beside it with a numbered name where that is taken."""

    def named(stem: str) -> Path:
        return path.with_name(stem + path.suffix)

    return named(free_name(path.stem, lambda stem: named(stem).exists()))
