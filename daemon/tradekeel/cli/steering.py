"""Commands to a running daemon: they are durable when they are answered, and survive its restart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tradekeel.cli.common import Account, Json, Reason, State, Target, complain, place, say, write_json
from tradekeel.errors import ExitCode

STOP_TIMEOUT_S = 60.0

Timeout = Annotated[float, Parameter(name="--timeout", help="Seconds to wait for the answer.")]


def _answer(answer: Any, as_json: bool) -> int:
    if as_json:
        write_json({"ok": answer.ok, "message": answer.message})
    elif answer.ok:
        say(answer.message)
    else:
        complain(f"tradekeel: {answer.message}")
    if answer.unanswered:
        return ExitCode.DEFECT
    return ExitCode.DONE if answer.ok else ExitCode.BAD_USAGE


def _send(
    name: str, target: str | None, state: Path | None, account: str | None, reason: str, timeout_s: float, as_json: bool
) -> int:
    from tradekeel.bootstrap.commands import operator, send

    arguments = {"reason": reason, "by": operator(os.environ)} | ({} if account is None else {"account": account})
    return _answer(send(place(target, state), name, arguments, timeout_s), as_json)


def pause(
    target: Target = None,
    /,
    *,
    account: Account = None,
    reason: Reason = "by command",
    state: State = None,
    timeout: Timeout = 30.0,
    json: Json = False,
) -> int:
    """Take no new entries; exits, stops and reconciliation go on. Survives a restart."""
    return _send("pause", target, state, account, reason, timeout, json)


def resume(
    target: Target = None,
    /,
    *,
    account: Account = None,
    reason: Reason = "by command",
    state: State = None,
    timeout: Timeout = 30.0,
    json: Json = False,
) -> int:
    """Take entries again after a pause."""
    return _send("resume", target, state, account, reason, timeout, json)


def flatten(
    target: Target = None,
    /,
    *,
    account: Account = None,
    reason: Reason = "by command",
    state: State = None,
    timeout: Timeout = 30.0,
    json: Json = False,
) -> int:
    """Cancel orders, close positions, then pause."""
    return _send("flatten", target, state, account, reason, timeout, json)


def reload(target: Target = None, /, *, state: State = None, timeout: Timeout = 60.0, json: Json = False) -> int:
    """Read the configuration again and apply what can change live; all of it or nothing."""
    return _send("reload", target, state, None, "by command", timeout, json)


def stop(
    target: Target = None,
    /,
    *,
    wait: Annotated[bool, Parameter(help="Wait until the process has ended.")] = True,
    state: State = None,
    timeout: Timeout = STOP_TIMEOUT_S,
    json: Json = False,
) -> int:
    """Stop in order: strategies are told, everything is saved, positions and orders stay (see daemon.on_stop)."""
    from tradekeel.bootstrap.commands import send, wait_until_gone

    where = place(target, state)
    pid = where.pid
    answer = send(where, "stop", {}, timeout)
    if answer.ok and wait:
        if not wait_until_gone(where, timeout):
            late = f"process {pid} is still stopping after {timeout:g} s; to end it at once: kill {pid}"
            return _answer(type(answer)(False, late, unanswered=True), json)
        answer = type(answer)(True, "stopped")
    return _answer(answer, json)


def _latch(
    act: Callable[..., Any],
    target: str | None,
    state: Path | None,
    account: str | None,
    reason: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    from tradekeel.bootstrap.commands import operator

    return _answer(act(place(target, state), account, reason, operator(os.environ), timeout_s), as_json)


def kill(
    target: Target = None,
    /,
    *,
    account: Account = None,
    reason: Reason = "killed by command",
    state: State = None,
    timeout: Timeout = 10.0,
    json: Json = False,
) -> int:
    """Halt: nothing is sent any more, entries are cancelled, protective stops stay. Only `release` ends it.

    Works without a running daemon, too: the next one starts halted.
    """
    from tradekeel.bootstrap import commands

    return _latch(commands.kill, target, state, account, reason, timeout, json)


def release(
    target: Target = None,
    /,
    *,
    account: Account = None,
    reason: Reason = "by command",
    state: State = None,
    timeout: Timeout = 30.0,
    json: Json = False,
) -> int:
    """End a halt, or a reduce-only state that a risk limit has caused."""
    from tradekeel.bootstrap import commands

    return _latch(commands.release, target, state, account, reason, timeout, json)


def resolve(
    order: Annotated[str, Parameter(help="The client order id, as `tradekeel orders --status unknown` shows it.")],
    outcome: Annotated[str, Parameter(help="What became of it: not_sent, rejected, canceled or expired.")],
    target: Target = None,
    /,
    *,
    reason: Reason = "by command",
    state: State = None,
    json: Json = False,
) -> int:
    """Say what became of an UNKNOWN order that no lookup can settle. Look at the venue first: this is believed."""
    from tradekeel.bootstrap import commands

    by = commands.operator(os.environ)
    return _answer(commands.resolve(place(target, state), order, outcome.lower(), reason, by), json)
