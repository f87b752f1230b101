"""What a strategy may ask for at all: refused here is what no gate could decide about."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from tradekeel.domain.messages import Enter, Exit, MoveStop, Request
from tradekeel.domain.trades import CloseReason
from tradekeel.errors import InputError

_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")


def check_request(request: Request, strategy: str, instruments: Iterable[str]) -> None:
    """Refuse what no gate could decide about: InputError says what is wrong with the request."""
    who = f"strategy {strategy}"
    if isinstance(request, Enter | Exit) and request.instrument not in instruments:
        known = ", ".join(instruments)
        raise InputError(f"{who} asks for {request.instrument!r}, which is not among its instruments: {known}")
    for field in _AMOUNTS.get(type(request), ()):
        value = getattr(request, field)
        if value is not None and not (isinstance(value, Decimal) and value.is_finite() and value > 0):
            raise InputError(f"{who} asks with {field} = {value!r}: it must be a Decimal above zero")
    if isinstance(request, Exit) and request.reason not in _REASONS:
        raise InputError(f"{who} gives the exit reason {request.reason!r}: known are {', '.join(sorted(_REASONS))}")
    try:
        _ENCODER.encode(request)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{who} asks with a value that cannot be written down: {error}") from error


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
