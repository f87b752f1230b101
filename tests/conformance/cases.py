"""Cases that leave each other alone, one after the other in the same books.

New books for each of a hundred small cases cost more than the cases themselves. Each is told of by itself all the same, and the
others are tried when one fails.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from typing import Any

import pytest

from tests.tracing import TRACED_CASES, untraced

Test = Callable[..., Awaitable[None]]


def in_the_same_books(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Test], Test]:
    """As ``pytest.mark.parametrize``, for cases of which none minds what others have left in the books."""
    named = (names,) if isinstance(names, str) else names
    cases = [(value,) if isinstance(names, str) else tuple(value) for value in values]

    def around(test: Test) -> Test:
        async def each(subtests: pytest.Subtests, **fixtures: Any) -> None:
            for number, case in enumerate(cases):
                words = dict(zip(named, case, strict=True))
                with untraced() if number >= TRACED_CASES else nullcontext(), subtests.test(**words):
                    await test(**fixtures, **words)

        asked = inspect.signature(test).parameters.values()
        own = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
        each.__name__, each.__qualname__, each.__doc__ = test.__name__, test.__qualname__, test.__doc__
        each.__module__ = test.__module__
        each.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what pytest reads
            [*(parameter for parameter in asked if parameter.name not in named), own]
        )
        return each

    return around
