"""Commands that read the books: from the database, without disturbing the daemon, whether it runs or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter, validators

from tradekeel.cli.columns import (
    EVENT_COLUMNS,
    EXECUTION_COLUMNS,
    FILL_COLUMNS,
    JOURNAL_COLUMNS,
    ORDER_COLUMNS,
    PARAMETER_COLUMNS,
    POSITION_COLUMNS,
    SIGNAL_COLUMNS,
    SNAPSHOT_COLUMNS,
    TRADE_COLUMNS,
    UNKNOWN_ORDER_COLUMNS,
)
from tradekeel.cli.common import Json, State, Target, complain, place, say, words_of, write_json
from tradekeel.cli.render import Column, print_table
from tradekeel.errors import ExitCode


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which rows are shown."""

    account: Annotated[str | None, Parameter(name=["--account", "-a"], help="Only this account.")] = None
    since: Annotated[
        str | None,
        Parameter(
            help="From this time on: 2014-05-08, 2014-05-08T13:30, or how long ago: 15m, 2h, 3d (of a recorded market: "
            "before the newest time in the books)."
        ),
    ] = None
    until: Annotated[str | None, Parameter(help="Before this time.")] = None
    limit: Annotated[
        int,
        Parameter(name=["--limit", "-n"], help="At most so many rows; 0 for all.", validator=validators.Number(gte=0)),
    ] = 20
    all_runs: Annotated[
        bool, Parameter(name="--all-runs", negative="", help="Of all executions, not only the newest of each account.")
    ] = False
    execution: Annotated[str | None, Parameter(help="Of this execution.")] = None
    state: State = None
    json: Json = False


ALL = Which()
Strategy = Annotated[str | None, Parameter(name=["--strategy", "-s"], help="Only this strategy.")]
Instrument = Annotated[str | None, Parameter(name=["--instrument", "-i"], help="Only this instrument.")]
Status = Annotated[
    list[str] | None, Parameter(name="--status", negative="", help="Only these states: several, or with commas.")
]


class _Answer(NamedTuple):
    """Rows, whether they might be of several accounts, and how many more of them are in archives, where all others are shown."""

    rows: Sequence[dict[str, Any]]
    accounts: bool
    archived: int


def _read(kind: str, target: str | None, which: Which, **words: Any) -> _Answer:
    from tradekeel.bootstrap.reading import Query, account_names, in_archives, read_rows
    from tradekeel.bootstrap.standing import memory_since

    where = place(target, which.state)
    since = memory_since(where)
    if since is not None:
        note = f"the daemon keeps its books in memory since {since}: what is shown are those on the server, as they were before"
        (complain if which.json else say)(note)
    query = Query(
        account=which.account,
        since=which.since,
        until=which.until,
        limit=which.limit or None,
        all_runs=which.all_runs,
        execution=which.execution,
        **words,
    )
    rows = read_rows(where, kind, query)
    if which.json:
        return _Answer(rows, accounts=False, archived=0)
    is_all = query.limit is None or len(rows) < query.limit
    several = which.account is None and len(account_names(where)) > 1
    return _Answer(rows, several, in_archives(where, kind, query) if is_all else 0)


def _show(answer: _Answer, which: Which, columns: Sequence[Column], empty: str) -> int:
    if which.json:
        write_json(answer.rows)
    else:
        left_out = {"account": not answer.accounts, "run": not which.all_runs}
        print_table(answer.rows, [c for c in columns if not left_out.get(c.title)], empty)
        if answer.archived:
            say(
                f"{answer.archived:,} that are older are in archives, and are not looked at (tradekeel db archive --read FILE)"
            )
    return ExitCode.DONE


def trades(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    instrument: Instrument = None,
    status: Status = None,
    open_: Annotated[bool, Parameter(name="--open", negative="", help="Only trades that are not over.")] = False,
    which: Which = ALL,
) -> int:
    """Round trips: entry, exit, why, and what they brought. Profit is after fees and financing, in account currency."""
    states = ("PENDING", "OPEN", "CLOSING") if open_ else _upper(words_of(status))
    words = {"strategy": strategy, "instrument": instrument, "status": states, "last_runs": open_}
    found = _read("trades", target, which, **words)
    return _show(found, which, TRADE_COLUMNS, "No trades.")


def _upper(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(word.upper() for word in words)


def _lower(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(word.lower() for word in words)


def orders(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    instrument: Instrument = None,
    status: Status = None,
    which: Which = ALL,
) -> int:
    """Orders and what became of them; `--status unknown` shows those that nobody can tell about."""
    words = _lower(words_of(status))
    found = _read("orders", target, which, strategy=strategy, instrument=instrument, status=words)
    unknown = any(row["status"] == "unknown" for row in found.rows)
    return _show(found, which, UNKNOWN_ORDER_COLUMNS if unknown else ORDER_COLUMNS, "No orders.")


def fills(
    target: Target = None, /, *, strategy: Strategy = None, instrument: Instrument = None, which: Which = ALL
) -> int:
    """Executions that the venue reported: the only thing that moves a position."""
    found = _read("fills", target, which, strategy=strategy, instrument=instrument)
    return _show(found, which, FILL_COLUMNS, "No fills.")


def positions(target: Target = None, /, *, which: Which = ALL) -> int:
    """What is held, at its exact cost, with the profit at the last saved prices (in quote currency)."""
    found = _read("positions", target, which)
    return _show(found, which, POSITION_COLUMNS, "No positions.")


def signals(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    instrument: Instrument = None,
    status: Status = None,
    which: Which = ALL,
) -> int:
    """What strategies wanted, before any risk check, and what became of it."""
    words = _lower(words_of(status))
    found = _read("signals", target, which, strategy=strategy, instrument=instrument, status=words)
    return _show(found, which, SIGNAL_COLUMNS, "No signals.")


def events(
    target: Target = None,
    /,
    *,
    strategy: Strategy = None,
    type_: Annotated[
        str | None, Parameter(name=["--type", "-t"], help="Only events (or records) of this type.")
    ] = None,
    journal: Annotated[
        bool, Parameter(name="--journal", negative="", help="The journal itself: everything that happened, numbered.")
    ] = False,
    which: Which = ALL,
) -> int:
    """What strategies said about their decisions; with --journal the record of everything that happened."""
    if journal:
        found = _read("journal", target, which, type=type_, strategy=strategy)
        return _show(found, which, JOURNAL_COLUMNS, "No records.")
    found = _read("events", target, which, strategy=strategy, type=type_)
    return _show(found, which, EVENT_COLUMNS, "No events.")


def executions(target: Target = None, /, *, which: Which = ALL) -> int:
    """Runs of each account, newest first: how each began and ended. All of them, with or without --all-runs."""
    found = _read("executions", target, which)
    if not which.json and place(target, which.state).pid is None:
        # Nobody runs: what is not over is gone on with at the next start. (JSON has the word that stands in the books.)
        rows = [row | {"status": "unfinished"} if row["status"] == "running" else row for row in found.rows]
        found = found._replace(rows=rows)
    return _show(found, which, EXECUTION_COLUMNS, "No executions.")


def snapshots(target: Target = None, /, *, which: Which = ALL) -> int:
    """Figures of each account at a time, as `storage.snapshot_schedule` has them taken."""
    found = _read("snapshots", target, which)
    return _show(found, which, SNAPSHOT_COLUMNS, "No snapshots.")


def parameters(target: Target = None, /, *, strategy: Strategy = None, which: Which = ALL) -> int:
    """Parameters that were changed by a reload, by whom and why."""
    found = _read("parameters", target, which, strategy=strategy)
    return _show(found, which, PARAMETER_COLUMNS, "No parameters were changed.")
