"""Under a tracer Python takes more than twice as long, and what is done over and over shows no line more.

So of what is done many times in the check only the first times are measured: examples of a property, cases of a test that has
many. Of tests that are marked ``untraced`` (the same lines as others, in many rounds) nothing is, and of all others what they do,
not what is made ready for them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

TRACED_EXAMPLES = 10
"""Of a property."""

TRACED_CASES = 24
"""Of a test with parameters, whichever they are."""

_cases_so_far = pytest.StashKey[Counter[str]]()


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
def traced_as_needed(item: pytest.Function) -> Iterator[None]:
    """While this test runs, without the tracer or with it, as long as it is of use."""
    with untraced() if _is_known(item) else _few_examples_traced(item.obj):
        yield


def _is_known(item: pytest.Function) -> bool:
    """Whether its lines are those of other tests, or of cases that were before it."""
    cases = item.session.stash.setdefault(_cases_so_far, Counter())
    test = item.nodeid.partition("[")[0]
    cases[test] += 1
    return cases[test] > TRACED_CASES or item.get_closest_marker("untraced") is not None


@contextmanager
def _few_examples_traced(test: Callable[..., Any]) -> Iterator[None]:
    """While it runs, a property's further examples, and what they are drawn from, go by without the tracer, if there is one."""
    handle = getattr(test, "hypothesis", None)
    tracer = sys.gettrace()
    if tracer is None or handle is None:
        yield
        return
    inner = handle.inner_test
    examples = 0

    def count() -> None:
        nonlocal examples
        examples += 1
        if examples > TRACED_EXAMPLES:
            sys.settrace(None)

    handle.inner_test = _counted(inner, count)
    try:
        yield
    finally:
        handle.inner_test = inner
        sys.settrace(tracer)


def _counted(inner: Callable[..., Any], count: Callable[[], None]) -> Callable[..., Any]:
    """The same test, which counts first; a coroutine stays one, for the plugin that runs it asks."""
    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def in_a_loop(*args: Any, **kwargs: Any) -> Any:
            count()
            return await inner(*args, **kwargs)

        return in_a_loop

    @functools.wraps(inner)
    def example(*args: Any, **kwargs: Any) -> Any:
        count()
        return inner(*args, **kwargs)

    return example
