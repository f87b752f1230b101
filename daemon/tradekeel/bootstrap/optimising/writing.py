"""A configuration with the parameters that were found: the file's own text with those values changed, comments and all.

What was written is read again, and must say what the old file says but for those values. Where that cannot be reached by changing
single lines (parameters in a table on one line, for one), nothing is written, and the lines to paste are told instead.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tradekeel.config.words import join_path
from tradekeel.errors import InputError

Values = Mapping[str, Mapping[str, Any]]
"""Parameters by strategy."""


def lines_of(values: Values) -> list[str]:
    """The values as TOML, to paste."""
    found = []
    for strategy, parameters in values.items():
        found.append(f"[{join_path('strategies', strategy)}.params]")
        found.extend(f"{join_path('', name)} = {_toml(value)}" for name, value in parameters.items())
    return found


def refuse_target(config: Path, target: Path) -> None:
    """InputError where :func:`write_with` could not write there: better before an hour of work than behind it."""
    if target.absolute().parent.resolve() != config.absolute().parent.resolve():
        raise InputError(f"{target}: it must be beside {config}, since relative paths in it are relative to the file")
    if os.path.lexists(target):
        raise InputError(_THERE.format(target))


_THERE = "{} exists already, and is not overwritten: choose another name"


def write_with(config: Path, target: Path, values: Values) -> None:
    """Write ``config`` with these values into ``target``, which must not exist. Raises InputError."""
    refuse_target(config, target)
    text = config.read_text("utf-8-sig")
    wanted = _expected(text, values)
    for strategy, parameters in values.items():
        text = _changed(text, strategy, parameters)
    try:
        done = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError:
        done = {}
    if done != wanted:
        lines = "\n".join(lines_of(values))
        raise InputError(
            f"{config}: its parameters stand where they cannot be changed line by line; write yourself:\n{lines}"
        )
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise InputError(_THERE.format(target)) from None
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _expected(text: str, values: Values) -> dict[str, Any]:
    table = tomllib.loads(text, parse_float=Decimal)
    for strategy, parameters in values.items():
        params = table["strategies"][strategy].setdefault("params", {})
        for name, value in parameters.items():
            params[name] = tomllib.loads(f"v = {_toml(value)}", parse_float=Decimal)["v"]
    return table


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_VALUE = r"(\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\{[^{}]*\}|[^#\s,}]+)"


def _changed(text: str, strategy: str, parameters: Mapping[str, Any]) -> str:
    """The values of keys in ``[strategies.NAME.params]``, or in the table ``params`` on one line of ``[strategies.NAME]``.

    Keys that are not there are added to it.
    """
    own, params = (_header("strategies", strategy, *more) for more in ((), ("params",)))
    lines, table, at, left = text.split("\n"), "", None, dict(parameters)
    for number, line in enumerate(lines):
        if line.lstrip().startswith("["):
            table = "own" if own.match(line) else "params" if params.match(line) else ""
            at = number if table == "params" else at
        elif table == "own" and (match := re.match(r"^(\s*params\s*=\s*\{)(.*)(\}.*)$", line)):
            lines[number] = match[1] + _changed_inside(match[2], left) + match[3]
            left = {}
        elif table == "params" and (match := re.match(rf"^(\s*\"?([A-Za-z0-9_-]+)\"?\s*=\s*){_VALUE}(.*)$", line)):
            lines[number] = match[1] + (_toml(left.pop(match[2])) if match[2] in left else match[3]) + match[4]
    new = [f"{join_path('', name)} = {_toml(value)}" for name, value in left.items()]
    if at is not None:
        lines[at + 1 : at + 1] = new
    elif new:
        lines += ["", f"[{join_path('strategies', strategy)}.params]", *new, ""]
    return "\n".join(lines)


def _header(*keys: str) -> re.Pattern[str]:
    """The line that begins a table."""
    dotted = r"\s*\.\s*".join(rf"\"?{re.escape(key)}\"?" for key in keys)
    return re.compile(rf"^\s*\[\s*{dotted}\s*\]\s*(#.*)?$")


def _changed_inside(inline: str, values: Mapping[str, Any]) -> str:
    """What stands between the braces of a table on one line."""
    left = dict(values)

    def change(match: re.Match[str]) -> str:
        return match[1] + (_toml(left.pop(match[2])) if match[2] in left else match[3])

    changed = re.sub(rf"(\"?([A-Za-z0-9_-]+)\"?\s*=\s*){_VALUE}", change, inline).rstrip()
    new = [f"{join_path('', name)} = {_toml(value)}" for name, value in left.items()]
    return ", ".join([part for part in (changed, *new) if part.strip()]) + " "


def _toml(value: Any) -> str:
    """A value as TOML, of all kinds that TOML has. (Dates and times are written as Python does.)"""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")  # JSON lets it stand, and TOML does not
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text if "." in text else f"{text}.0" if value != value.to_integral_value() else text
    return str(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)
