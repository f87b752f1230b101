"""The answer to one request: given once, late if need be, never waited for by the one who gives it.

The place for the answer is reserved when the request is made (a future of the requester's), so answering
never blocks and never fails. Who dies without having answered fails all its requests at once.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Reply:
    """Where the answer of one request goes. It may be kept and answered later, from any task of the actor."""

    __slots__ = ("_future", "_open", "_unanswered")

    def __init__(self, future: asyncio.Future[Any], unanswered: set[Reply]) -> None:
        self._future = future  # Any: the runtime carries every vocabulary and knows none
        self._unanswered = unanswered
        self._open: bool | None = True
        unanswered.add(self)

    @property
    def expired(self) -> bool:
        """Nobody waits any more: the requester's deadline passed, or it was cancelled, or it died."""
        return self._future.done()

    def send(self, value: Any = None) -> None:
        """Answer. A second answer is a defect; an answer to somebody who gave up is dropped."""
        if self._close() and not self._future.done():
            self._future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Answer with an error, which is raised where the request was made."""
        if self._close() and not self._future.done():
            self._future.set_exception(error)

    def revoke(self, error: Exception) -> None:
        """The actor died: fail the request. What a task of it still wants to answer afterwards is dropped."""
        if self._open:
            self._unanswered.discard(self)
            self._open = None
            if not self._future.done():
                self._future.set_exception(error)

    def _close(self) -> bool:
        if self._open is None:
            return False
        assert self._open, "a request is answered exactly once"
        self._open = False
        self._unanswered.discard(self)
        return True
