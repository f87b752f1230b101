"""`tradekeel db export`, `db import` and `db archive`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tradekeel.bootstrap.counting import counted
from tradekeel.cli.common import Json, State, Target, complain, place, say, words_of, write_json
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
    say(f"{counted(sum(file['rows'] for file in done['files']), 'row')} of {done['books']} written to {done['folder']}")
    if done["archived"]:
        more = counted(done["archived"], "more row is", "more rows are")
        say(f"{more} in archives, and not in it (tradekeel db archive --read FILE)")
    if done["without_state"]:
        say(
            f"none of {done['without_state']:,} closed trades has a state (rl_state_key): a strategy gives it with its entry, or "
            "a script writes it to the trade"
        )
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
        f"{done['books']} holds {counted(done['records'], 'journal record')} of "
        f"{counted(done['executions'], 'execution')} now, and everything in it agrees"
    )
    for path in done["ledgers_missing"]:
        say(
            f"{path} is not there: the ledger of a paper account is the venue's, and in no export. Copy it from the state "
            "directory that the books were in, or verify and the next start find it gone"
        )
    if done["archives_missing"]:
        folder = Path(done["archives_missing"][0]).parent
        say(
            f"{len(done['archives_missing'])} of its archives are not in {folder}: copy them there from where they were"
        )
    return ExitCode.DONE


def archive(
    target: Target = None,
    /,
    *,
    before: Annotated[
        str | None,
        Parameter(
            name="--before",
            help="A date, a date and time (UTC), or how long before the newest time in the books: 90d, 12w.",
        ),
    ] = None,
    to: Annotated[
        Path | None, Parameter(name="--to", help="The folder; left out, archives/ in the state directory.")
    ] = None,
    read: Annotated[
        Path | None, Parameter(name="--read", help="An archive to read back instead, as JSON lines.")
    ] = None,
    table: Annotated[
        str | None, Parameter(name=["--table", "-t"], help="With --read: only the rows of this table.")
    ] = None,
    state: State = None,
    json: Json = False,
) -> int:
    """Move old journal and what was finished by then out of the books into compressed files.

    Closed trades go with their signals, orders and fills; what a running account still needs stays. The books go on to
    verify, with the files and without. Nothing brings an archive back into them, and no backup is made: that is `db backup`.
    Refused while a daemon runs. With --read an archive is checked and written out.
    """
    from tradekeel.bootstrap.transferring import archive as move

    if read is not None:
        if before is not None or to is not None:
            raise InputError(
                "--read writes an archive out, and moves nothing: --before and --to mean nothing beside it"
            )
        return _read(read, table)
    if table is not None:
        raise InputError("--table chooses what --read writes out; what is moved is whole")
    if before is None:
        raise InputError("what is older than when? Say --before with a date, or how long ago")
    with progress_bars(hidden=json) as progress:
        done = move(place(target, state), before, to, os.environ, progress, complain)
    if json:
        write_json(done)
        return ExitCode.DONE
    for file in done["files"]:
        rows = sum(file["rows"].values())
        say(f"{rows:>12,} rows (records {file['first']} to {file['last']} of {file['account']}): {file['file']}")
    if not done["files"]:
        say(f"{done['books']} holds nothing that is older and no longer needed")
    return ExitCode.DONE


def _read(path: Path, table: str | None) -> int:
    import sys

    import msgspec

    from tradekeel.bootstrap.transferring import read_archive

    for row in read_archive(path, table):
        sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
    return ExitCode.DONE
