"""What a daemon's process does before anything else, and last of all. Imports next to nothing, on purpose.

A stop that comes while modules are being imported must be neither lost nor fatal in the wrong place; so `tradekeel
run` takes over the signals before it imports the rest of the house. And it ends whatever became of its terminal.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from tradekeel.runtime.signals import SignalInbox

WAKE_SIGNAL = signal.SIGURG
"""Says "look into the command folder". Of all signals it is the one that does nothing to a process that does not know it."""


def install_signals() -> SignalInbox:
    """Catch everything that a person or the service manager may send; kept until the daemon can act on it."""
    inbox = SignalInbox([signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, WAKE_SIGNAL])
    inbox.install()
    return inbox


@contextmanager
def starting_quickly() -> Iterator[None]:
    """Around everything that a process does but to take over its signals: modules load faster, and it ends faster."""
    from tradekeel.runtime import collector

    collector.rest()
    try:
        yield
    finally:
        collector.leave()


def leave(code: int) -> NoReturn:
    """End the process. Its terminal may be gone, or stopped: what it had to say is in its books and in its log file."""
    from tradekeel.runtime.loop import end_for_certain

    end_for_certain(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
