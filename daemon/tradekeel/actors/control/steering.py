"""What people ask for: signals, commands, a reload, a stop. A command goes to the executor of each account it is for."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from tradekeel.actors.control.reloading import Reloading
from tradekeel.actors.control.shell import ASK_TIMEOUT_S, AccountRefs, AskedFor
from tradekeel.domain.protocol import NOTHING_DONE, AccountCommand, AccountReady, Command, StopFeed
from tradekeel.errors import StoreUnavailable
from tradekeel.runtime.actor import Lane
from tradekeel.runtime.errors import ActorDied, ActorError, RequestTimeout
from tradekeel.runtime.loop import in_order
from tradekeel.runtime.reference import Request

OUTCOMES = ("not_sent", "rejected", "canceled", "expired")
"""What a person may say has become of an order that nobody else can tell."""
TELL_AGAIN_S = 0.02
HAND_OVER_AGAIN_S = 1.0
"""How soon an account is told again what a signal asked for, where it could not be told."""
BESIDE = ("reload", "stop")
"""Commands of the process: they wait for no other. The rest is obeyed one after another; a kill waits for a release only."""
LOOK_EVERY_S = 0.25
"""How often the command folder is looked at without being told: a signal says "look now", this covers a lost one."""


class Look(Struct, frozen=True):
    """Look at the command folder."""


class Steering(Reloading):
    """Obeys."""

    async def _keep_looking(self) -> None:
        while True:
            self._look()
            await self.clock.sleep(LOOK_EVERY_S)

    # --- signals and commands -----------------------------------------------------------------------------------------

    async def _signal(self, number: signal.Signals) -> None:
        self._say("DEBUG" if number is signal.SIGURG else "INFO", f"signal {number.name}")
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self.begin_stop(f"signal {number.name}")
            case signal.SIGUSR1:
                self._steer(Command.PAUSE, "signal SIGUSR1")
            case signal.SIGUSR2:
                self._steer(Command.RESUME, "signal SIGUSR2")
            case signal.SIGHUP:
                self._ask_for_reload(None)
            case _:
                self._look()

    def _look(self) -> None:
        """What is done beside the others begins at once; of the rest the next one, when the one before it is done.

        A release waits for the kills that are under way, or it could end before them what they hold only behind it.
        """
        waits = False
        for asked in self._pending():
            kills_at_once = asked.name == Command.KILL and self._obeying not in ("", Command.RELEASE)
            if asked.name in BESIDE:
                self._desk.take(asked)
                self.spawn(self._obey, asked)
            elif kills_at_once:
                self._kills += 1
                self._desk.take(asked)
                self.spawn(self._kill_at_once, asked)
            elif not self._obeying and not waits:
                waits = asked.name == Command.RELEASE and self._kills > 0  # and so does what was asked for after it
                if waits:
                    continue
                self._obeying = asked.name
                self._desk.take(asked)
                self.spawn(self._obey_in_turn, asked)

    def _pending(self) -> Sequence[AskedFor]:
        """Where the folder cannot be read, trading goes on without commands (degrade), and says so once."""
        try:
            pending = self._desk.pending()
        except StoreUnavailable as error:
            if not self._without_commands:
                self._say("ERROR", f"commands cannot be read, only signals are heard: {error}")
            self._without_commands = True
            return ()
        self._without_commands = False
        return pending

    async def _kill_at_once(self, asked: AskedFor) -> None:
        await self._obey(asked)
        self._kills -= 1
        self.post(Look())

    async def _obey_in_turn(self, asked: AskedFor) -> None:
        await self._obey(asked)
        self._obeying = ""
        self.post(Look())

    async def _obey(self, asked: AskedFor) -> None:
        given = "".join(f" {name}={value}" for name, value in asked.arguments.items())
        self._say("INFO", f"command {asked.name}{given}", correlation_id=asked.id)
        match asked.name:
            case "stop":
                self._on_stop_command()  # before the answer: whoever has it may end the process at once
                self._write_answer(asked, True, "stopping")
                self.begin_stop("command")
                return
            case "reload":
                self._ask_for_reload(asked)
                return
        try:
            command = Command(asked.name)
        except ValueError:
            known = ", ".join([c.value for c in Command] + ["reload", "stop"])
            self._answer(asked, False, f"unknown command {asked.name!r}; known are {known}")
            return
        try:
            ok, said = await self._command(command, asked.arguments)
        except StoreUnavailable as error:
            ok, said = False, f"not all of it could be done, look at the status: {error}"
        self._answer(asked, ok, said)

    def _answer(self, asked: AskedFor, ok: bool, said: str) -> None:
        self._say("INFO" if ok else "WARNING", f"command {asked.name}: {said}", correlation_id=asked.id)
        self._write_answer(asked, ok, said)

    async def _command(self, command: Command, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        account = arguments.get("account")
        if account is not None and account not in self._accounts:
            return False, f"there is no account {account!r}; accounts are {', '.join(self._accounts)}"
        reason, by = str(arguments.get("reason") or "by command"), str(arguments.get("by") or "operator")
        order, outcome = str(arguments.get("order") or ""), str(arguments.get("outcome") or "")
        if command is Command.RESOLVE and outcome not in OUTCOMES:
            return False, f"{outcome!r} is no outcome; an unknown order can be {', '.join(OUTCOMES)}"
        message = AccountCommand(command, by, reason, client_order_id=order, outcome=outcome)
        refs = [self._accounts[account]] if account else list(self._accounts.values())
        if command is Command.RELEASE:
            self._desk.let_go(account or "all")
        telling = (frozenset(one.account for one in refs), message)
        self._telling.append(telling)
        try:
            said = await in_order([partial(self._tell, one, message) for one in refs], len(refs))
        finally:
            try:
                if command is Command.KILL:  # in memory first, which is quicker; then for the processes to come
                    self._desk.hold(account or "all", reason)
            finally:
                self._telling.remove(telling)
        if command is Command.RESOLVE:
            return _resolved(said)
        if command is Command.KILL:
            said = [
                (ok, text if ok else f"{text} (the latch file holds it from its next start on)") for ok, text in said
            ]
        return all(ok and not text.startswith(NOTHING_DONE) for ok, text in said), "; ".join(text for _, text in said)

    def _steer(
        self, command: Command, reason: str, *, by: str = "signal", accounts: Iterable[str] | None = None
    ) -> None:
        """Nobody answers a signal, and it must not be lost: each account gets it as soon as it can take it, the newest last.

        Of each who asks: a signal that comes while an account cannot take a halt of the store's takes nothing of that away.
        """
        message = AccountCommand(command, by, reason)
        for name in self._accounts if accounts is None else accounts:
            if (name, by) not in self._steering:
                self.spawn(self._hand_over, self._accounts[name], by)
            self._steering[name, by] = message

    async def _hand_over(self, refs: AccountRefs, by: str) -> None:
        told, key = "", (refs.account, by)
        while True:
            message, began_s = self._steering[key], self.clock.monotonic()
            taken, said = await self._tell(refs, message)
            if taken:
                self._say("INFO", said, account=refs.account)
            elif said != told:
                told = said
                self._say("WARNING", f"{said}; it is told again until it does", account=refs.account)
            if taken and self._steering[key] is message:
                del self._steering[key]
                return
            if taken:
                await self.clock.sleep(TELL_AGAIN_S)
            elif self.clock.monotonic() < began_s + ASK_TIMEOUT_S:
                await self.clock.sleep(HAND_OVER_AGAIN_S)
            # One that has let all of its time pass is told again at once: in a pause it might come to itself, and trade.

    def halt_on_the_way(self, account: str) -> AccountCommand | None:
        """A halt that this account may not have heard of yet: whoever starts, and was told nothing, asks before he trades."""
        told = [message for (name, _), message in self._steering.items() if name == account]
        told += [message for accounts, message in self._telling if account in accounts]
        return next((message for message in told if message.command is Command.KILL), None)

    async def _tell(self, refs: AccountRefs, message: AccountCommand) -> tuple[bool, str]:
        """An account that is between two incarnations is waited for; one that is there and does not answer is not.

        What it has not taken by then is taken back: it is not done behind the back of who was told so.
        """
        deadline_s = self.clock.monotonic() + ASK_TIMEOUT_S
        while True:
            left_s = deadline_s - self.clock.monotonic()
            request: Request | None = None
            try:
                request = refs.executor.begin(message, timeout_s=max(left_s, TELL_AGAIN_S), lane=Lane.CONTROL)
                return True, await request.future
            except ActorDied as error:
                if left_s <= 0:
                    return False, f"{refs.account} did not take it: {error}"
            except RequestTimeout as error:
                assert request is not None
                if request.close():
                    return False, f"{refs.account} did not take it: {error}"
                return False, f"{refs.account} has heard it, and may have done it or not (see its status): {error}"
            except ActorError as error:
                return False, f"{refs.account} did not take it: {error}"
            finally:
                if request is not None:
                    request.close()
            await self.clock.sleep(TELL_AGAIN_S)

    # --- stopping -----------------------------------------------------------------------------------------------------

    def begin_stop(self, reason: str) -> None:
        """Stop in order. A second request is the process's own business (see runtime/signals.py)."""
        if self._stopping:
            return
        self._stopping = True
        self._stop_reason = reason
        self._say("INFO", f"stopping: {reason}")
        self._notify.stopping(f"stopping: {reason}")
        self._tell_publisher()
        self._stop_in_order()

    def _stop_in_order(self) -> None:
        """Every account at once; the last one that is done ends the rest."""
        self._extend_stop()
        for name, ready in self._ready.items():
            if ready.reconciled and name not in self._closed:
                self._begin_to_stop(self._accounts[name])
        self._end_when_stopped()  # before recovery is done there is nothing to save

    def _account_ready(self, ready: AccountReady) -> None:
        """One that gets ready while others are being stopped, or comes back from a crash behind its stop, must not trade on."""
        super()._account_ready(ready)
        name = ready.account
        stops = self._stop_reason and not self._stopped
        if stops and ready.reconciled and name not in self._unstopped and name not in self._closed:
            self._extend_stop()
            self._begin_to_stop(self._accounts[name])

    def _extend_stop(self) -> None:
        self._notify.extend_timeout(self.settings.stop_timeout_s + self.settings.stop_extend_s)

    def _begin_to_stop(self, refs: AccountRefs) -> None:
        self._unstopped.add(refs.account)
        self.spawn(self._stop_account, refs)

    async def _stop_account(self, refs: AccountRefs) -> None:
        """An account that dies at it comes back, and is asked again until its time is over."""
        deadline_s, again = self.clock.monotonic() + self.settings.stop_timeout_s, False
        while self.rebuilding == refs.account and self.clock.monotonic() < deadline_s:
            await self.clock.sleep(TELL_AGAIN_S)
        while True:
            left_s = max(deadline_s - self.clock.monotonic(), TELL_AGAIN_S)
            was_there = refs.feed.alive
            try:
                await refs.feed.ask(
                    StopFeed(self._stop_reason, self.settings.on_stop, left_s / 2, again), timeout_s=left_s
                )
            except ActorError as error:
                if isinstance(error, ActorDied) and left_s > TELL_AGAIN_S:
                    again = again or was_there
                    await self.clock.sleep(TELL_AGAIN_S)
                    continue
                why = f"{refs.account} did not stop in order, its last saved state stands: {error}"
                self._say("WARNING", why, account=refs.account)
            break
        self._unstopped.discard(refs.account)
        self._end_when_stopped()

    def _end_when_stopped(self) -> None:
        if not self._unstopped:
            self._stopped = True
            self.system.request_stop()


def _resolved(said: Sequence[tuple[bool, str]]) -> tuple[bool, str]:
    """One account had the order, the others say that they do not know it."""
    done = [text for ok, text in said if ok and not text.startswith(NOTHING_DONE)]
    return (True, "; ".join(done)) if done else (False, "; ".join(text for _, text in said))
