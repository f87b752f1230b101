"""Control: where people and the service manager meet the daemon.

Signals and command files come in; systemd is told READY, STATUS, WATCHDOG, RELOADING and STOPPING; a status file is
kept for whoever looks. Control decides nothing about trading: a command goes to the executor of each account it is
for.
"""

from __future__ import annotations

import signal
from typing import Any

from msgspec import Struct

from tradekeel.actors.control.shell import AccountRefs, AskedFor, CommandDesk, ControlSettings, Notify, Pace
from tradekeel.actors.control.steering import OUTCOMES, Look
from tradekeel.actors.control.storekeeping import Storekeeping
from tradekeel.domain.protocol import AccountReady, Alert, FeedEnded, FeedProgress, PublisherStands, StoreStands
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.watchdog import Watchdog


class SignalArrived(Struct, frozen=True):
    """A signal was delivered to the process."""

    number: int


class DescribeProcess(Struct, frozen=True):
    """Answer with everything there is to say about this process, as :meth:`Control.describe` does."""


class Control(Storekeeping):
    """See the module. ``reload`` reads the file again and applies it; it raises with a sentence when nothing was changed."""

    async def on_start(self) -> None:
        self.watchdog = Watchdog(self.system, self.settings.watchdog_every_s * 2, self._stuck)
        self.spawn(self._keep_watch)
        self.spawn(self._keep_looking)
        self.spawn(self._keep_status)

    async def on_stop(self) -> None:
        """The last word: the accounts are gone, how far the feeds came is not."""
        self._stopping = True
        self._write_status(await self.describe())

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case SignalArrived(number):
                await self._signal(signal.Signals(number))
            case AccountReady():
                self._account_ready(message)
            case FeedProgress():
                self._feed_progress(message)
            case DescribeProcess():
                assert reply is not None
                self.spawn(self._describe_to, reply)
            case FeedEnded():
                self._feed_ended(message)
            case Alert():
                self._alert(message)
            case StoreStands():
                self._store_stands(message)
            case PublisherStands():
                self._publisher_stands(message)
            case Look():
                self._look()
            case _:
                raise TypeError(f"control does not know {type(message).__name__}")


__all__ = [
    "OUTCOMES",
    "AccountRefs",
    "AskedFor",
    "CommandDesk",
    "Control",
    "ControlSettings",
    "DescribeProcess",
    "Notify",
    "Pace",
    "SignalArrived",
]
