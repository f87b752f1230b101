"""`tradekeel db export` and `db import`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tradekeel.cli.common import Json, State, Target, place, say, words_of, write_json
from tradekeel.cli.progress import progress_bars
from tradekeel.errors import ExitCode, InputError

Several = list[str] | None


def export(
    target: Target = None,
    /,
    *,
    to: Annotated[
        Path | None, Parameter(name="--to", help="The folder to make. One that exists is never replaced.")
    ] = None,
    kind: Annotated[str, Parameter(name=["--format", "-f"], help="csv, jsonl or parquet.")] = "csv",
    table: Annotated[
        Several, Parameter(name=["--table", "-t"], negative="", help="Only this table; may be repeated.")
    ] = None,
    account: Annotated[Several, Parameter(name=["--account", "-a"], negative="", help="Only this account.")] = None,
    execution: Annotated[Several, Parameter(name="--execution", negative="", help="Only this execution.")] = None,
    since: Annotated[str | None, Parameter(name="--since", help="Rows from this time on.")] = None,
    until: Annotated[str | None, Parameter(name="--until", help="Rows before this time.")] = None,
    learning: Annotated[
        bool, Parameter(name="--learning", negative="", help="State, action and reward of closed trades, for a model.")
    ] = False,
    state: State = None,
    json: Json = False,
) -> int:
    """Write the books into files for other programs: everything, or some tables, accounts, executions, a span of time.

    Amounts are exact; a manifest says what each file holds, with its checksum. A daemon may go on running meanwhile. An export of
    whole executions with all their tables can be read back with `db import`.
    """
    from tradekeel.bootstrap.transferring import Wanted
    from tradekeel.bootstrap.transferring import export as write

    if to is None:
        raise InputError("where to? Name the folder to be made with --to")
    wanted = Wanted(
        tables=words_of(table),
        accounts=words_of(account),
        executions=words_of(execution),
        since=since,
        until=until,
        learning=learning,
    )
    with progress_bars(hidden=json) as progress:
        done = write(place(target, state), to, kind, wanted, progress)
    if json:
        write_json(done)
        return ExitCode.DONE
    for file in done["files"]:
        say(f"{file['rows']:>12,} {file['file']}")
    say(f"{sum(file['rows'] for file in done['files']):,} rows of {done['books']} written to {done['folder']}")
    if not done["importable"]:
        say("it holds only a part of the books, and cannot be imported")
    return ExitCode.DONE


def import_(
    config: Annotated[
        str,
        Parameter(
            help="The configuration file, or the name of a service (/etc/tradekeel/NAME.toml). Left out with --state."
        ),
    ],
    source: Annotated[Path | None, Parameter(help="The folder of an export.")] = None,
    /,
    *,
    state: State = None,
    json: Json = False,
) -> int:
    """Read an export into empty books. What does not verify is refused, and nothing is changed.

    Refused while a daemon runs, and for books that have anything in them.
    """
    from tradekeel.bootstrap.transferring import fill

    if state is None and source is None:
        raise InputError(f"into whose books, and from where? Say tradekeel db import CONFIG FOLDER, not {config} alone")
    named, which = (None, Path(config)) if source is None else (config, source)
    with progress_bars(hidden=json) as progress:
        done = fill(place(named, state), which, os.environ, progress)
    if json:
        write_json(done)
        return ExitCode.DONE
    for name, count in done["rows"].items():
        say(f"{count:>12,} {name}")
    say(
        f"{done['books']} holds {done['records']:,} journal records of {done['executions']} executions now, and everything in it "
        "agrees"
    )
    return ExitCode.DONE
