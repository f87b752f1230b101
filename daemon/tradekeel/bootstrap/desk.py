"""The desk: command files, latch files and the status file of a state directory, as control sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradekeel.actors.control import AskedFor
from tradekeel.statedir import Command, CommandFiles, CommandResult, StateDir
from tradekeel.statedir.files import explained, remove_durably, write_atomically

STATUS_FILE = "status.json"
SCOPE_ALL = "all"


class Desk:
    """See the module."""

    def __init__(self, statedir: StateDir) -> None:
        self._statedir = statedir
        self._files = CommandFiles(statedir.commands, statedir.results)
        self._taken: dict[str, Command] = {}

    def pending(self) -> Sequence[AskedFor]:
        """Commands that wait, oldest first; each is handed out once. Files that are none are put aside with an answer."""
        found: list[AskedFor] = []
        for command in self._files.pending():
            if not isinstance(command, Command):
                self._files.discard(command)
            elif command.id not in self._taken:
                self._taken[command.id] = command
                found.append(AskedFor(command.id, command.name, command.arguments))
        return found

    def answer(self, asked: AskedFor, ok: bool, message: str) -> None:
        """Write what became of a command; it no longer waits."""
        command = self._taken.pop(asked.id)
        self._files.answer(command, CommandResult(id=asked.id, ok=ok, message=message))

    def hold(self, scope: str, reason: str) -> None:
        """Write the latch file: from now on nothing is sent, in this process or the next, until it is gone."""
        content = msgspec.json.encode({"scope": scope, "reason": reason})
        write_atomically(self._statedir.latch(scope), content)

    def let_go(self, scope: str, others: Sequence[str] = ()) -> None:
        """Remove the latch file. Releasing all releases each account, too.

        Where all are held and one is released, ``others`` are held by latch files of their own from then on.
        """
        if scope != SCOPE_ALL and self._statedir.latch(SCOPE_ALL).exists():
            reason = self.held(SCOPE_ALL) or "killed"
            for name in others:
                self.hold(name, reason)
            remove_durably(self._statedir.latch(SCOPE_ALL))
        scopes = [path.stem for path in self._statedir.latches.glob("*.json")] if scope == SCOPE_ALL else [scope]
        for name in scopes:
            remove_durably(self._statedir.latch(name))

    def held(self, account: str) -> str | None:
        """Why a latch file holds this account, or None. A latch that cannot be read holds all the same."""
        for scope in (SCOPE_ALL, account):
            path = self._statedir.latch(scope)
            if path.exists():
                try:
                    return str(msgspec.json.decode(path.read_bytes()).get("reason", "killed"))
                except (msgspec.DecodeError, AttributeError, OSError):
                    return f"the latch file {path.name} is there"
        return None

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write the status file, whole or not at all. Raises StoreUnavailable."""
        path = self._statedir.path / STATUS_FILE
        waiting = path.with_suffix(".tmp")
        content = msgspec.json.encode(status)
        with explained(path):
            waiting.write_bytes(content)
            waiting.replace(path)  # not synced: it is for looking at, and is written again in a second
