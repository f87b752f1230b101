"""The table of a campaign: fault x rounds x how often it hit x what the daemon did x what was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.campaigns.servers.faults import FAULTS, POSTGRES
from tests.campaigns.servers.trial import Trial

HEAD = ("fault", "rounds", "hit", "in a batch", "daemon killed", "away/back", "what the daemon did", "wrong")


def table(trials: Sequence[Trial]) -> list[str]:
    """The lines to print."""
    rows: list[tuple[str, ...]] = [HEAD]
    for fault in FAULTS.values():
        of = [trial for trial in trials if trial.plan.fault is fault]
        if not of:
            continue
        did: Counter[str] = sum((trial.did for trial in of), Counter())
        rows.append(
            (
                f"{fault.name}: {fault.about}",
                str(len(of)),
                str(sum(trial.hits for trial in of)),
                str(sum(trial.in_a_batch for trial in of)),
                str(did["killed"]),
                f"{did['away']}/{did['back']}",
                _did(fault.kind, did),
                str(sum(bool(trial.wrong) for trial in of)),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return [
        "",
        *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows),
    ]


def _did(kind: str, did: Counter[str]) -> str:
    if kind != POSTGRES:
        return f"{did['orders']} orders; nobody waited"
    later, lost = did["left to the next start"], did["lost with the memory"]
    words = [
        f"{did['orders']} orders",
        f"breaker seen open {did['opened']} times",
        f"{did['kept']} batches kept here, {did['brought']} brought",
        *([f"{later} times by the next start"] if later else []),
        *([f"{lost} times lost with the memory, and said so"] if lost else []),
        f"{did['denied']} entries denied",
    ]
    return "; ".join(words)


def missing(trials: Sequence[Trial], names: Sequence[str]) -> list[str]:
    """Faults that never hit."""
    hits = Counter[str]()
    for trial in trials:
        hits[trial.plan.fault.name] += trial.hits
    return [name for name in names if not hits[name]]


def summary(trials: Sequence[Trial], seconds: float) -> str:
    """Figures and what went wrong."""
    did: Counter[str] = sum((trial.did for trial in trials), Counter())
    wrong = sum(bool(trial.wrong) for trial in trials)
    hits = sum(trial.hits for trial in trials)
    return (
        f"{len(trials)} rounds, {hits} faults, {did['killed']} kills of the daemon, {did['starts']} starts, "
        f"{did['orders']} orders, {seconds:.0f} s; {wrong} rounds went wrong"
    )
