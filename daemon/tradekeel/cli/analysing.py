"""`tradekeel analyze`: whether strategies look ahead, forget, or need more of the past than they say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tradekeel.cli.common import Account, End, Json, Start, Target, config_of, say, write_json
from tradekeel.cli.progress import progress_bars
from tradekeel.cli.render import Column, console, print_table
from tradekeel.errors import ExitCode

if TYPE_CHECKING:
    from tradekeel.bootstrap.analysing import Analysis, Changed, Finding, WarmUp

SHOWN_MAX = 3
"""First changed decisions that are shown of each check; --json has all."""

INTERRUPTED = "interrupted: nothing is kept of an analysis; the same command begins anew (fewer --cuts are quicker)"


def analyze(
    target: Target = None,
    /,
    *,
    account: Account = None,
    start: Start = None,
    end: End = None,
    cuts: Annotated[int, Parameter(help="In how many places the data is cut.")] = 8,
    jobs: Annotated[
        int | None, Parameter(name=["--jobs", "-j"], help="Runs at a time. Left out: as many as processors.")
    ] = None,
    json: Json = False,
) -> int:
    """Run a configuration's strategies again and again, with data that is cut, replaced or begun later.

    Reports every decision that changes: strategies that are not the same twice, that look ahead, that forget something when they
    are saved, or whose warm-up is too short. Ends with 1 where there is any.
    """
    from tradekeel.bootstrap.analysing import analyse, as_json
    from tradekeel.bootstrap.interrupting import ended_at_once

    with ended_at_once(lambda: INTERRUPTED), progress_bars(hidden=json) as tell:
        analyses = analyse(
            config_of(target, "an analysis"),
            os.environ,
            account=account,
            start=start,
            end=end,
            cuts=cuts,
            at_once=jobs,
            tell=tell,
        )
        found, failed = _as_far_as(analyses)
    if json:
        write_json([as_json(analysis) for analysis in found])
    else:
        for analysis in found:
            _show(analysis)
    if failed is not None:
        raise failed
    return ExitCode.DONE if all(analysis.is_clean for analysis in found) else ExitCode.DIFFERENT


def _as_far_as(analyses: Iterator[Analysis]) -> tuple[list[Analysis], Exception | None]:
    """Those of the accounts that came to an end, and what the one behind them failed of: they are shown all the same."""
    found: list[Analysis] = []
    try:
        for analysis in analyses:
            found.append(analysis)  # noqa: PERF402  # one by one: what there is by then is kept
    except Exception as error:
        if not found:
            raise
        return found, error
    return found, None


# --- what came of it ------------------------------------------------------------------------------------------------------


def _show(analysis: Analysis) -> None:
    from tradekeel.bootstrap.analysistexts import heading, sentence

    say(*_wrapped(heading(analysis), ""), "")
    print_table(list(_checks(analysis)), _CHECKS, "")
    if analysis.warm_up:
        say("")
        print_table([row for each in analysis.warm_up for row in _leads(each)], _LEADS, "no warm-up could be compared")
    for title, findings in _parts(analysis):
        _show_changes(title, findings)
    _show_changes("warm-up", analysis.begun_later)
    for each in analysis.warm_up:
        _show_warm_up(each)
    _show_touched(analysis)
    say("", *_wrapped(sentence(analysis), ""))


def _parts(analysis: Analysis) -> Iterator[tuple[str, Sequence[Finding]]]:
    yield "the same twice", analysis.determinism
    yield "look-ahead", analysis.look_ahead
    yield "saved and restored", analysis.resumption


def _checks(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for title, findings in _parts(analysis):
        bad = [finding for finding in findings if not finding.is_same]
        who = dict.fromkeys(changed.strategy for finding in bad for changed in finding.changed)
        yield {
            "check": title,
            "runs": str(len(findings)) if findings else "",
            "changed": str(len(bad)) if findings else "",
            "strategies": ", ".join(who),
            "verdict": "not judged" if not findings else "CHANGED" if bad else "the same",
        }
    for each in analysis.warm_up:
        runs, different = len(each.leads), sum(bool(lead.changes and lead.changes.differing) for lead in each.leads)
        yield {
            "check": "warm-up",
            "runs": str(runs),
            "changed": str(different),
            "strategies": each.strategy,
            "verdict": each.verdict.value.upper() if each.is_too_short else each.verdict.value,
        }


_CHECKS = (
    Column("check", lambda row: row["check"]),
    Column("runs", lambda row: row["runs"], 2, right=True),
    Column("changed", lambda row: row["changed"], 1, right=True),
    Column("strategies", lambda row: row["strategies"], 3, folds=True),
    Column("verdict", lambda row: row["verdict"]),
)


def _leads(each: WarmUp) -> Iterator[dict[str, Any]]:
    for lead in each.leads:
        changes = lead.changes
        counts = ("entries", "missing", "extra", "values", "holding")
        yield {
            "strategy": each.strategy,
            "ticks": f"{lead.ticks:,}",
            "multiple": "" if lead.multiple is None else f"{lead.multiple} ×",
            **{name: "" if changes is None else str(getattr(changes, name)) for name in counts},
        }


_LEADS = (
    Column("strategy", lambda row: row["strategy"]),
    Column("past", lambda row: row["ticks"], right=True),
    Column("declared", lambda row: row["multiple"], 2, right=True),
    Column("entries", lambda row: row["entries"], 3, right=True),
    Column("missing", lambda row: row["missing"], right=True),
    Column("extra", lambda row: row["extra"], right=True),
    Column("other", lambda row: row["values"], right=True),
    Column("held else", lambda row: row["holding"], 1, right=True),
)


def _show_changes(title: str, findings: Sequence[Finding]) -> None:
    bad = [finding for finding in findings if not finding.is_same]
    for finding in bad[:SHOWN_MAX]:
        at = "" if finding.position is None else f" tick {finding.position:,}"
        say("", f"{title}: {finding.what}{at}")
        if finding.error:
            say(*_wrapped(f"the run did not come to its end: {finding.error}", "  "))
        for changed in finding.changed:
            _show_changed(changed, "the whole data", finding.what)
    more = len(bad) - SHOWN_MAX
    if more > 0:
        say("", f"{title}: changed in {more} more; --json has everything")


def _show_changed(changed: Changed, before: str, after: str) -> None:
    """The first changed decision, side by side where there is room."""
    from rich.table import Table
    from rich.text import Text

    from tradekeel.bootstrap.analysistexts import asked_for, when

    more = f", the first of {changed.count:,}" if changed.count > 1 else ""
    say(f"  {changed.strategy} at tick {changed.position:,}, {when(changed.ts_ns)}{more}:")
    table = Table(box=None, padding=(0, 1, 0, 2), expand=True)
    table.add_column(before, ratio=1, overflow="fold")
    table.add_column(after, ratio=1, overflow="fold")
    table.add_row(*(Text(asked_for(requests)) for requests in (changed.before, changed.after)))
    console().print(table)


def _show_warm_up(each: WarmUp) -> None:
    from tradekeel.bootstrap.analysistexts import warm_up_words

    if each.is_enough:
        return
    say("", *_wrapped(f"warm-up of {each.strategy}: {warm_up_words(each)}", ""))
    first = next((lead.changes.first for lead in each.leads if lead.changes and lead.changes.first), None)
    if each.is_too_short and first is not None:
        _show_changed(first, "the whole data", "begun later")


def _show_touched(analysis: Analysis) -> None:
    for path in analysis.reads_its_data:
        say("", *_wrapped(f"a strategy reads the feed's own data past the feed, with all that comes later: {path}", ""))
    if analysis.touched:
        words = "the strategies' code does more than to answer ticks; what it learns there is not part of any check:"
        say("", *_wrapped(words, ""))
        say(*(line for what in analysis.touched[:TOUCHED_SHOWN_MAX] for line in _wrapped(what, "  ")))


TOUCHED_SHOWN_MAX = 10


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(text, console().width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
