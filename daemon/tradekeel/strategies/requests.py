"""What a strategy may ask for at all: refused here is what no gate could decide about."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from tradekeel.domain.messages import Enter, Exit, MoveStop, Request
from tradekeel.domain.trades import CloseReason
from tradekeel.errors import InputError

DIGITS_MAX = 40
"""Significant digits and decimal places of an amount: what a division leaves is let through, what overflows the books is not."""

_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)


def check_request(request: Request, strategy: str, instruments: Iterable[str]) -> Request:
    """The request as the journal will have it; InputError says what is wrong with one that nobody could decide about.

    It goes through the journal's own encoding: what a strategy wrote as the word "buy" is a :class:`Side` afterwards, and
    what is of another type than it says comes back as an error and not as another order.
    """
    who = f"strategy {strategy}"
    for field in _AMOUNTS.get(type(request), ()):
        value = getattr(request, field)
        if value is not None and not _is_amount(value):
            raise InputError(f"{who} asks with {field} = {value!r}: it must be a Decimal above zero")
    try:
        known = _DECODER.decode(_ENCODER.encode(request))
    except (TypeError, ValueError, OverflowError) as error:  # msgspec's own errors are ValueErrors
        raise InputError(f"{who} asks with a value that cannot be written down: {error}") from error
    if isinstance(known, Enter | Exit) and known.instrument not in instruments:
        allowed = ", ".join(instruments)
        raise InputError(f"{who} asks for {known.instrument!r}, which is not among its instruments: {allowed}")
    if isinstance(known, Enter) and known.confidence is not None and not known.confidence.is_finite():
        raise InputError(f"{who} is confident by {known.confidence}: it must be a number")
    if isinstance(known, Exit) and known.reason not in _REASONS:
        raise InputError(f"{who} gives the exit reason {known.reason!r}: known are {', '.join(sorted(_REASONS))}")
    return known


def _is_amount(value: object) -> bool:
    if not (isinstance(value, Decimal) and value.is_finite() and value > 0):
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -DIGITS_MAX and abs(value.adjusted()) < DIGITS_MAX


_AMOUNTS: dict[type, tuple[str, ...]] = {
    Enter: (
        "quantity",
        "price",
        "stop_price",
        "stop_loss",
        "take_profit",
        "trailing_distance",
        "trailing_percent",
    ),
    Exit: ("quantity",),
    MoveStop: ("stop_loss", "take_profit"),
}
_REASONS = frozenset(reason.value for reason in CloseReason)
