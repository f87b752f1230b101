"""What a process does before anything else: take over the signals. Imports next to nothing, on purpose.

A stop that comes while modules are being imported must be neither lost nor fatal in the wrong place; so `tradekeel
run` calls this before it imports the rest of the house.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

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
