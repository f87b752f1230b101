"""A daemon in which something hangs for good: a process of its own, because hanging ends processes.

    python -m tests.scenarios.support_hang CONFIG HOW POINT COUNT

HOW is `thread` (whoever passes the point waits for ever: a worker's thread, or the whole event loop), `handler` (the
handler of the actor's message awaits for ever), `stubborn` (it awaits for ever, and swallows its cancellation) or
`watch` (control's own watch over the others stands still after it has fed the watchdog COUNT times; POINT says nothing).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.early import install_signals


def arm(how: str, point: str, count: int) -> Any:
    """Arm this process."""
    from tradekeel.runtime import faults
    from tradekeel.runtime.actor import Actor

    if how == "thread":
        return faults.armed({point: lambda passed: threading.Event().wait() if passed == count else None})
    if how == "watch":
        _stop_watching_after(count)
        return faults.armed()
    actor, _, message = point.partition(":")
    handle = Actor.handle_batch
    left = [count]

    async def hang() -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if how != "stubborn":
                    raise

    async def handle_batch(self: Actor, envelopes: Any) -> None:
        for envelope in envelopes:
            if self.name == actor and type(envelope.message).__name__ == message:
                left[0] -= 1
                if left[0] == 0:
                    await hang()
        await handle(self, envelopes)

    Actor.handle_batch = handle_batch  # type: ignore[method-assign]  # a process of its own, and that is what it is for
    return faults.armed()


def _stop_watching_after(count: int) -> None:
    from tradekeel.actors.control.telling import Telling

    async def keep_watch(self: Telling) -> None:
        for _ in range(count):
            await self.clock.sleep(self.settings.watchdog_every_s)
            self._notify.watchdog()
        await asyncio.get_running_loop().create_future()

    Telling._keep_watch = keep_watch  # type: ignore[method-assign]  # as above


if __name__ == "__main__":
    signals = install_signals()

    import os

    from tradekeel.bootstrap.launch import RunOptions, launch

    config, how, point, count = sys.argv[1:]
    with arm(how, point, int(count)):
        code = launch(Path(config), RunOptions(), signals, os.environ)
    sys.stderr.flush()
    os._exit(code)  # as the command line does: threads that hang do not keep it
