"""The table of a campaign: how often each stage was hit by a kill, and what the kills left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.campaigns.kill.campaign import Round
from tests.campaigns.kill.scene import LEFT
from tests.campaigns.kill.stages import STAGES

OTHER_MOMENT = "(before the first named moment, or between others)"


def hits(rounds: Sequence[Round]) -> tuple[Counter[str], Counter[str]]:
    """Kills by the point that they were aimed at, and by the last point passed before a kill at a moment."""
    aimed: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for round_ in rounds:
        for death in round_.deaths:
            if death.kill.point:
                aimed[death.kill.point] += 1
            else:
                after[death.last_point or OTHER_MOMENT] += 1
    return aimed, after


def missing(rounds: Sequence[Round]) -> list[str]:
    """Stages that no kill was aimed at and hit."""
    aimed, _ = hits(rounds)
    return [f"{s.chapter}: {s.what}" for s in STAGES if not sum(aimed[point] for point in s.points)]


def table(rounds: Sequence[Round]) -> list[str]:
    """The lines to print."""
    aimed, after = hits(rounds)
    lines = ["", f"{'stage':66} {'killed there':>12} {'at a moment after it':>21}"]
    chapter = ""
    for stage in STAGES:
        if stage.chapter != chapter:
            chapter = stage.chapter
            lines.append(chapter)
        there, then = (sum(counts[point] for point in stage.points) for counts in (aimed, after))
        lines.append(f"  {stage.what:64} {there:12} {then:21}")
    named = {point for stage in STAGES for point in stage.points}
    rest = sum(count for point, count in after.items() if point not in named)
    lines.append(f"  {'at any other moment (starting, ending, in between)':64} {'':12} {rest:21}")
    lines.extend(_left(rounds))
    return lines


def _left(rounds: Sequence[Round]) -> list[str]:
    found: Counter[str] = Counter()
    for round_ in rounds:
        for death in round_.deaths:
            found.update(death.left)
    lines = ["", f"{'what the kills left behind':66} {'times':>12}"]
    lines.extend(f"  {what:64} {found[key]:12}" for key, what in LEFT.items())
    return lines


def summary(rounds: Sequence[Round], seconds: float) -> list[str]:
    """Figures and what went wrong."""
    kills = sum(len(r.deaths) for r in rounds)
    moments = sum(1 for r in rounds for d in r.deaths if not d.kill.point)
    starts, stops = sum(r.starts for r in rounds), sum(r.stops for r in rounds)
    recovering = sum(max(0, len(r.deaths) - 1) for r in rounds)
    wrong = [r for r in rounds if r.wrong]
    aimed = f"{kills - moments} at named points, {moments} at a moment; {recovering} of a daemon killed before"
    lives = f"{stops} stops in order, {starts} starts, {seconds:.0f} s"
    commands = sum(r.commands for r in rounds)
    if commands:
        lives += f", {commands} commands of which {sum(r.answered for r in rounds)} were answered"
    return ["", f"{len(rounds)} rounds, {kills} kills ({aimed}), {lives}; {len(wrong)} rounds went wrong"]
