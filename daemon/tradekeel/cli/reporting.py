"""`tradekeel report` and `tradekeel compare`: what an execution came to, and how two of them differ."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from tradekeel.cli.common import Account, Json, State, Target, complain, place, say, words_of, write_json
from tradekeel.cli.progress import progress_bars
from tradekeel.cli.render import Column, console, make_table, moment, print_table, trimmed
from tradekeel.errors import ExitCode

if TYPE_CHECKING:
    from tradekeel.bootstrap.place import Place
    from tradekeel.bootstrap.runs import Run

Groups = Annotated[
    list[str] | None,
    Parameter(
        name="--groups",
        negative="",
        help="Also the figures by: strategy, instrument, side, session, tag, exit_reason, day, week, month, year, weekday. "
        "Several with commas.",
    ),
]
Html = Annotated[Path | None, Parameter(name="--html", help="Write the report into this file, for a browser.")]

INTERRUPTED = "interrupted: the books are as they were, and no page is half written; the same command begins anew"

Execution = Parameter(
    help="An execution's id or the beginning of it (ID#2 is a backtest's second one), a state directory, or a configuration (the "
    "newest there)."
)


def report(
    execution: Annotated[str | None, Execution] = None,
    target: Target = None,
    /,
    *,
    account: Account = None,
    html: Html = None,
    groups: Groups = None,
    state: State = None,
    json: Json = False,
) -> int:
    """What an execution came to, live, on paper or as a backtest, from its books alone.

    The key figures, and by --groups those of strategies, months and so on; --json has everything, --html one file with charts.
    """
    from tradekeel.bootstrap.interrupting import ended_at_once
    from tradekeel.bootstrap.reports import reported_run

    with ended_at_once(lambda: INTERRUPTED):
        run = reported_run(execution, _searched(target, state), account, os.environ)
        return show_report(run, html=html, groups=words_of(groups) or (), json=json)


def _searched(target: str | None, state: Path | None) -> Place | None:
    """Where ids are looked for; None: nobody has said."""
    return place(target, state) if target is not None or state is not None else None


def show_report(run: Run, *, html: Path | None, groups: tuple[str, ...], json: bool) -> int:
    """Write one report wherever it is wanted."""
    from tradekeel.bootstrap import reports

    reports.refuse_groups(groups)
    complain(*run.remarks)
    if html is not None:
        reports.plotly_script()
        reports.demand_place(html)
    made = None
    if html is not None or json:
        with progress_bars(hidden=json) as tell:
            made = reports.make_report(run, os.environ, tell)
    if json and made is not None:
        write_json(reports.as_json(made))
    else:
        _show_report(run, None if made is None else made.notes, groups)
    if html is not None and made is not None:
        reports.write_page(made, html)
        if not json:
            say(f"report: {html}")
    return ExitCode.DONE


def _show_report(run: Run, notes: tuple[str, ...] | None, groups: tuple[str, ...]) -> None:
    """The figures, and a whole report's notes, where there is one."""
    from tradekeel.bootstrap import reports

    brief = reports.make_brief(run)
    say(brief.name)
    for note in brief.notes if notes is None else notes:
        complain(note)
    show_figures(reports.key_table(brief))
    if brief.refused:
        say(*wrap(brief.refused, console().width, break_on_hyphens=False))
    for kind in groups:
        show_figures(reports.group_table(brief, kind))


def show_figures(table: Any) -> None:
    """A table of figures, as wide as there is room."""
    if table is None:
        return
    from rich.text import Text

    tones = {"good": "green", "bad": "red"}

    def column(index: int, title: str) -> Column:
        cell = lambda row: Text(row["cells"][index].text, style=tones.get(row["cells"][index].tone, ""))
        return Column(title.removesuffix(">"), cell, _weight(index), right=title.endswith(">"))

    rows = [{"cells": cells} for cells in table.rows]
    columns = [column(index, title) for index, title in enumerate(table.columns)]
    out = console()
    if table.name != "key":
        out.print(f"\n{table.title}", markup=False)
    shown = make_table(rows, columns, out.width) if rows else None
    out.print("nothing yet" if shown is None else shown)
    if table.note:
        out.print(table.note, markup=False)
    if shown is None:
        return
    titles = {column.header for column in shown.columns}
    left_out = [column.title for column in columns if column.title not in titles]
    if left_out:
        out.print(
            f"not shown: {', '.join(left_out)}. `tradekeel report` has them with --html and --json.", markup=False
        )


def _weight(index: int) -> int:
    """The first columns stay: what the group is, how many trades, how many of them won, and what they brought."""
    return 0 if index < 4 else index


def compare(
    first: Annotated[str, Execution],
    second: Annotated[str, Parameter(help="The other one, likewise.")],
    target: Target = None,
    /,
    *,
    account: Annotated[
        str | None,
        Parameter(name=["--account", "-a"], help="Only this account, of both. Left out: the same, if both have it."),
    ] = None,
    tolerance: Annotated[
        float, Parameter(help="Seconds of the market's time that the entries of two trades may be apart.")
    ] = 60.0,
    limit: Annotated[
        int,
        Parameter(
            name=["--limit", "-n"],
            help="Show at most so many differences; 0 for all.",
            validator=validators.Number(gte=0),
        ),
    ] = 20,
    state: State = None,
    json: Json = False,
) -> int:
    """Line up two executions trade by trade: a backtest against paper or live.

    Each trade that differs is shown with what differs and why, as far as the books can tell, and each that only one of them has.
    Ends with 1 where there is any.
    """
    from tradekeel.bootstrap.comparisons import as_json, compare_runs
    from tradekeel.bootstrap.interrupting import ended_at_once
    from tradekeel.errors import InputError

    if not 0 <= tolerance <= TOLERANCE_S_MAX:
        raise InputError(f"--tolerance {tolerance}: it is 0 to {TOLERANCE_S_MAX} seconds")
    searched = _searched(target, state)
    with ended_at_once(lambda: INTERRUPTED), progress_bars(hidden=json) as progress:
        tolerance_ns = round(tolerance * 1e9)
        found = compare_runs(first, second, searched, os.environ, tolerance_ns, account, complain, progress)
    plain = as_json(found)
    if json:
        write_json(plain)
    else:
        _show(plain, limit)
    return ExitCode.DONE if found.is_same else ExitCode.DIFFERENT


TOLERANCE_S_MAX = 86_400


def _show(found: dict[str, Any], limit: int) -> None:
    totals = [found["first"], found["second"]]
    print_table(totals, _TOTALS, "")
    say(
        f"{found['pairs']:,} pairs: {found['same']:,} the same, {found['differing']:,} differ; "
        f"{found['missing']:,} missing in the second, {found['extra']:,} extra there"
    )
    if any(each["open"] for each in totals):
        say("pnl is what was booked; `tradekeel report` has what open trades would bring")
    for each in totals:
        if each["lacking"]:
            complain(
                f"{each['lacking']}: {each['archived']:,} older trades of {each['name']} were not compared. {each['remedy']}"
            )
    if not found["differences"]:
        say("the trades are the same" if found["same_trades"] else "the trades that were compared are the same")
        return
    width = console().width
    shown = found["differences"][:limit] if limit else found["differences"]
    for row in shown:
        whose = f"{row['strategy']} {row['instrument']} {row['side']}"
        say("", f"{moment(row['entry'])} {row['kind']}: {whose}, pnl {_made(row)}")
        for what in (", ".join(map(_change, row["changes"])), "; ".join(row["why"])):
            if what:
                say(*wrap(what, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    if len(shown) < len(found["differences"]):
        say("", f"{len(found['differences']) - len(shown):,} more: --limit 0 shows all, --json has everything")


def _made(row: dict[str, Any]) -> str:
    """What a trade that only one has made; of a pair how much more the second one did."""
    return _by(trimmed(row["pnl"] if row["trade_pnl"] is None else row["trade_pnl"]))


def _by(difference: str) -> str:
    return difference if difference.startswith("-") else f"+{difference}"


def _change(change: Any) -> str:
    if change["by"]:
        return f"{change['what']} {_by(trimmed(change['by']))}"
    return f"{change['what']} {trimmed(change['first']) or 'none'} and {trimmed(change['second']) or 'none'}"


_TOTALS = (
    Column("execution", lambda row: row["name"]),
    Column("trades", lambda row: f"{row['trades']:,}", right=True),
    Column("open", lambda row: f"{row['open']:,}", 1, right=True),
    Column("pnl", lambda row: f"{trimmed(row['pnl'])} {row['currency']}", right=True),
    Column("fees", lambda row: trimmed(row["fees"]), 2, right=True),
    Column("financing", lambda row: trimmed(row["financing"]), 3, right=True),
)
