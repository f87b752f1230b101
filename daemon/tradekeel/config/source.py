"""Reads a TOML file: what is on disk as tables with exact numbers, or a sentence about why that cannot be."""

from __future__ import annotations

import errno
import os
import tomllib
from pathlib import Path
from typing import Any, Final

from tradekeel.config.lines import Lines
from tradekeel.config.overrides import toml_number
from tradekeel.config.words import nearest, shown_path
from tradekeel.errors import ConfigError

FILE_BYTES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 24  # tables and arrays in each other
NAMES_MAX: Final = 1_000  # file names among which the nearest is looked for


def read_table(path: Path) -> dict[str, Any]:
    """The file as TOML, numbers exact. Raises :class:`ConfigError`."""
    table, _ = read_file(path)
    return table


def read_file(path: Path) -> tuple[dict[str, Any], Lines]:
    """As :func:`read_table`, and on which lines all of it stands."""
    text = _read_text(path)
    try:
        table = tomllib.loads(text, parse_float=toml_number)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not TOML: {error}"], shown_path(path)) from None
    except (ValueError, RecursionError) as error:
        why = "a number with too many digits" if isinstance(error, ValueError) else "nested too deeply"
        raise ConfigError([f"not TOML that can be read: {why}"], shown_path(path)) from None
    if _depth(table) > DEPTH_MAX:
        raise ConfigError([f"tables and arrays are nested deeper than {DEPTH_MAX}"], shown_path(path))
    return table, Lines(text)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([_unreadable(path, error)], shown_path(path)) from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError([f"larger than {FILE_BYTES_MAX} bytes: is this a configuration?"], shown_path(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError([f"not UTF-8 text (at line {line}); save it as UTF-8"], shown_path(path)) from None


def _unreadable(path: Path, error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT:
        near = _nearest_file(path)
        return "there is no such file" + (f"; did you mean {near}?" if near else "")
    if code == errno.EISDIR:
        files = sorted(_toml_names(path))[:5]
        return "this is a folder, not a file" + (f"; it holds {', '.join(files)}" if files else "")
    if code == errno.EACCES:
        return f"may not be read by this user (uid {os.geteuid()})"
    return f"cannot be read: {error}"


def _nearest_file(path: Path) -> str | None:
    names = _toml_names(path.parent)
    near = nearest(path.name, names)
    if near is None and len(names) == 1:
        near = names[0]
    return shown_path(path.parent / near) if near else None


def _toml_names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.suffix == ".toml"][:NAMES_MAX]
    except (OSError, ValueError):
        return []


def _depth(table: object) -> int:
    """How deep tables and arrays are nested, found without recursion: dotted keys nest as deep as the file is long."""
    depth, level = 0, [table]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[attr-defined]  # lists
            if isinstance(inner, dict | list)
        ]
    return depth
