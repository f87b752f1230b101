"""The desk: command files, latch files and the status file of a state directory, as control sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tradekeel.actors.control import AskedFor
from tradekeel.bootstrap.telling import say
from tradekeel.errors import StoreUnavailable
from tradekeel.statedir import SCOPE_ALL, Command, CommandFiles, CommandResult, StateDir
from tradekeel.statedir.files import explained, remove_durably, write_atomically

STATUS_FILE = "status.json"
KILL, RELEASE = "kill", "release"

FOR_WHOEVER_IS_THERE = (KILL, RELEASE)
"""Commands that hold from when they were given on, for the daemons to come as well. The rest is for the one that is asked."""

NOT_OURS = "nothing done: it was given to a daemon that ended before it obeyed, and this is another one; give it again"

T = TypeVar("T")


class Latch(Struct, frozen=True):
    """What stands in a latch file. ``exempt`` are accounts that were released while all are held."""

    scope: str
    reason: str = "killed"
    exempt: tuple[str, ...] = ()


class Release(Struct, frozen=True):
    """What stands in the word that a release leaves for the next start."""

    reason: str
    by: str


class Desk:
    """See the module."""

    def __init__(self, statedir: StateDir) -> None:
        self._statedir = statedir
        self._files = CommandFiles(statedir.commands, statedir.results)
        self._seen: dict[str, Command] = {}
        self._taken: dict[str, Command] = {}

    def pending(self) -> Sequence[AskedFor]:
        """Commands that nobody has taken yet: kills first, then the oldest first.

        A release that was asked for before a kill must not end it, so it is answered and not handed out; nor is what was asked
        of a daemon before this one. What is no command is removed with an answer, or left where it is if it cannot be; either
        is said once.
        """
        waiting: list[Command] = []
        for command in self._in_our_folders(self._files.pending):
            if not isinstance(command, Command):
                fate = "is removed" if self._files.discard(command) else "cannot be removed, so it is left"
                say("WARNING", f"{command.path.name} in the folder of commands is none, and {fate}: {command.problem}")
            elif command.file_name in self._statedir.left_over and command.name not in FOR_WHOEVER_IS_THERE:
                self._refuse(command, NOT_OURS)
            elif command.id not in self._taken:
                waiting.append(command)
        overtaken = [old for index, old in enumerate(waiting) if any(undoes(old, new) for new in waiting[index + 1 :])]
        for command in overtaken:
            self._refuse(command, overtaken_by(command))
        rest = [command for command in waiting if command not in overtaken]
        self._seen = {command.id: command for command in rest}
        rest.sort(key=lambda command: command.name != KILL)
        return [AskedFor(command.id, command.name, command.arguments) for command in rest]

    def take(self, asked: AskedFor) -> None:
        """This one is being obeyed: it is not pending any more."""
        self._taken[asked.id] = self._seen[asked.id]

    def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
        """Write what became of a command; it no longer waits. One that cannot be answered stays taken: it is not done twice."""
        self._answer(self._taken[asked.id], CommandResult(id=asked.id, ok=ok, message=message))
        del self._taken[asked.id]

    def _refuse(self, command: Command, why: str) -> None:
        self._answer(command, refusal_of(command, why))
        say("WARNING", f"command {command.name}: {why}", correlation_id=command.id)

    def _answer(self, command: Command, result: CommandResult) -> None:
        self._in_our_folders(partial(self._files.answer, command, result))

    def _in_our_folders(self, act: Callable[[], T]) -> T:
        """Do something there. A folder that somebody has removed is made again (degrade): trading does not depend on it."""
        try:
            return act()
        except StoreUnavailable:
            made = self._statedir.mend()
            if not made:
                raise
            say("WARNING", f"{', '.join(map(str, made))} was gone and is made again; what was in it is lost")
            return act()

    def hold(self, scope: str, reason: str) -> None:
        """Write the latch file: from now on nothing is sent, in this process or the next, until it is gone."""
        latch = msgspec.json.encode(Latch(scope, reason))
        self._in_our_folders(lambda: write_atomically(self._statedir.latch(scope), latch))

    def let_go(self, scope: str) -> None:
        """Remove the latch file. Releasing all releases each account, too; one account can be let go where all are held.

        What an earlier release has left for the next start is done with this.
        """
        self._in_our_folders(partial(self._unlatch, scope))
        for path in self._notes(scope):
            remove_durably(path)

    def _unlatch(self, scope: str) -> None:
        if scope == SCOPE_ALL:
            for path in list(self._statedir.latches.glob("*.json")):
                remove_durably(path)
            return
        everybody = self._statedir.latch(SCOPE_ALL)
        if everybody.exists():  # one file says who is held: there is no moment at which the others are not
            latch = _read_latch(everybody)
            exempt = tuple(dict.fromkeys((*latch.exempt, scope)))
            write_atomically(everybody, msgspec.json.encode(msgspec.structs.replace(latch, exempt=exempt)))
        remove_durably(self._statedir.latch(scope))

    def held(self, account: str) -> str | None:
        """Why a latch file holds this account, or None. A latch that cannot be read holds all the same."""
        for scope in (SCOPE_ALL, account):
            path = self._statedir.latch(scope)
            if path.exists():
                latch = _read_latch(path)
                if scope == account or account not in latch.exempt:
                    return latch.reason
        return None

    # --- what is released while there is no daemon -----------------------------------------------------------------------

    def release_later(self, scope: str, accounts: Sequence[str], reason: str, by: str) -> None:
        """Without a daemon: leave word for the next start to release what the books of ``accounts`` have halted, and let go.

        The word is read before the latch files are, so a kill that comes after it ends as a kill.
        """
        for account in accounts:
            write_atomically(self._statedir.release_note(account), msgspec.json.encode(Release(reason, by)))
        self._unlatch(scope)

    def released(self, account: str) -> tuple[str, str] | None:
        """Why and by whom an account was released while there was no daemon, or None. What cannot be read is no word."""
        path = self._statedir.release_note(account)
        try:
            release = msgspec.json.decode(path.read_bytes(), type=Release)
        except (msgspec.MsgspecError, OSError):
            return None
        return release.reason, release.by

    def forget_release(self, account: str) -> None:
        """The books have it: the word is not needed any more."""
        remove_durably(self._statedir.release_note(account))

    def _notes(self, scope: str) -> list[Path]:
        if scope == SCOPE_ALL:
            return list(self._statedir.latches.glob("*.release"))
        return [self._statedir.release_note(scope)]

    # --- the status ------------------------------------------------------------------------------------------------------

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write the status file, whole or not at all. Raises StoreUnavailable."""
        path = self._statedir.path / STATUS_FILE
        waiting = path.with_suffix(".tmp")
        content = msgspec.json.encode(status)
        with explained(path):
            waiting.write_bytes(content)
            waiting.replace(path)  # not synced: it is for looking at, and is written again in a second

    def write_end(self, code: int, said: str) -> None:
        """Why the process ended, beside what it said last, for whoever asks later; the next start writes it over."""
        path = self._statedir.path / STATUS_FILE
        with suppress(StoreUnavailable, OSError, msgspec.DecodeError):  # a disk that is full keeps nobody from ending
            last = msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}
            self.write_status(last | {"ended": {"code": code, "said": said}})


def _read_latch(path: Path) -> Latch:
    """A latch file; one that cannot be read holds everybody it is for."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Latch)
    except (msgspec.MsgspecError, OSError):
        return Latch(path.stem, f"the latch file {path.name} is there")


# --- kills and releases among commands ------------------------------------------------------------------------------------


def concern_one_account(one: Command, other: Command) -> bool:
    """Whether there is an account that both are for."""
    accounts = (one.arguments.get("account"), other.arguments.get("account"))
    return None in accounts or accounts[0] == accounts[1]


def undoes(release: Command, kill: Command) -> bool:
    """Whether these two are a release and a kill that it would end."""
    return (release.name, kill.name) == (RELEASE, KILL) and concern_one_account(release, kill)


def overtaken_by(command: Command) -> str:
    """Why a command is not carried out that a later one has overtaken."""
    return f"nothing done: a {RELEASE if command.name == KILL else KILL} that came later has overtaken it"


def refusal_of(command: Command, why: str) -> CommandResult:
    """The answer to a command that is not carried out."""
    return CommandResult(id=command.id, ok=False, message=why)
