"""How long something that fails is left alone: a back-off, and why it failed last."""

from __future__ import annotations

from collections.abc import Coroutine
from math import inf
from random import Random
from typing import Any, TypeVar

from tradekeel.errors import StoreError
from tradekeel.runtime.restart import Backoff, backoff_delay_s

T = TypeVar("T")

BACKOFF = Backoff(initial_s=0.25, factor=2.0, max_s=10.0, jitter=0.2)


class BooksFailed(Exception):
    """What is published cannot be read at this moment. The cause is the store's error."""


async def read(question: Coroutine[Any, Any, T]) -> T:
    """The answer of the books; whatever is wrong with them is not Redis's fault."""
    try:
        return await question
    except StoreError as error:
        raise BooksFailed(str(error)) from error


class Patience:
    """The back-off of one thing, on the monotonic clock."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.failures = 0  # in a row
        self.not_before_s = -inf
        self.reason = ""  # why it failed last; empty where it goes well
        self.at_books = False  # whether it was the books that failed it, and not the server for outside readers

    def failed(self, error: Exception, now_s: float) -> None:
        """It failed, and is not to be tried for a while."""
        self.reason, self.at_books = str(error), isinstance(error, BooksFailed)
        self.not_yet(now_s)

    def not_yet(self, now_s: float) -> None:
        """There is nothing wrong, and it is not to be tried for a while."""
        self.failures += 1
        self.not_before_s = now_s + backoff_delay_s(BACKOFF, self.failures, self._random)

    def went_well(self) -> None:
        """It is as it should be."""
        self.failures, self.not_before_s, self.reason, self.at_books = 0, -inf, "", False

    def is_over(self, now_s: float) -> bool:
        """Whether it may be tried."""
        return now_s >= self.not_before_s
