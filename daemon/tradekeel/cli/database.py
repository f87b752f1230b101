"""`tradekeel db`: how much there is, a copy put back, everything deleted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tradekeel.bootstrap.counting import counted
from tradekeel.cli.common import Json, State, Target, complain, place, say, words_of, write_json
from tradekeel.cli.progress import progress_bars
from tradekeel.errors import ExitCode, InputError


def stats(target: Target = None, /, *, state: State = None, json: Json = False) -> int:
    """How much the books hold: rows and bytes of each table, the journal of each execution, backups and archives.

    A daemon may go on running meanwhile. Rows are counted one by one: of millions that takes some seconds.
    """
    from tradekeel.bootstrap.sizing import stats as count

    with progress_bars(hidden=json) as progress:
        found = count(place(target, state), progress)
    if json:
        write_json(found)
    else:
        _show(found)
    return ExitCode.DONE


def restore(
    config: Annotated[
        str,
        Parameter(
            help="The configuration file, or the name of a service (/etc/tradekeel/NAME.toml). Left out with --state."
        ),
    ],
    copy: Annotated[Path | None, Parameter(help="The copy to put back; it stays as it is.")] = None,
    /,
    *,
    set_waiting_aside: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Put what waits for the books' server into the backups. It is acknowledged, and will be in no books.",
        ),
    ] = False,
    state: State = None,
    json: Json = False,
) -> int:
    """Put a copy in the place of the books, which are kept aside. Refused while a daemon runs.

    The copy is proved first as `verify` would: a damaged one is refused with exit code 4, and nothing is changed.
    """
    from tradekeel.bootstrap.database import restore as put_back

    if state is None and copy is None:
        raise InputError(f"whose books, and which copy? Say tradekeel db restore CONFIG COPY, not {config} alone")
    named, which = (None, Path(config)) if copy is None else (config, copy)
    with progress_bars(hidden=json) as progress:
        done = put_back(place(named, state), which, os.environ, progress, set_waiting_aside=set_waiting_aside)
    if json:
        write_json(done)
        return ExitCode.DONE
    say(
        f"{done['books']} is now what {done['copy']} is: {counted(done['records'], 'journal record')} of "
        f"{counted(done['executions'], 'execution')}, and everything in it agrees"
    )
    if done["replaced"]:
        say(f"what was there before is in {done['replaced']}: delete it when you no longer need it")
    if done["waiting"]:
        say(f"what waited for the server is in {done['waiting']}, and in no books")
    say(
        "start the daemon: what has happened at the venue since the copy was made is fetched from the venue's own record; an "
        "account with orders that the copy does not know is halted until you have looked at them (tradekeel release)"
    )
    return ExitCode.DONE


WORDS = "DELETE ALL TRADES"


def wipe(
    target: Target = None,
    /,
    *,
    confirm: Annotated[
        str | None,
        Parameter(name="--confirm", help=f'"{WORDS}", to the letter. Left out, you are asked for it on the terminal.'),
    ] = None,
    account: Annotated[
        list[str] | None, Parameter(name=["--account", "-a"], negative="", help="Only this account; may be repeated.")
    ] = None,
    state: State = None,
    json: Json = False,
) -> int:
    """Delete all trades, orders, fills, signals and what else follows from the journal, after a backup.

    The journal stays, and says what was deleted; the next start begins with the venue's balance and positions. Refused while a
    daemon runs. The paper accounts themselves are the exchange's: `tradekeel run --fresh` begins those anew.
    """
    from tradekeel.bootstrap.database import wipe as delete

    where = place(target, state)
    said = _asked(where) if confirm is None else confirm
    if said != WORDS:
        raise InputError(f'nothing was deleted: it takes the words {WORDS}, typed, or --confirm "{WORDS}"')
    with progress_bars(hidden=json) as progress:
        done = delete(where, words_of(account), os.environ, progress)
    if json:
        write_json(done)
        return ExitCode.DONE
    if done["backup"] is None:
        say(f"there is nothing to delete in {done['books']}: nothing was done, and no copy was made")
        return ExitCode.DONE
    for table, count in done["deleted"].items():
        say(f"{count:>12,} {table}")
    rows = counted(sum(done["deleted"].values()), "row")
    say(
        f"{rows} of {counted(done['executions'], 'execution')} deleted from {done['books']}",
        f"a copy of what was there is {done['backup']}"
        + (": tradekeel db restore puts it back" if done["restorable"] else ", and nothing is put back into memory"),
    )
    for name in done["closed"]:
        say(
            f"the unfinished execution of {name} is closed: the next start begins with the venue's balance and positions"
        )
    return ExitCode.DONE


def _asked(where: Any) -> str:
    """What a person types; InputError where nobody can."""
    if not sys.stdin.isatty():
        return ""
    complain(f"This deletes all trades, orders, fills and signals of {where}. Type {WORDS} to go on.")
    return input("> ")


def _show(found: dict[str, Any]) -> None:
    from tradekeel.cli.render import Column, print_table, text, time

    log = "" if found["wal_bytes"] is None else f", and {in_bytes(found['wal_bytes'])} in its write-ahead log"
    say(f"{found['books']}: {found['kind']}, schema {found['schema']}, {in_bytes(found['bytes']) or '?'}{log}")
    if found["waiting"]["said"]:
        say(found["waiting"]["said"])
    tables = [
        table | {"shown_rows": f"{table['rows']:,}", "shown_bytes": in_bytes(table["bytes"])}
        for table in found["tables"]
    ]
    print_table(
        tables,
        (
            Column("table", text("table")),
            Column("rows", text("shown_rows"), right=True),
            Column("bytes", text("shown_bytes"), 1, right=True),
            Column("first", time("first"), 3),
            Column("last", time("last"), 2),
        ),
        "There are no tables.",
    )
    journals = [
        run | {"shown_records": f"{run['records']:,}", "run": f"#{run['number']}"} for run in found["executions"]
    ]
    print_table(
        journals,
        (
            Column("account", text("account")),
            Column("run", text("run"), right=True),
            Column("execution", text("execution"), 4),
            Column("mode", text("mode"), 6),
            Column("status", text("status"), 5),
            Column("records", text("shown_records"), right=True),
            Column("from", text("first_record"), 7, right=True),
            Column("first", time("first"), 3),
            Column("last", time("last"), 2),
        ),
        "There is no execution yet.",
    )
    for kind in ("backups", "archives"):
        files = [file | {"shown_bytes": in_bytes(file["bytes"])} for file in found[kind]]
        print_table(
            files,
            (
                Column(kind.removesuffix("s"), text("name"), folds=True),
                Column("bytes", text("shown_bytes"), right=True),
                Column("made", time("time"), 2),
            ),
            f"There are no {kind}.",
        )


def in_bytes(count: int | None) -> str:
    """``1,234,567`` as ``1.2 MB``; exact below ten thousand."""
    if count is None:
        return ""
    if count < EXACT_BELOW:
        return f"{count:,} B"
    unit = max(place for place in UNITS if count >= place or place == min(UNITS))
    return f"{count / unit:.1f} {UNITS[unit]}"


EXACT_BELOW = 10_000
UNITS = {10**3: "kB", 10**6: "MB", 10**9: "GB", 10**12: "TB"}
