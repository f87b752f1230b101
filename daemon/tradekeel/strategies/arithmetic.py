"""The decimal context that a strategy's code runs in: the same for each, at each call, and of no effect outside of it.

A context belongs to a thread, and whatever runs in the thread shares it. A strategy that sets its precision, or a file that
does so while it is imported, would round the amounts of every other strategy.
"""

from __future__ import annotations

import decimal

_CONTEXT = decimal.Context(
    prec=28,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
"""What Python begins with. Our own, and not decimal.DefaultContext: a file may set that, too."""


class arithmetic:  # noqa: N801 - it reads as the block it opens: `with arithmetic():`
    """Run a strategy's code in a fresh context until the block ends."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = decimal.getcontext()
        decimal.setcontext(_CONTEXT.copy())

    def __exit__(self, *_: object) -> None:
        decimal.setcontext(self._before)
