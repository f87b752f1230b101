"""What a strategy may ask for at all: refused here is what no gate could decide about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.messages import Emit, Enter, Exit, MoveStop, Request
from tradekeel.domain.money import ZERO, Rounding
from tradekeel.domain.notes import without_nan
from tradekeel.domain.orders import OrderType, Side, TimeInForce
from tradekeel.domain.trades import CloseReason
from tradekeel.errors import InputError

DIGITS_MAX = 40
"""Decimal places of an amount: what a division leaves is let through, and put on the instrument's grid."""

MAGNITUDE_MAX = 15
"""Amounts are below 10 to this power: beyond any market, and within what the books can hold."""

CONFIDENCE_DIGITS_MAX = 25

REQUESTS_MAX = 1_000
"""Requests of one decision."""

NOTES_BYTES_MAX = 16_384
"""Metadata of a trade, or data of an event, as JSON."""

TEXT_MAX = 200
"""Characters of a name, a tag, a key."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
"""What a column of the books can hold; of nanoseconds, that is until the year 2262."""

_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_NOTES = msgspec.json.Encoder(decimal_format="string")


def _nothing(symbol: str) -> bool:
    return False


def check_requests(
    requests: Sequence[Request],
    strategy: str,
    instruments: Mapping[str, Instrument],
    holds: Callable[[str], bool] = _nothing,
) -> list[Request]:
    """All requests of one step, as :func:`check_request` has them; InputError if they are too many."""
    if len(requests) > REQUESTS_MAX:
        raise InputError(
            f"strategy {strategy} asks for {len(requests)} things at once, at most {REQUESTS_MAX} are allowed"
        )
    return [check_request(request, strategy, instruments, holds) for request in requests]


def check_request(
    request: Request,
    strategy: str,
    instruments: Mapping[str, Instrument],
    holds: Callable[[str], bool] = _nothing,
) -> Request:
    """The request as the journal will have it; InputError says what is wrong with one that nobody could decide about.

    It goes through the journal's own encoding: what a strategy wrote as the word "buy" is a :class:`Side` afterwards, and
    what is of another type than it says comes back as an error and not as another order. Prices are put on the instrument's
    grid (a limit never to a worse price than was asked for, everything else to the nearest); sizes are not: an entry of
    another size than was decided is another entry, so the gate denies it. What it ``holds`` it may leave, though the instrument
    is not its own any more.
    """
    who = f"strategy {strategy}"
    for field in _AMOUNTS.get(type(request)) or _amounts_of(request):
        value = getattr(request, field)
        if value is not None and not _is_amount(value):
            raise InputError(
                f"{who} asks with {field} = {_shown(value)}: it must be a Decimal above zero and below 10^{MAGNITUDE_MAX}"
            )
    try:
        known = _DECODER.decode(_ENCODER.encode(request))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        raise InputError(f"{who} asks with a value that cannot be written down: {error}") from error
    _check_values(known, who)
    if isinstance(known, Enter):
        _check_instrument(known.instrument, who, instruments)
        return _check_entry(known, who, instruments[known.instrument])
    if isinstance(known, Exit):
        if not holds(known.instrument):
            _check_instrument(known.instrument, who, instruments)
        if known.reason not in EXIT_REASONS:
            raise InputError(
                f"{who} gives the exit reason {known.reason!r}: a strategy's are {', '.join(EXIT_REASONS)}"
            )
    elif isinstance(known, Emit):
        data = _as_json(known.data, "data", who)
        return known if data is known.data else msgspec.structs.replace(known, data=data)
    return known


def _check_instrument(symbol: str, who: str, instruments: Mapping[str, Instrument]) -> None:
    if symbol not in instruments:
        allowed = ", ".join(instruments)
        raise InputError(f"{who} asks for {symbol!r}, which is not among its instruments: {allowed}")


def _check_entry(enter: Enter, who: str, instrument: Instrument) -> Enter:
    confidence = enter.confidence
    if confidence is not None and not _is_share(confidence):
        raise InputError(f"{who} is confident by {_shown(confidence)}: it must be a number from 0 to 1")
    if enter.reverse and enter.type is not OrderType.MARKET:
        raise InputError(
            f"{who} wants to reverse with a {enter.type} order: only a market entry closes what is held the other way"
        )
    if enter.trailing_percent is not None and enter.trailing_percent >= 100:
        raise InputError(f"{who} trails by {enter.trailing_percent} %: it must be below 100")
    changes: dict[str, Any] = {}
    if enter.metadata:
        changes["metadata"] = _as_json(enter.metadata, "metadata", who)
    for field in _LEVELS:
        wanted = getattr(enter, field)
        if wanted is not None:
            _put_on_grid(changes, field, wanted, Rounding.PRICE_NEAREST, who, instrument)
    if enter.price is not None:
        limit = Rounding.PRICE_DOWN if enter.side is Side.BUY else Rounding.PRICE_UP
        _put_on_grid(changes, "price", enter.price, limit, who, instrument)
    return msgspec.structs.replace(enter, **changes) if changes else enter


def _put_on_grid(
    changes: dict[str, Any], field: str, wanted: Decimal, rounding: Rounding, who: str, instrument: Instrument
) -> None:
    level = instrument.price(wanted, rounding)
    if level <= ZERO:
        least = f"the smallest step of {instrument.symbol} is {instrument.tick_size}"
        raise InputError(f"{who} asks with {field} = {_shown(wanted)}, which is no price: {least}")
    if level != wanted:
        changes[field] = level


def _check_values(request: Request, who: str) -> None:
    """Whatever has the right type and still no place in the books."""
    if isinstance(request, Emit) and not request.type:
        raise InputError(f"{who} emits an event without a type: say in a word what it is")
    for field, value in zip(request.__struct_fields__, msgspec.structs.astuple(request), strict=True):
        if type(value) in _ALWAYS_RIGHT:
            continue
        if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
            raise InputError(f"{who} asks with {field} = {value}: it must be from {INTEGER_MIN} to {INTEGER_MAX}")
        texts = value if isinstance(value, tuple) else (value,)
        for text in texts:
            if isinstance(text, str) and "\0" in text:
                raise InputError(f"{who} asks with a zero character in {field}, which not every database keeps")
            if isinstance(text, str) and len(text) > TEXT_MAX:
                raise InputError(f"{who} asks with {field} of {len(text)} characters, at most {TEXT_MAX} are allowed")
        if len(texts) > TEXT_MAX:
            raise InputError(f"{who} asks with {len(texts)} {field}, at most {TEXT_MAX} are allowed")


def _as_json(notes: dict[str, Any], what: str, who: str) -> dict[str, Any]:
    """JSON values of a bounded size, that read back as they were: JSON has no word for NaN, so it is written as text."""
    try:
        written = _NOTES.encode(notes)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{who} asks with {what} that is no JSON: {error}") from error
    if len(written) > NOTES_BYTES_MAX:
        raise InputError(f"{who} asks with {what} of {len(written)} bytes, at most {NOTES_BYTES_MAX} are allowed")
    return cast("dict[str, Any]", without_nan(notes)) if b"null" in written else notes


def _amounts_of(request: object) -> tuple[str, ...]:
    """The fields that hold an amount; also of a class of the strategy's own that is derived from a request."""
    return next((fields for kind, fields in _AMOUNTS.items() if isinstance(request, kind)), ())


def _is_amount(value: object) -> bool:
    if not (isinstance(value, Decimal) and value.is_finite() and value > 0):
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -DIGITS_MAX and value.adjusted() < MAGNITUDE_MAX


def _is_share(value: Decimal) -> bool:
    return value.is_finite() and 0 <= value <= 1 and abs(int(value.as_tuple().exponent)) <= CONFIDENCE_DIGITS_MAX


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


_LEVELS = ("stop_price", "stop_loss", "take_profit", "trailing_distance")
_AMOUNTS: dict[type, tuple[str, ...]] = {
    Enter: ("quantity", "price", "trailing_percent", *_LEVELS),
    Exit: ("quantity",),
    MoveStop: ("stop_loss", "take_profit"),
}
_ALWAYS_RIGHT = frozenset((type(None), bool, Decimal, Side, OrderType, TimeInForce, dict))
"""Amounts were looked at before, and notes are as JSON; of the words of the trade all are known."""

EXIT_REASONS = (
    CloseReason.SIGNAL.value,
    CloseReason.STOP_LOSS.value,
    CloseReason.TAKE_PROFIT.value,
    CloseReason.TRAILING_STOP.value,
    CloseReason.TIME.value,
)
"""What a strategy may say of its own exits; the others are said by people, the venue and the books."""


def without_entries(requests: Sequence[Request], reason: str) -> list[Request]:
    """What a strategy that is being stopped asks for: nothing new is entered, and what it would have been is said."""
    return [_left_out(request, reason) if isinstance(request, Enter) else request for request in requests]


def _left_out(enter: Enter, reason: str) -> Emit:
    data = {"instrument": enter.instrument, "side": enter.side.value, "quantity": str(enter.quantity)}
    return Emit(type="entry_left_out", data={**data, "reason": f"the strategy is stopping: {reason}"})
