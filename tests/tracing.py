"""Under a tracer the examples of a property take more than twice as long, and those behind the first few show no line more.

So that a property may have as many examples in the check as its profile says, only the first are measured.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TRACED_EXAMPLES = 20


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
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return inner(*args, **kwargs)
        finally:
            sys.settrace(tracer)

    handle.inner_test = example
    try:
        yield
    finally:
        handle.inner_test = inner
