"""Commands to a running daemon, as whoever gives them sees it: write the file, wake the daemon, wait for the answer.

A kill and a release work without a daemon, too: they are files that the next one finds. Everything else needs somebody to do it.

Of a kill and a release the later one stands, whatever became of the earlier. So each takes back what still waits of the
other, as a running daemon does with what it is given; a kill without a daemon is one file that is there or not, read at a
start after any word of a release; and since a daemon may have started meanwhile, and looked before the file was there, it is
looked for again and told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tradekeel.actors.control import OUTCOMES
from tradekeel.bootstrap import desk
from tradekeel.bootstrap.checks import accounts_in, latched_accounts
from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.early import WAKE_SIGNAL
from tradekeel.bootstrap.ending import NoAnswer, NotRunning
from tradekeel.bootstrap.place import Place
from tradekeel.config.model import NAME, NAME_WORDS
from tradekeel.config.source import read_table
from tradekeel.config.words import did_you_mean
from tradekeel.errors import InputError
from tradekeel.runtime.clock import SystemClock, new_id
from tradekeel.runtime.loop import run as run_loop
from tradekeel.statedir import SCOPE_ALL, Command, CommandFiles, CommandResult

LOOK_EVERY_S = 0.02
ANSWER_TIMEOUT_S = 30.0
"""A command is answered when it is durable; a daemon that recovers a large journal needs its time."""


class Answer(Struct, frozen=True):
    """What became of a command."""

    ok: bool
    message: str
    unanswered: bool = False  # nobody has said that it was done, though it will be


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
    command = Command(id=new_id(), name=name, ts_ns=_after_all_that_waits(files), arguments=dict(arguments))
    files.ask(command)
    _wake(pid)
    try:
        return run_loop(_wait, place, files, command, timeout_s, keep, use_uvloop=False)
    except KeyboardInterrupt:
        if not keep:
            files.withdraw(command)  # nobody waits for it any more, and nobody expects it to be done some day
        raise


def _after_all_that_waits(files: CommandFiles) -> int:
    """The time of a command: now, but never before one that waits, because a clock may be set back between the two."""
    waiting = [command.ts_ns + 1 for command in files.pending() if isinstance(command, Command)]
    return max((SystemClock().now_ns(), *waiting))


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
    scope = _scope(account)
    arguments = _arguments(account, reason, by)
    if place.pid is not None or place.state_dir.is_dir():
        check_account(place, account)
    try:  # a daemon takes back itself what still waits: nobody else knows whether it is carrying it out already
        return send(place, desk.KILL, arguments, timeout_s, keep=True)
    except NoAnswer as error:
        Desk(place.statedir).hold(scope, reason)
        return _not_yet(place, error)
    except NotRunning:
        if not place.state_dir.is_dir():
            raise
    place.statedir.mend()  # books that were put back alone have no folders beside them
    _overtake(place, desk.RELEASE, account)
    Desk(place.statedir).hold(scope, reason)
    try:  # one that has started since then may have looked before the file was there
        return send(place, desk.KILL, arguments, timeout_s, keep=True)
    except NoAnswer as error:
        return _not_yet(place, error)
    except NotRunning:
        return Answer(
            True, f"no daemon is running on {place.state_dir}; the next one starts halted until it is released"
        )


def _not_yet(place: Place, error: NoAnswer) -> Answer:
    return Answer(
        False,
        unanswered=True,
        message=f"{error}. The command waits for it, and the latch file is written, so it is halted as soon as it comes to "
        f"itself, and from its next start on; to end this process now: kill -9 {place.pid}",
    )


def release(place: Place, account: str | None, reason: str, by: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """End a halt or a reduce-only state. Without a daemon the latch files go, and what the books hold goes at the next start."""
    scope = _scope(account)
    arguments = _arguments(account, reason, by)
    try:
        return send(place, desk.RELEASE, arguments, timeout_s)
    except NotRunning:
        if not place.state_dir.is_dir():
            raise
    check_account(place, account)
    place.statedir.mend()
    mine = Desk(place.statedir)
    _overtake(place, desk.KILL, account)
    latched = [name for name in latched_accounts(place.where) if account in (None, name)]
    mine.release_later(scope, latched, reason, by)
    try:  # one that has started since then may have read the latch files before they were gone
        return send(place, desk.RELEASE, arguments, timeout_s)
    except NoAnswer:
        for name in latched:
            mine.forget_release(name)
        raise
    except NotRunning:
        books = f"what the books themselves have halted ({', '.join(latched)}) is released at the next start"
        return Answer(
            True,
            f"no daemon is running on {place.state_dir}; the latch files are removed, and "
            f"{books if latched else 'the books have halted nothing'}",
        )


def _scope(account: str | None) -> str:
    """Whom a latch file is for. Raises InputError for what no account can be called."""
    if account is not None and (not NAME.fullmatch(account) or account == SCOPE_ALL):
        raise InputError(f"{account!r} cannot be an account's name: {NAME_WORDS}")
    return account or SCOPE_ALL


def check_account(place: Place, account: str | None) -> None:
    """Raises InputError for an account that neither the configuration nor the books nor a latch file know."""
    known = _known_accounts(place)
    if account is None or account in known:
        return
    hint = did_you_mean(account, known, "there are") if known else "say it without --account, for all of them"
    what = "there is no account" if known else "nobody knows here whether there is an account"
    raise InputError(f"{place}: {what} {account!r}; {hint}")


def _known_accounts(place: Place) -> set[str]:
    """What the files say, also where a configuration is broken otherwise."""
    known = {path.stem for path in place.statedir.latches.glob("*.json")} - {SCOPE_ALL}
    known.update(accounts_in(place.where))
    if place.config is not None:
        try:
            tables = read_table(place.config).get("accounts")
        except InputError:
            tables = None
        known.update(tables if isinstance(tables, dict) else ())
    return known


def _overtake(place: Place, name: str, account: str | None) -> None:
    """Take back what waits of the opposite, for any of these accounts. A kill that is for others, too, goes on to hold them."""
    if not place.statedir.commands.is_dir():
        return
    mine = Desk(place.statedir)
    files = CommandFiles(place.statedir.commands, place.statedir.results)
    this = Command(id="this", name=name, ts_ns=0, arguments=_arguments(account, "", ""))
    for command in files.pending():
        if isinstance(command, Command) and command.name == name and desk.concern_one_account(command, this):
            if name == desk.KILL:
                scope = command.arguments.get("account") or SCOPE_ALL
                mine.hold(scope, str(command.arguments.get("reason") or "killed"))
            files.answer(command, desk.refusal_of(command, desk.overtaken_by(command)))


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
