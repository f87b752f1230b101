"""How the configuration is spoken of: paths, what was found, what is allowed, and the nearest known word.

Everything here ends on a terminal or in a log, and what it quotes came from a file or the environment. So text is quoted
and shortened: no control character, no half of a surrogate pair and no megabyte of digits gets out.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta, Struct

FOUND_CHARACTERS_MAX = 60
CHOICES_SHOWN_MAX = 16
DIGITS_MAX = 30  # as the ledger's own limit; keeps 1e999999999 from being written out anywhere

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def join_path(path: str, key: object) -> str:
    """``path.key`` as TOML writes it: a key that is not bare is quoted."""
    text = str(key)
    shown = text if _BARE_KEY.fullmatch(text) else quoted(text)
    return f"{path}.{shown}" if path else shown


def quoted(text: str) -> str:
    """Text in double quotes on one line, shortened, with everything unprintable escaped."""
    if len(text) > FOUND_CHARACTERS_MAX:
        text = text[: FOUND_CHARACTERS_MAX - 1] + "…"
    return printable(json.dumps(text, ensure_ascii=False))


def printable(text: str) -> str:
    """Text with everything escaped that would upset a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown_path(path: Path) -> str:
    """A path as it is, or quoted if it would upset a terminal."""
    text = str(path)
    return text if text.isprintable() else quoted(text)


def found(value: object) -> str:
    """A value as a sentence names it, with its type."""
    match value:
        case bool():
            return f"{str(value).lower()} (a boolean)"
        case str():
            return f"{quoted(value)} (a string)"
        case int():
            return f"{_shortened(value)} (an integer)"
        case Decimal():
            return f"{value} (a number)" if len(str(value)) <= FOUND_CHARACTERS_MAX else "a number of many digits"
        case datetime() | date() | time():
            return f"{value.isoformat()} (a date or time)"
        case Mapping():
            return "a table" if value else "an empty table"
        case list():
            return f"an array of {len(value)}"
    return f"a value of type {type(value).__name__}"


def _shortened(value: int) -> str:
    # str() of an int refuses more than 4,300 digits, and nobody would read them.
    return str(value) if value.bit_length() < 128 else f"a number of {value.bit_length()} bits"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be; case, hyphens and underscores are looked through."""
    by_plain = {plain_key(name): name for name in known}
    hits = difflib.get_close_matches(plain_key(word[:100]), by_plain, n=1, cutoff=0.6)
    return by_plain[hits[0]] if hits else None


def plain_key(name: str) -> str:
    """A name as the environment and the search for a nearest key compare it: lower case, ``-`` and ``_`` alike."""
    return name.lower().replace("-", "_")


def did_you_mean(word: str, known: Iterable[str], what: str = "known keys") -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    names = sorted(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean {quoted(near)}?"
    if not names:
        return "nothing is allowed here"
    shown = ", ".join(names[:CHOICES_SHOWN_MAX]) + (", …" if len(names) > CHOICES_SHOWN_MAX else "")
    return f"{what}: {shown}"


def allowed(type_: Any, meta: Iterable[Meta] = ()) -> str:
    """What a type admits, for a person: "a decimal number above 0", "one of "stop", "wait"", "an array of strings"."""
    bounds = list(meta)
    origin = get_origin(type_)
    if origin is Annotated:
        inner, *notes = get_args(type_)
        return allowed(inner, [*bounds, *(note for note in notes if isinstance(note, Meta))])
    if origin is Literal:
        return "one of " + ", ".join(_choice(choice) for choice in get_args(type_))
    if origin in (Union, UnionType):
        return " or ".join(allowed(member, bounds) for member in get_args(type_) if member is not NoneType)
    if origin in (list, tuple, set, frozenset, Sequence):
        items = [item for item in get_args(type_) if item not in (Ellipsis, Any)]
        return _limited("an array", bounds) + (f", each {allowed(items[0])}" if items else "")
    if origin in (dict, Mapping) or type_ is dict or (isinstance(type_, type) and issubclass(type_, Struct)):
        return "a table"
    if isinstance(type_, type) and issubclass(type_, Enum):
        return "one of " + ", ".join(_choice(member.value) for member in type_)
    return _limited(_PLAIN_WORDS.get(type_, f"a {getattr(type_, '__name__', type_)}"), bounds)


_PLAIN_WORDS: dict[Any, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    Decimal: "a decimal number",
    datetime: 'a date and time with its offset, like 2014-05-08T00:00:00Z or "2014-05-08T00:00:00Z"',
    date: "a date, like 2014-05-08",
}


def _choice(value: object) -> str:
    return quoted(value) if isinstance(value, str) else str(value)


def _limited(words: str, bounds: Iterable[Meta]) -> str:
    limits: dict[str, Any] = {}
    for meta in bounds:
        if meta.extra and "allowed" in meta.extra:
            return str(meta.extra["allowed"])  # the author's own words beat a pattern
        limits |= {name: value for name in _BOUNDS if (value := bound(meta, name)) is not None}
    phrases = [
        *_range(limits.pop("ge", None), limits.pop("le", None), "", "from {} to {}"),
        *_range(limits.pop("min_length", None), limits.pop("max_length", None), " long", "{} to {} long"),
        *(_BOUNDS[name].format(value) for name, value in limits.items()),
    ]
    return f"{words} {', '.join(phrases)}" if phrases else words


def _range(least: Any, most: Any, unit: str, both: str) -> list[str]:
    if least is not None and most is not None:
        return [both.format(least, most)]
    if least is not None:
        return [f"at least {least}{unit}"]
    return [] if most is None else [f"at most {most}{unit}"]


_BOUNDS = {
    "gt": "above {}",
    "ge": "at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
    "min_length": "",
    "max_length": "",
    "pattern": "matching {}",
}


def bound(meta: Meta, name: str) -> Any:
    """One bound of a Meta. Decimals carry theirs in ``extra``, because msgspec admits bounds on its own numbers only:
    ``extra={"gt": 0}`` or ``extra={"bounds": {"gt": "0"}}``.
    """
    value = getattr(meta, name)
    if value is not None or not meta.extra:
        return value
    inner = meta.extra.get("bounds")
    return inner[name] if isinstance(inner, Mapping) and name in inner else meta.extra.get(name)
