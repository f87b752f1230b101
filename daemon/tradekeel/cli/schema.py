"""`tradekeel db upgrade`, `downgrade`, `current`, `history`: the schema of the books."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from tradekeel.cli.common import Json, State, Target, complain, place, say, write_json
from tradekeel.cli.progress import progress_words
from tradekeel.errors import ExitCode, InputError, StoreUnavailable

DryRun = Annotated[bool, Parameter(name="--dry-run", negative="", help="Say what would be done, and change nothing.")]
Sql = Annotated[bool, Parameter(name="--sql", negative="", help="With --dry-run: the statements, too.")]
WithoutBackup = Annotated[
    bool,
    Parameter(
        name="--without-backup", negative="", help="Do not copy the books first: another copy was made, and tried."
    ),
]
Yes = Annotated[bool, Parameter(name="--yes", negative="", help="Do not ask.")]


def upgrade(
    target: Target = None,
    /,
    *,
    dry_run: DryRun = False,
    sql: Sql = False,
    without_backup: WithoutBackup = False,
    state: State = None,
    json: Json = False,
) -> int:
    """Bring the database's schema up to date, after a backup.

    A starting daemon does the same by itself, unless storage.migrations is "refuse".
    """
    from tradekeel.bootstrap import schemas

    where = place(target, state)
    if _planned(dry_run, sql):
        return _show_plan(schemas.planned(where, None, backup=not without_backup, sql=sql), json)
    with progress_words(hidden=json) as tell:
        done = schemas.upgrade(where, tell, backup=not without_backup)
    return _show_done(done, json, "The schema is up to date.")


def downgrade(
    revision: Annotated[str, Parameter(help="The schema to go back to, as `tradekeel db history` shows it.")],
    target: Target = None,
    /,
    *,
    dry_run: DryRun = False,
    sql: Sql = False,
    yes: Yes = False,
    without_backup: WithoutBackup = False,
    state: State = None,
    json: Json = False,
) -> int:
    """Take the schema back to an earlier revision, after a backup, for an earlier version of Tradekeel.

    What that one has no place for is only in the backup then. It asks for the words GO BACK TO and the revision, and refuses
    while a daemon runs. This version's next start brings the schema up to date again: install the earlier one first.
    """
    from tradekeel.bootstrap import schemas

    where = place(target, state)
    plan = schemas.planned(where, revision, backup=not without_backup, sql=sql)
    if _planned(dry_run, sql):
        return _show_plan(plan, json)
    if not yes:
        _ask_for(f"GO BACK TO {revision}", plan)
    with progress_words(hidden=json) as tell:
        done = schemas.downgrade(where, revision, tell, backup=not without_backup)
    return _show_done(done, json, f"The schema is {revision} already.")


def current(target: Target = None, /, *, state: State = None, json: Json = False) -> int:
    """At which revision the schema is, and what is missing."""
    from tradekeel.bootstrap import schemas

    found = schemas.current(place(target, state))
    if json:
        write_json(found)
    else:
        missing = f"; missing: {', '.join(found['missing'])} (tradekeel db upgrade)" if found["missing"] else ""
        say(f"{found['books']}: schema {found['version']}, the newest is {found['newest']}{missing}")
    return ExitCode.DONE


def history(target: Target = None, /, *, state: State = None, json: Json = False) -> int:
    """Which revisions of the schema were applied, when, and which backup was made before."""
    from tradekeel.bootstrap import schemas

    rows = schemas.history(place(target, state))
    if json:
        write_json(rows)
    else:
        _show_migrations(rows, "Nothing was applied yet.")
    return ExitCode.DONE


def _planned(dry_run: bool, sql: bool) -> bool:
    if sql and not dry_run:
        raise InputError("--sql shows what --dry-run would do: say both")
    return dry_run


def _ask_for(words: str, plan: dict[str, Any]) -> None:
    """InputError unless a person types the words."""
    if not sys.stdin.isatty():
        raise InputError(f"this takes revisions back, and nobody is there to confirm it: say --yes ({words})")
    complain(*(f"would be taken back: {step['revision']} {step['description']}" for step in plan["would"]))
    complain(f"first: {plan['backup']}", f"To go on, type: {words}")
    if sys.stdin.readline().strip() != words:
        raise InputError("these were not the words: nothing was changed")


def _show_plan(plan: dict[str, Any], as_json: bool) -> int:
    """What would be done; StoreUnavailable, behind all that, where it would be refused as things are."""
    if as_json:
        write_json(plan)
    elif not plan["would"]:
        say(f"{plan['books']}: schema {plan['version']}; nothing would be done")
    else:
        say(f"{plan['books']}: schema {plan['version'] or 'none'}", f"first: {plan['backup']}")
        say(*(f"then: {step['revision']} {step['description']}" for step in plan["would"]))
        if plan["sql"] is not None:
            say("", plan["sql"].strip())
    if plan["problem"] is not None:
        raise StoreUnavailable(plan["problem"])
    return ExitCode.DONE


def _show_done(done: dict[str, Any], as_json: bool, none: str) -> int:
    if as_json:
        write_json(done["applied"])
    else:
        _show_migrations(done["applied"], none)
        if done["copy"] is not None:
            say(f"a copy of the books as they were before is at {done['copy']}")
    complain(*done["notes"])
    return ExitCode.DONE


def _show_migrations(rows: list[dict[str, Any]], none: str) -> None:
    from tradekeel.cli.render import Column, print_table, text, time

    columns = (
        Column("applied", time("applied")),
        Column("revision", text("revision")),
        Column("from", text("from_revision"), 2),
        Column("what", text("description"), folds=True),
        Column("backup", text("backup"), 3),
    )
    print_table(rows, columns, none)
