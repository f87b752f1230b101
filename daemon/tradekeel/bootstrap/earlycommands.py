"""Commands that come before there is control.

A start is over in a moment as a rule, and control obeys what has come meanwhile. But a start may wait for others (the books'
server, another daemon's lease, a feed's file) for as long as it takes, and whoever steers must not wait with it: a stop is
obeyed whatever the start is at, and while it waits a kill leaves its latch file, and everything else is refused with what the
start waits for. A release is, too: what the books have halted is not known before they are there, nor what they will have halted
by then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from tradekeel.actors.control import AskedFor, CommandDesk
from tradekeel.bootstrap.desk import KILL
from tradekeel.bootstrap.effort import Effort
from tradekeel.bootstrap.telling import say
from tradekeel.errors import StoreUnavailable
from tradekeel.runtime.clock import Clock
from tradekeel.statedir import SCOPE_ALL

LOOK_EVERY_S = 0.25
STOP = "stop"


class EarlyCommands:
    """See the module."""

    def __init__(
        self, desk: CommandDesk, accounts: Collection[str], effort: Effort, stop: Callable[[], object]
    ) -> None:
        """``stop`` has the start broken off."""
        self._desk, self._accounts, self._effort, self._stop = desk, accounts, effort, stop
        self._said = ""

    async def keep_looking(self, clock: Clock) -> None:
        """Until nobody wants to know any more."""
        while True:
            self.look()
            await clock.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Obey or refuse what cannot wait for control. Where the folder cannot be used, signals are heard all the same."""
        try:
            for asked in self._desk.pending():
                if asked.name == STOP or self._effort.waiting:
                    self._desk.take(asked)
                    self._obey(asked)
        except StoreUnavailable as error:
            if str(error) != self._said:
                self._said = str(error)
                say("ERROR", f"commands cannot be obeyed, only signals are heard: {error}")

    def _obey(self, asked: AskedFor) -> None:
        say("INFO", f"command {asked.name}", correlation_id=asked.id)
        account, waiting = asked.arguments.get("account"), self._effort.waiting
        if asked.name == STOP:
            self._stop()  # before the answer: whoever has it may end the process at once
            self._desk.answer(asked, True, "stopping")
            return
        if account is not None and account not in self._accounts:
            ok, said = False, f"there is no account {account!r}; accounts are {', '.join(self._accounts)}"
        elif asked.name == KILL:
            self._desk.hold(account or SCOPE_ALL, str(asked.arguments.get("reason") or "by command"))
            held = account or ", ".join(self._accounts)
            ok, said = True, f"the latch file is written: {held} will start halted. The daemon is still {waiting}"
        else:
            ok, said = False, f"nothing done: the daemon is still {waiting}. Give it again when it trades"
        say("INFO" if ok else "WARNING", f"command {asked.name}: {said}", correlation_id=asked.id)
        self._desk.answer(asked, ok, said)
