"""Overrides from the environment: ``TRADEKEEL__SECTION__KEY=value``, at any depth.

    TRADEKEEL__LOGGING__LEVEL=debug
    TRADEKEEL__ACCOUNTS__PAPER_1__BALANCE=250000        [accounts.paper-1] balance
    TRADEKEEL__FEEDS__MARKET__SPEED=max                 a key of the feed's own kind

Two underscores separate; names match in any case, with hyphens and underscores alike. The value is read as TOML where it is TOML
and taken as text where it is not. Overrides change what the file has: they cannot add an account, a feed or a strategy.
They are laid over the file before it is decoded, so they are checked like everything else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

from tradekeel.config.decode import Origin
from tradekeel.config.model import AccountTable, FeedTable
from tradekeel.config.tables import FileTables
from tradekeel.config.words import did_you_mean, join_path, plain_key

PREFIX = "TRADEKEEL__"
SEPARATOR = "__"
VARIABLES_MAX = 1_000


def apply_overrides(table: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> dict[str, Origin]:
    """Lay the environment's values over ``table`` (changed in place). Returns what was set, by path in the file."""
    variables = sorted(name for name in environ if name.upper().startswith(PREFIX))
    if len(variables) > VARIABLES_MAX:
        problems.append(f"the environment has {len(variables)} overrides, allowed: at most {VARIABLES_MAX}")
        return {}
    origins: dict[str, Origin] = {}
    for variable in variables:
        _apply(table, variable, environ[variable], origins, problems)
    return origins


def toml_number(text: str) -> Decimal:
    """What TOML's floats become: exactly the digits that were written. Raises ValueError."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number outside of everything") from None


def read_value(text: str) -> Any:
    """A value as TOML reads it, or the text itself where it is not TOML."""
    try:
        parsed = tomllib.loads(f"value = {text}", parse_float=toml_number)
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _apply(table: dict[str, Any], variable: str, text: str, origins: dict[str, Origin], problems: list[str]) -> None:
    segments = [plain_key(part) for part in variable[len(PREFIX) :].split(SEPARATOR)]
    target, type_, path = table, FileTables, ""
    shown = variable.encode("unicode_escape").decode("ascii")
    while True:
        names = _names(target, type_)
        hits = list(_match(segments, names))
        if not hits and not _is_free(type_, target, segments[0]):
            problems.append(
                f"{shown} in the environment: {path or 'the file'} has nothing named "
                f"{SEPARATOR.join(segments)!r}; {did_you_mean(segments[0], names)}"
            )
            return
        if len(hits) > 1:
            both = ", ".join(sorted(key for key, _ in hits))
            problems.append(f"{shown} in the environment could mean each of {both}; set it in the file")
            return
        # A free table's keys are known to its kind only, which will complain about one that it does not know.
        key, used = hits[0] if hits else (segments[0], 1)
        segments, path, type_ = segments[used:], join_path(path, key), _inside(type_, key)
        if not segments:
            if _is_struct(type_) or get_origin(type_) is dict:
                problems.append(f"{shown} in the environment: {path} is a table; name one of its keys")
                return
            target[key] = read_value(text)
            origins[path] = Origin(variable=shown, text=text)
            return
        inner = target.setdefault(key, {})
        if not isinstance(inner, dict):
            problems.append(f"{shown} in the environment: {path} is a value and has no keys")
            return
        target = inner


def _match(segments: list[str], names: Mapping[str, None]) -> Iterator[tuple[str, int]]:
    """Every name that the segments begin with, and how many of them it takes (a name may hold two underscores)."""
    for count in range(len(segments), 0, -1):
        joined = SEPARATOR.join(segments[:count])
        for name in names:
            if plain_key(name) == joined:
                yield name, count


def _names(table: Mapping[str, Any], type_: Any) -> Mapping[str, None]:
    known = [field.encode_name for field in msgspec.structs.fields(type_)] if _is_struct(type_) else []
    return dict.fromkeys([*known, *table])


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, Struct)


def _is_free(type_: Any, table: Mapping[str, Any], segment: str) -> bool:
    """Whether a key may be there that the file's schema does not list: below a kind, and a venue's own table."""
    venue = table.get("venue") if type_ is AccountTable else None
    return type_ is Any or type_ is FeedTable or (isinstance(venue, str) and plain_key(venue) == segment)


def _inside(type_: Any, key: str) -> Any:
    """The type of what stands under ``key``. Tables with keys of a kind's own are free below the keys they share."""
    if get_origin(type_) is dict:
        return get_args(type_)[1]
    if _is_struct(type_):
        for field in msgspec.structs.fields(type_):
            if field.encode_name == key:
                return Any if field.type == dict[str, Any] else field.type
    return Any
