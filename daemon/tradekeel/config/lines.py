"""On which line of a TOML file something stands, by its path: for whoever is told that it is wrong.

Python's own reader keeps no places. But a file is a row of statements (a header, a key with its value, nothing but a comment),
each of which is TOML by itself, and no beginning of one is: so a statement ends at the first line up to which it can be read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from tradekeel.config.words import FOUND_CHARACTERS_MAX, join_path

LINES_MAX: Final = 10_000
"""Of a longer file nothing is told, since each line is read."""

STATEMENT_LINES_MAX: Final = 200
"""Behind a longer statement nothing is told, since it is read again with each of its lines."""

_LAST_PART = re.compile(r'(\.?("(?:[^"\\]|\\.)*"|[A-Za-z0-9_-]+)|\[\d+\])\Z')


class Lines:
    """The lines of a text that is TOML."""

    def __init__(self, text: str) -> None:
        self._text = text

    def of(self, path: str) -> int | None:
        """The line, from 1, of a path as problems name it; of what is not there that of the table in which it would be.

        None where that cannot be told: inside an array of tables, whose parts have one path.
        """
        while path:
            line = self._found.get(path)
            if line is not None:
                return line or None
            shorter = _LAST_PART.sub("", path)
            path = "" if shorter == path else shorter
        return None

    @cached_property
    def _found(self) -> Mapping[str, int]:
        """By path; 0 of an array of tables."""
        found: dict[str, int] = {}
        table: str | None = ""  # the header above; None below one that may come again
        for line, is_header, statement in _statements(self._text):
            if is_header:
                table = _header(statement)
                for path in _paths(statement, ""):
                    found.setdefault(path, line if table is not None else 0)
            elif table is not None:
                for path in _paths(statement, table):
                    found.setdefault(path, line)
        return found


NO_LINES: Final = Lines("")
"""Of what is no file."""


def _statements(text: str) -> Iterator[tuple[int, bool, Mapping[str, Any]]]:
    """The line where each begins, whether it is a header, and what it says by itself."""
    rows = text.split("\n")
    start = 0 if len(rows) <= LINES_MAX else len(rows)
    while start < len(rows):
        for end in range(start + 1, min(len(rows), start + STATEMENT_LINES_MAX) + 1):
            try:
                statement = tomllib.loads("\n".join(rows[start:end]) + "\n")
            except tomllib.TOMLDecodeError:
                continue
            yield start + 1, rows[start].lstrip().startswith("["), statement
            start = end
            break
        else:
            return


def _header(statement: Mapping[str, Any]) -> str | None:
    """The path of a table that is begun; None of one of an array, and of one whose name is too long to be shown whole."""
    path, inner = "", statement
    while inner:
        ((key, inner),) = inner.items()
        path = join_path(path, key)
        if isinstance(inner, list) or len(key) > FOUND_CHARACTERS_MAX:
            return None
    return path


def _paths(table: Mapping[str, Any], above: str) -> Iterator[str]:
    """Every path that it has. A name that is too long to be shown whole is told of as the table that it is in."""
    for key, value in table.items():
        if len(key) <= FOUND_CHARACTERS_MAX:
            path = join_path(above, key)
            yield path
            if isinstance(value, dict):
                yield from _paths(value, path)
