"""Rows of the books as JSON values, for whoever reads them: people, scripts, tests.

Amounts are text, digit by digit as they are stored; times are ISO 8601 in UTC with all nine digits beside the integer
nanoseconds (``entry_time`` beside ``entry_time_ns``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from msgspec import Struct

from tradekeel.domain.money import ledger, plain
from tradekeel.domain.times import NS_PER_S, SPANS_S, instant_ns, iso
from tradekeel.domain.trades import Trade
from tradekeel.errors import InputError

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_DERIVED: dict[type[Struct], tuple[str, ...]] = {
    Trade: ("entry_price", "exit_price", "pnl", "pnl_percentage", "r_multiple", "risk_reward_ratio", "open_quantity"),
}

Row = dict[str, Any]


def plain_row(row: Struct) -> Row:
    """A row of the books as JSON values, with what people want to read of it without computing."""
    values: Row = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        values[name] = plain_value(value)
        if name.endswith("_ns"):
            values["time" if name == "ts_ns" else name.removesuffix("_ns")] = None if value is None else iso(value)
    with ledger():
        values.update((name, plain_value(getattr(row, name))) for name in _DERIVED.get(type(row), ()))
    return values


def plain_value(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case None | bool() | int() | float():
            return value
        case Decimal():
            return plain(value)
        case Enum():
            return value.value
        case str():
            return str(value)
        case Mapping():
            return {str(key): plain_value(item) for key, item in value.items()}
        case Struct():
            tag = {} if value.__struct_config__.tag is None else {"type": value.__struct_config__.tag}
            return tag | {name: plain_value(getattr(value, name)) for name in value.__struct_fields__}
        case bytes():
            return f"{len(value)} bytes"
        case Iterable():
            return [plain_value(item) for item in value]
    return str(value)


def is_span(text: str) -> bool:
    """Whether a text says how long ago something is, and no date."""
    return _SPAN.fullmatch(text) is not None


def span_ns(text: str) -> int:
    """How long a text says: 90s, 15m, 2h, 3d, 1w. Raises InputError."""
    span = _SPAN.fullmatch(text)
    if span is None:
        raise InputError(f"{text!r} is not how long: write a number and one of s, m, h, d, w, as in 3d")
    return int(span[1]) * SPANS_S[span[2]] * NS_PER_S


def moment_ns(text: str, now_ns: int) -> int:
    """A date, a date and time (UTC unless it says otherwise), or how long ago: 90s, 15m, 2h, 3d, 1w. Raises InputError."""
    if is_span(text):
        return now_ns - span_ns(text)
    try:
        return instant_ns(text)
    except ValueError:
        raise InputError(
            f"{text!r} is no time: write 2014-05-08, 2014-05-08T13:30, or how long ago, like 15m, 2h or 3d"
        ) from None
