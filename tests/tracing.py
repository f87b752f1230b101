"""Under a tracer Python takes more than twice as long, and what is done over and over shows no line more.

So that a property may have as many examples in the check as its profile says, only the first are measured; of tests that are
marked ``untraced`` (the same lines as others, in many rounds) nothing is, and of all others what they do, not what is made ready
for them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TRACED_EXAMPLES = 10


@contextmanager
def untraced() -> Iterator[None]:
    """Without the tracer, if there is one."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


@contextmanager
def few_examples_traced(test: Callable[..., Any]) -> Iterator[None]:
    """While it runs, a property's further examples go by without the tracer, if there is one."""
    handle = getattr(test, "hypothesis", None)
    if sys.gettrace() is None or handle is None or inspect.iscoroutinefunction(handle.inner_test):
        yield
        return
    inner = handle.inner_test
    examples = 0

    @functools.wraps(inner)
    def example(*args: Any, **kwargs: Any) -> Any:
        nonlocal examples
        examples += 1
        if examples <= TRACED_EXAMPLES:
            return inner(*args, **kwargs)
        with untraced():
            return inner(*args, **kwargs)

    handle.inner_test = example
    try:
        yield
    finally:
        handle.inner_test = inner
