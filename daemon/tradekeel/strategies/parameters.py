"""Parameters of a strategy: typed, bounded, described.

Bounds and descriptions stand beside the field: ``units: Annotated[Decimal, about("size of a trade", gt=0)]``. They
hold however the parameters are made, from a file or in code, and `tradekeel strategies` prints them. msgspec's own
bounds (``Meta(gt=...)``) cannot be put on a Decimal and are checked on decoding only; :func:`about` puts them where the
configuration's reader finds them, too. Both are understood. Reading them from a file is the configuration's business.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from tradekeel.errors import InputError

Number = int | Decimal

_WORDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_NAMES: dict[Any, str] = {
    int: "integer",
    Decimal: "decimal",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "none",
}


def about(
    description: str,
    *,
    gt: Number | None = None,
    ge: Number | None = None,
    lt: Number | None = None,
    le: Number | None = None,
    unit: str = "",
) -> Meta:
    """What a parameter means and what it may be; for ``Annotated``. ``unit`` is shown beside the value."""
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le}
    given: dict[str, Number | str] = {word: value for word, value in bounds.items() if value is not None}
    return Meta(description=description, extra=given | {"unit": unit})


class Parameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a strategy's parameters: its bounds are checked whenever one is made, then :meth:`check`."""

    def __post_init__(self) -> None:
        for spec in specs(type(self)):
            problem = spec.problem(getattr(self, spec.name))
            if problem:
                raise InputError(f"{spec.name} {problem}")
        self.check()

    def check(self) -> None:
        """Rules between several parameters; raise :class:`~tradekeel.errors.InputError` naming them."""


class ParameterSpec(Struct, frozen=True, kw_only=True):
    """One parameter as it is shown and checked."""

    name: str
    type: str  # in words: integer, decimal, text, true or false, one of ...
    default: Any  # NODEFAULT where it must be given
    description: str = ""
    unit: str = ""
    bounds: Mapping[str, Decimal] = {}
    annotation: Any = None

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is NODEFAULT

    @property
    def allowed(self) -> str:
        """The bounds in words: "above 0, at most 50"; empty where there are none."""
        return ", ".join(f"{_WORDS[word]} {value:f}" for word, value in self.bounds.items())

    def problem(self, value: Any) -> str | None:
        """Why ``value`` (of the right type) is not allowed: the end of a sentence that begins with the name."""
        if isinstance(value, (float, Decimal)) and not math.isfinite(value):
            return f"must be a finite number, found {value}"
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            return None
        for word, bound in self.bounds.items():
            if not _holds(word, value, bound):
                return f"must be {self.allowed}, found {value}"
        return None


def _holds(word: str, value: float | Decimal, bound: Decimal) -> bool:
    if word == "gt":
        return value > bound
    if word == "ge":
        return value >= bound
    if word == "lt":
        return value < bound
    return value <= bound


@cache
def specs(params: type[Struct]) -> tuple[ParameterSpec, ...]:
    """The parameters of a Struct in the order of its fields."""
    hints = get_type_hints(params, include_extras=True)
    return tuple(_spec(field, hints[field.name]) for field in msgspec.structs.fields(params))


def _spec(field: msgspec.structs.FieldInfo, hint: Any) -> ParameterSpec:
    metas = list(_metas(hint))
    bounds: dict[str, Decimal] = {}
    unit = description = ""
    for meta in metas:
        extra = meta.extra or {}
        for word in _WORDS:
            bound = extra.get(word, getattr(meta, word))
            if bound is not None:
                bounds[word] = Decimal(str(bound))
        unit = extra.get("unit", "") or unit
        description = meta.description or description
    default = field.default
    if default is NODEFAULT and field.default_factory is not NODEFAULT:
        default = field.default_factory()
    return ParameterSpec(
        name=field.encode_name,
        type=type_in_words(hint),
        default=default,
        description=description,
        unit=unit,
        bounds=bounds,
        annotation=hint,
    )


def _metas(hint: Any) -> Iterator[Meta]:
    if get_origin(hint) is Annotated:
        yield from _metas(get_args(hint)[0])
        yield from (part for part in get_args(hint)[1:] if isinstance(part, Meta))
    elif get_origin(hint) in (Union, type(int | str)):
        for part in get_args(hint):
            yield from _metas(part)


def type_in_words(hint: Any) -> str:
    """A field's type for people."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_in_words(parts[0])
    if origin is Literal:
        return "one of " + ", ".join(str(part) for part in parts)
    if origin in (Union, type(int | str)):
        return " or ".join(type_in_words(part) for part in parts if part is not type(None))
    return str(hint) if origin is not None else _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word that ``word`` was probably meant to be."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if close else None
