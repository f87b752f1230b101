"""Waiting for something that somebody else may cut short, without cancelling anything but the wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Interruptible:
    """One wait at a time. An interruption that comes between two waits cuts the next one short."""

    def __init__(self) -> None:
        self._scope: anyio.CancelScope | None = None
        self._interrupted = False

    async def wait(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T | None:
        """The function's result, or None if it was cut short."""
        result: T | None = None
        with anyio.CancelScope() as self._scope:
            if self._interrupted:
                self._scope.cancel()
            result = await function(*args)
        self._scope = None
        self._interrupted = False
        return result

    def interrupt(self) -> None:
        """Cut the present wait short, or the next."""
        self._interrupted = True
        if self._scope is not None:
            self._scope.cancel()
