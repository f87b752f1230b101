"""Commands about the files: is everything right, do the books agree, which schema have they, and a copy of them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tradekeel.cli.common import Json, State, Target, complain, place, say, write_json
from tradekeel.cli.progress import progress_bars
from tradekeel.errors import ExitCode, InputError

MARKS = {True: "ok", False: "WRONG"}


def check(target: Target = None, /, *, json: Json = False) -> int:
    """Find everything that would stop a daemon from starting, without starting it.

    The configuration with all its problems at once, the strategies, the feed's first tick, the venue, the state
    directory, the books, Redis. What wants a password is not looked at, with a warning.
    """
    from tradekeel.bootstrap.checking import check as look
    from tradekeel.bootstrap.checking import exit_code
    from tradekeel.bootstrap.place import as_given

    path = place(target, None).config
    findings = look(as_given(path, target), os.environ)
    code = exit_code(findings)
    if json:
        write_json({"ok": code == ExitCode.DONE, "findings": [_finding(finding) for finding in findings]})
        return code
    for finding in findings:
        mark = "warning" if finding.warning and finding.ok else MARKS[finding.ok]
        say(f"{mark:<8} {finding.subject}: {finding.text}")
    return code


def _finding(finding: Any) -> dict[str, Any]:
    return {"subject": finding.subject, "ok": finding.ok, "warning": finding.warning, "text": finding.text}


def verify(target: Target = None, /, *, state: State = None, json: Json = False) -> int:
    """Prove that the books agree: the journal with its checksums, the tables with the journal, our fills with the venue's.

    Exit code 4, and every difference by name, if they do not. A daemon may go on running meanwhile.
    """
    from tradekeel.bootstrap.audit import audit

    with progress_bars(hidden=json) as progress:
        result = audit(place(target, state), progress)
    code = ExitCode.DONE if result.ok else ExitCode.BOOKS_DO_NOT_MATCH
    if json:
        write_json({"ok": result.ok, "findings": result.lines(), "waiting": result.waiting})
    elif result.ok:
        say(*result.lines())
    else:
        complain(*result.lines())
    return code


def backup(
    config: Annotated[
        str,
        Parameter(
            help="The configuration file, or the name of a service (/etc/tradekeel/NAME.toml). Left out with --state."
        ),
    ],
    target: Annotated[Path | None, Parameter(help="The file to make. One that exists is never replaced.")] = None,
    /,
    *,
    state: State = None,
    json: Json = False,
) -> int:
    """Copy the books, also beside a running daemon: one whole file, as they were at one moment."""
    from tradekeel.bootstrap.database import backup as make

    if state is None and target is None:
        raise InputError(f"whose books, and where to? Say tradekeel db backup CONFIG TARGET, not {config} alone")
    named, where = (None, Path(config)) if target is None else (config, target)
    with progress_bars(hidden=json) as progress:
        made = make(place(named, state), where, partial(progress, "copying"))
    if json:
        write_json(made)
    else:
        say(f"copied {made['books']} to {made['copy']} ({made['bytes']:,} bytes)")
    return ExitCode.DONE
