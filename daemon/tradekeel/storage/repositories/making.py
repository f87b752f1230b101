"""Books that are made for a script: beside its event loop, and never because somebody asked a question."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Final

import anyio
import anyio.to_thread

from tradekeel.errors import StoreUnanswered, StoreUnavailable
from tradekeel.storage.backend import Backend
from tradekeel.storage.store import Store

MAKING_TIMEOUT_S: Final = 60.0
"""How long making books may take. The migrations of every version run for it, each durable: more than a call has time for."""


async def make_books(
    backend: Backend, now_ns: Callable[[], int], doing: str, timeout_s: float = MAKING_TIMEOUT_S
) -> None:
    """Make the books, in a thread: the loop goes on, and whoever waits may be cancelled.

    The tables are made in one transaction, so whatever becomes of it there are whole books or none; where somebody else makes
    them at the same time, one of them waits. Who is no longer waited for ends as soon as nothing was changed yet, else when it
    is done. Raises StoreUnanswered when the time is over, and what :meth:`Store.open` raises.
    """
    given_up = Event()

    def heed() -> None:
        if given_up.is_set():
            raise StoreUnavailable(f"{backend.described}: nobody waits for the books any more")

    def make() -> None:
        backend.make_home()
        Store.open(backend, now_ns=now_ns(), heed=heed).close()

    try:
        with anyio.move_on_after(timeout_s):
            # Memory waits for nobody, and what is under way there would be in the way of whoever comes next.
            await anyio.to_thread.run_sync(make, abandon_on_cancel=backend.outlives_us)
            return
    finally:
        given_up.set()
    raise StoreUnanswered(
        f"{backend.described}: {doing}: making the books took longer than {timeout_s:g} s. They will be whole, or not there: "
        "try again"
    )


def refuse_to_make(backend: Backend, doing: str, *, may_migrate: bool) -> StoreUnavailable:
    """What to say where there are no books, and none are made."""
    nothing = f"{backend.described}: {doing}: there are no books yet"
    to_do = (
        "run `tradekeel db upgrade`, or start the daemon" if backend.exists() else "start the daemon (`tradekeel run`)"
    )
    if not may_migrate:
        return StoreUnavailable(f'{nothing}, and a script makes none here (storage.migrations = "refuse"): {to_do}')
    return StoreUnavailable(f"{nothing}, and a question makes none: {to_do}, or write something, which makes them")
