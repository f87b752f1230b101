"""Ctrl-C while a command reads: it ends at once, with a sentence, and leaves nothing half done."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tradekeel.runtime.loop import end_for_certain

INTERRUPTED = 128 + signal.SIGINT
"""The exit code, whichever of the three signals it was."""


@contextmanager
def ended_at_once(what_stays: Callable[[], str], *, end: Callable[[int], object] = end_for_certain) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal raise KeyboardInterrupt in the block, wherever it is.

    What the block holds is let go of on the way out; ``what_stays`` is asked behind that, and is what the interrupt says. An
    event loop would only cancel its task, which ends at its next wait: whoever reads a large file has none. Should letting go
    hang, on a server for one, the process ends all the same: ``end`` sees to it.
    """
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:  # whoever closes a terminal asks several times: what is being put away is put away once
            asked = True
            end(INTERRUPTED)
            raise KeyboardInterrupt

    heeded = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in heeded if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}  # with nohup it is to outlive its terminal
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(what_stays()) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
