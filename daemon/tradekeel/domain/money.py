"""Exact money: one decimal context that refuses to lose a digit, and the few named places where rounding may happen.

Everything in the ledger is a :class:`~decimal.Decimal`. Inside :func:`ledger` the context has 50 digits and traps
``Inexact``: an operation that would drop a digit raises instead. Dividing and converting do drop digits, so they happen
only through :func:`round_to` and :func:`divide`, each of which names a :class:`Rounding` and so says why and in whose favour.
Contexts belong to a thread: code that computes money enters :func:`ledger` itself instead of trusting its caller.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Context, Decimal
from enum import Enum

from tradekeel.errors import Defect, InputError

ZERO = Decimal(0)
ONE = Decimal(1)

PRECISION = 50
_TRAPS = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.FloatOperation]
LEDGER = Context(prec=PRECISION, rounding=decimal.ROUND_HALF_EVEN, traps=[*_TRAPS, decimal.Inexact])
# Twice the digits for what is rounded at once: no quotient of two ledger amounts comes so close to the middle of two steps
# that cutting it here could decide the rounding after it.
WORKING = Context(prec=2 * PRECISION, rounding=decimal.ROUND_HALF_EVEN, traps=_TRAPS)
"""For differences and products that are compared, or rounded by name in the next step, and kept nowhere: what a strategy
or a person wrote may have more digits than the ledger, and must not raise where it is only looked at."""

# Bound once: money is rounded several times an order, and looking a method up costs as much as a sum.
_divide, _multiply_add, _remainder = WORKING.divide, WORKING.fma, WORKING.remainder
_getcontext, _setcontext = decimal.getcontext, decimal.setcontext

AMOUNT_DIGITS_MAX = 25  # far beyond any account; keeps a product of two inside the context's 50 digits


class Rounding(Enum):
    """The named roundings. The value is decimal's mode; the comment is the reason."""

    RELEASED_COST = decimal.ROUND_HALF_EVEN  # no bias over many partial closes; the remainder stays in the lot
    CONVERSION = decimal.ROUND_HALF_EVEN + "#conversion"  # booked in the account's smallest unit, unbiased
    FEE = decimal.ROUND_UP + "#fee"  # never understate a cost
    SHARE = decimal.ROUND_DOWN + "#share"  # shares of one amount: rounded down, the last share takes the rest
    SIZE = decimal.ROUND_DOWN + "#size"  # never ask for more than was decided
    PRICE_NEAREST = decimal.ROUND_HALF_EVEN + "#price"  # a price on the grid, for display and for slippage
    PRICE_DOWN = decimal.ROUND_FLOOR + "#price"  # a buy limit may not be dearer than decided
    PRICE_UP = decimal.ROUND_CEILING + "#price"  # a sell limit may not be cheaper than decided
    EXCESS = decimal.ROUND_UP + "#excess"  # what is above its limit is never told as being at it
    MARK = decimal.ROUND_FLOOR + "#mark"  # a peak is never told as higher than it was: what is back at it is back
    LIMIT = decimal.ROUND_DOWN + "#limit"  # never allow more than was set
    DISPLAY = decimal.ROUND_HALF_EVEN + "#display"  # averages and ratios for people; never stored, never summed

    def __init__(self, name: str) -> None:
        self.mode = name.partition("#")[0]
        """decimal's name of the rounding mode; what follows a # only keeps the reasons apart."""


class ledger:  # noqa: N801 - it reads as the block it opens: `with ledger():`
    """Compute with 50 digits and no silent rounding until the block ends.

    A class and not a generator: blocks are entered several times an order, and this costs half. Within another block it
    changes nothing, and costs next to nothing.
    """

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        before = self._before = _getcontext()
        if before is not LEDGER:
            _setcontext(LEDGER)  # one object for all blocks: nobody changes more of it than its flags

    def __exit__(self, *_: object) -> None:
        if self._before is not LEDGER:
            _setcontext(self._before)


def round_to(value: Decimal, step: Decimal, rounding: Rounding) -> Decimal:
    """``value`` as a whole multiple of ``step`` (> 0), rounded as named. The result is exact on the grid."""
    steps = _divide(value, step).to_integral_value(rounding.mode)
    return _multiply_add(steps, step, ZERO)  # what is added to zero is never a negative zero


def divide(numerator: Decimal, denominator: Decimal, step: Decimal, rounding: Rounding) -> Decimal:
    """``numerator / denominator`` on the grid of ``step``, rounded as named. Raises on a zero denominator."""
    return round_to(_divide(numerator, denominator), step, rounding)


def on_grid(value: Decimal, step: Decimal) -> bool:
    """Whether ``value`` is a whole multiple of ``step``."""
    return not _remainder(value, step)


def share_out(amount: Decimal, weights: Sequence[Decimal], step: Decimal) -> list[Decimal]:
    """Split ``amount`` in proportion to ``weights`` so that the shares sum to it exactly; the last takes the remainder.

    ``weights`` are not negative and not all zero. Each share but the last is on the grid of ``step``.
    """
    if not any(weights) or min(weights) < ZERO:
        raise Defect(f"{amount} cannot be shared out by the weights {', '.join(map(str, weights)) or 'of nobody'}")
    total = ZERO
    for weight in weights:
        total = LEDGER.add(total, weight)
    shares: list[Decimal] = []
    left = amount
    for weight in weights[:-1]:
        share = round_to(WORKING.divide(WORKING.multiply(amount, weight), total), step, Rounding.SHARE)
        shares.append(share)
        left = LEDGER.subtract(left, share)
    shares.append(left)
    return shares


def parse_amount(text: str) -> Decimal:
    """A finite decimal from text, exactly as written. Raises :class:`InputError` on anything else, never guesses."""
    # Decimal itself is kinder: it takes 1_000, surrounding space and the digits of every script.
    try:
        plainly = text.isascii() and "_" not in text and text == text.strip()
        value = Decimal(text) if plainly else None
    except (decimal.InvalidOperation, AttributeError):
        value = None
    if value is None:
        raise InputError(f"{text!r} is not a decimal number")
    if not value.is_finite():
        raise InputError(f"{text!r} is not a finite number")
    if len(value.as_tuple().digits) > AMOUNT_DIGITS_MAX or abs(value.adjusted()) > AMOUNT_DIGITS_MAX:
        raise InputError(f"{text!r} has more than {AMOUNT_DIGITS_MAX} digits, or is as large or small as that")
    return value


def plain(value: Decimal) -> str:
    """Fixed-point text that reads back as the same decimal, without an exponent and without a negative zero."""
    return f"{value or abs(value):f}"
