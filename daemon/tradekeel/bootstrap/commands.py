"""Commands to a running daemon, as whoever gives them sees it: write the file, wake the daemon, wait for the answer.

A kill and a release work without a daemon, too: they are files that the next one finds. Everything else needs somebody to do it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tradekeel.actors.control import OUTCOMES
from tradekeel.bootstrap.desk import SCOPE_ALL, Desk
from tradekeel.bootstrap.early import WAKE_SIGNAL
from tradekeel.bootstrap.ending import NoAnswer, NotRunning
from tradekeel.bootstrap.place import Place
from tradekeel.errors import InputError
from tradekeel.runtime.clock import SystemClock, new_id
from tradekeel.runtime.loop import run as run_loop
from tradekeel.statedir import Command, CommandFiles, CommandResult

LOOK_EVERY_S = 0.02
ANSWER_TIMEOUT_S = 30.0
"""A command is answered when it is durable; a daemon that recovers a large journal needs its time."""


class Answer(Struct, frozen=True):
    """What became of a command."""

    ok: bool
    message: str


def send(
    place: Place, name: str, arguments: Mapping[str, Any], timeout_s: float = ANSWER_TIMEOUT_S, *, keep: bool = False
) -> Answer:
    """Have the running daemon carry out a command. Raises NotRunning, NoAnswer, StoreUnavailable.

    A command that nobody answers is taken back, unless it is to be kept for when the daemon comes to itself.
    """
    pid = place.pid
    if pid is None:
        raise NotRunning(f"no daemon is running on {place.state_dir}: start one with `tradekeel run`")
    statedir = place.statedir
    files = CommandFiles(statedir.commands, statedir.results)
    clock = SystemClock()
    command = Command(id=new_id(), name=name, ts_ns=clock.now_ns(), arguments=dict(arguments))
    files.ask(command)
    _wake(pid)
    return run_loop(_wait, place, files, command, timeout_s, keep, use_uvloop=False)


async def _wait(place: Place, files: CommandFiles, command: Command, timeout_s: float, keep: bool) -> Answer:
    clock = SystemClock()
    deadline_s = clock.monotonic() + timeout_s
    while True:
        answered = _take(files, command)
        if answered is not None:
            return answered
        if place.pid is None:
            files.withdraw(command)
            raise NotRunning(f"the daemon on {place.state_dir} ended before it answered {command.name}; see its log")
        if clock.monotonic() >= deadline_s:
            if not keep and files.withdraw(command):
                raise NoAnswer(f"the daemon did not answer {command.name} within {timeout_s:g} s; it was taken back")
            raise NoAnswer(f"the daemon has not finished {command.name} within {timeout_s:g} s: look at its status")
        await clock.sleep(LOOK_EVERY_S)


def _take(files: CommandFiles, command: Command) -> Answer | None:
    result: CommandResult | None = files.result(command.id)
    if result is None:
        return None
    files.forget(command.id)
    return Answer(result.ok, result.message)


def _wake(pid: int) -> None:
    if pid > 0:
        try:
            os.kill(pid, WAKE_SIGNAL)
        except (ProcessLookupError, PermissionError):
            pass  # it looks by itself a few times a second


def wait_until_gone(place: Place, timeout_s: float) -> bool:
    """Wait until no daemon holds the place. False if one still does."""
    return run_loop(_wait_gone, place, timeout_s, use_uvloop=False)


async def _wait_gone(place: Place, timeout_s: float) -> bool:
    clock = SystemClock()
    deadline_s = clock.monotonic() + timeout_s
    while place.pid is not None:
        if clock.monotonic() >= deadline_s:
            return False
        await clock.sleep(LOOK_EVERY_S)
    return True


# --- a kill and its release ---------------------------------------------------------------------------------------------


def kill(place: Place, account: str | None, reason: str, by: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """Halt trading until a person releases it. Without a daemon, or without its answer, the latch file alone is written."""
    scope = account or SCOPE_ALL
    try:
        return send(place, "kill", _arguments(account, reason, by), timeout_s, keep=True)
    except NotRunning:
        if not place.state_dir.is_dir():
            raise
        Desk(place.statedir).hold(scope, reason)
        return Answer(
            True, f"no daemon is running on {place.state_dir}; the next one starts halted until it is released"
        )
    except NoAnswer as error:
        Desk(place.statedir).hold(scope, reason)
        pid = place.pid
        return Answer(
            False,
            f"{error}. The command waits for it, and the latch file is written, so it is halted as soon as it comes to "
            f"itself, and from its next start on; to end this process now: kill -9 {pid}",
        )


def release(place: Place, account: str | None, reason: str, by: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """End a halt or a reduce-only state. Without a daemon only the latch files can go; what the books hold needs one."""
    try:
        return send(place, "release", _arguments(account, reason, by), timeout_s)
    except NotRunning:
        if not place.state_dir.is_dir():
            raise
        Desk(place.statedir).let_go(account or SCOPE_ALL)
        files = CommandFiles(place.statedir.commands, place.statedir.results)
        wanted = Command(
            id=new_id(), name="release", ts_ns=SystemClock().now_ns(), arguments=_arguments(account, reason, by)
        )
        files.ask(wanted)
        return Answer(
            True,
            f"no daemon is running on {place.state_dir}; the latch files are removed, and what the books themselves have "
            "halted is released at the next start",
        )


def resolve(place: Place, order: str, outcome: str, reason: str, by: str) -> Answer:
    """Say what became of an order that nobody else can tell."""
    if outcome not in OUTCOMES:
        raise InputError(f"{outcome!r} is no outcome; an unknown order can be {', '.join(OUTCOMES)}")
    return send(place, "resolve", {"order": order, "outcome": outcome, "reason": reason, "by": by})


def _arguments(account: str | None, reason: str, by: str) -> dict[str, Any]:
    return {"reason": reason, "by": by} | ({} if account is None else {"account": account})


def operator(environ: Mapping[str, str]) -> str:
    """Who gives a command, for the journal: the person behind sudo, if there is one."""
    return environ.get("SUDO_USER") or environ.get("USER") or f"uid {os.getuid()}"
