"""Commands to a running daemon, as files: one folder to put them in, one where the answers appear.

A command is written whole or not at all, and its name orders it: time, then id. The daemon reads what is pending, acts,
writes the result and only then removes the command. Whoever asked waits for the result and takes it. If the daemon dies
before that, or whoever asked does, the command stays, and the next daemon finds it: one that it was not given to. It
carries out what says how things shall be from then on, whoever is there (kill, release), once more if need be, and
nothing else.

Nothing here reads a clock or draws an id; both are handed in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.statedir.files import explain, explained, remove_durably, write_atomically

COMMAND_BYTES_MAX: Final = 64 * 1024
PENDING_MAX: Final = 256  # commands that may wait; more of them come from something that has run wild
RESULTS_KEPT_MAX: Final = 256  # answers that nobody fetched

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE = re.compile(r"(\d{20})-([A-Za-z0-9_-]{1,64})\.json")


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person asked for. ``name`` is the imperative ("pause", "resolve"), ``arguments`` what it needs."""

    id: str
    name: str
    ts_ns: int  # when it was asked for, UTC
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return f"{self.ts_ns:020d}-{self.id}.json"


class CommandResult(Struct, frozen=True, kw_only=True):
    """What became of it. ``ok`` is false when it was refused, and then ``message`` says why."""

    id: str
    ok: bool
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Unreadable(Struct, frozen=True, kw_only=True):
    """A file in the folder of commands that is none."""

    path: Path
    id: str  # "" if the file's name has none
    problem: str


class CommandFiles:
    """The two folders. The daemon and the command line use the same object from either end."""

    def __init__(self, commands: Path, results: Path) -> None:
        self._commands = commands
        self._results = results
        self._left: set[str] = set()  # names of what is no command and could not be removed: it is said once

    # --- whoever asks ------------------------------------------------------------------------------------------------

    def ask(self, command: Command) -> Path:
        """Put a command where the daemon finds it. Raises :class:`InputError` for one that could never be carried out."""
        _checked_id(command.id)
        if not 0 <= command.ts_ns < 10**20:
            raise InputError(f"command {command.name}: the time {command.ts_ns} is not one")
        content = msgspec.json.encode(command)
        if len(content) > COMMAND_BYTES_MAX:
            raise InputError(f"command {command.name}: larger than {COMMAND_BYTES_MAX} bytes")
        path = self._commands / command.file_name
        write_atomically(path, content)
        return path

    def withdraw(self, command: Command) -> bool:
        """Take back a command that nobody picked up. False if it is gone, because somebody did."""
        return remove_durably(self._commands / command.file_name)

    def result(self, command_id: str) -> CommandResult | None:
        """The answer, if there is one yet. It stays until :meth:`forget`."""
        path = self._result_path(command_id)
        content = _read(path)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=CommandResult)
        except msgspec.MsgspecError as error:
            raise StoreUnavailable(f"{path} is not an answer to a command: {error}") from None

    def forget(self, command_id: str) -> None:
        """Remove the answer, once it was read."""
        remove_durably(self._result_path(command_id))

    # --- the daemon --------------------------------------------------------------------------------------------------

    def pending(self) -> list[Command | Unreadable]:
        """What waits, oldest first; at most PENDING_MAX, the rest next time. What is no command comes last, as one.

        What could not be discarded is not said again.
        """
        with explained(self._commands):
            names = {entry.name for entry in os.scandir(self._commands) if not entry.name.startswith(".")}
        self._left &= names
        # No rubbish, however much of it, keeps a command waiting.
        waiting = sorted(names - self._left, key=lambda name: (_FILE.fullmatch(name) is None, name))
        found = (self._load(self._commands / name) for name in waiting[:PENDING_MAX])
        return [item for item in found if item is not None]

    def answer(self, command: Command, result: CommandResult) -> None:
        """Write the result, then remove the command; and forget the oldest results beyond RESULTS_KEPT_MAX."""
        write_atomically(self._result_path(result.id), msgspec.json.encode(result))
        self.withdraw(command)
        self._trim_results()

    def discard(self, unreadable: Unreadable) -> bool:
        """Remove what is no command, and answer it where its name says whom.

        False for what cannot be removed (a folder, an immutable file): it is left, and passed over from now on.
        """
        if unreadable.id:
            refusal = CommandResult(id=unreadable.id, ok=False, message=unreadable.problem)
            write_atomically(self._result_path(unreadable.id), msgspec.json.encode(refusal))
        try:
            remove_durably(unreadable.path)
        except StoreUnavailable:
            self._left.add(unreadable.path.name)
            return False
        return True

    def _load(self, path: Path) -> Command | Unreadable | None:
        name = _FILE.fullmatch(path.name)
        if name is None:
            return Unreadable(path=path, id="", problem=f"{path.name} is no name of a command")
        try:
            content = _read(path)
        except StoreUnavailable as error:
            return Unreadable(path=path, id=name[2], problem=str(error))
        if content is None:
            return None  # withdrawn between listing and reading
        try:
            command = msgspec.json.decode(content, type=Command)
        except (msgspec.MsgspecError, RecursionError) as error:
            return Unreadable(path=path, id=name[2], problem=f"not a command: {error}")
        if (command.id, command.ts_ns) != (name[2], int(name[1])):
            return Unreadable(path=path, id=name[2], problem="the command and the name of its file disagree")
        return command

    def _trim_results(self) -> None:
        with explained(self._results):
            entries = sorted(_answers(self._results))
        for _, name in entries[:-RESULTS_KEPT_MAX]:
            remove_durably(self._results / name)

    def _result_path(self, command_id: str) -> Path:
        return self._results / f"{_checked_id(command_id)}.json"


def _answers(folder: Path) -> Iterator[tuple[int, str]]:
    """When each answer was written, and its name."""
    for entry in os.scandir(folder):
        if entry.name.endswith(".json") and not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False):
            with suppress(FileNotFoundError):  # fetched since it was listed
                yield entry.stat(follow_symlinks=False).st_mtime_ns, entry.name


def _checked_id(command_id: str) -> str:
    if not _ID.fullmatch(command_id):
        raise InputError(f"{command_id!r} is no id of a command: 1 to 64 letters, digits, hyphens and underscores")
    return command_id


def _read(path: Path) -> bytes | None:
    """A small file of ours, None if it is not there. Links are not followed: the folder is writable for the daemon only."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailable(explain(error, path)) from error
    with explained(path), os.fdopen(descriptor, "rb") as file:
        content = file.read(COMMAND_BYTES_MAX + 1)
    if len(content) > COMMAND_BYTES_MAX:
        raise StoreUnavailable(f"{path} is larger than {COMMAND_BYTES_MAX} bytes")
    return content
