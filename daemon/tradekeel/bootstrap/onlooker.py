"""A person who looks on while a daemon runs. What they see is never worth the daemon.

A terminal is closed, its connection is lost, somebody presses Ctrl-S, a picture has a bug: whatever goes wrong with a view
ends the view, is said once, and the log goes on without it. Nor does a terminal that is stopped for good keep the
process at its end, which would hold the lock of its state directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from loguru import logger

from tradekeel.runtime.loop import in_time

if TYPE_CHECKING:
    from tradekeel.bootstrap.summary import Summary

DRAWN_WITHIN_S = 2.0
"""How long a terminal may take for the first and the last words; in between it has all the time it wants."""


class View(Protocol):
    """A person's view of a running daemon. All of it may raise, and may hang where the terminal does."""

    @property
    def log(self) -> TextIO:
        """Where the log goes while the view is shown."""

    def open(self, name: str) -> None:
        """Begin."""

    def show(self, status: Mapping[str, Any]) -> None:
        """Draw; called in a thread of its own."""

    def close(self) -> None:
        """End, and leave the terminal as it was."""

    def finish(self, summary: Summary) -> None:
        """Show what the run came to."""

    def give_up(self) -> None:
        """Nothing is drawn any more: what waits of the log goes where it would go without a view, and so does what is to come."""


class Onlooker:
    """A view that can end before the daemon does, and not the other way round."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.is_gone = False

    @property
    def log(self) -> TextIO:
        """Where the log goes."""
        return self._view.log

    def open(self, name: str) -> None:
        """Begin."""
        self._try(partial(self._view.open, name))

    def show(self, status: Mapping[str, Any]) -> None:
        """Draw, in a thread of its own. Raises what goes wrong, which is :meth:`lose`'s to settle on the event loop."""
        self._view.show(status)

    def close(self) -> None:
        """End what is drawn."""
        self._try(self._view.close)

    def finish(self, summary: Summary) -> None:
        """Show what the run came to."""
        self._try(partial(self._view.finish, summary))

    def lose(self, error: Exception) -> None:
        """It cannot be drawn any more."""
        self.is_gone = True
        with suppress(Exception):  # it is what gives up that fails: there is nobody to tell but the log
            in_time(self._view.give_up, DRAWN_WITHIN_S)
        logger.warning("the live view is over, the daemon goes on without: {}: {}", type(error).__name__, error)

    def _try(self, draw: Callable[[], object]) -> None:
        if self.is_gone:
            return
        try:
            drawn = in_time(draw, DRAWN_WITHIN_S)
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the view and nothing else
            self.lose(error)
            return
        if not drawn:
            self.is_gone = True  # what waits of the log stays where it is: written there, it would hang as well
            logger.warning("the terminal takes nothing: the live view is over, the daemon goes on without")
