"""What an analysis has found, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from msgspec import NODEFAULT, Struct, structs

from tradekeel.backtest.analysing.warmup import Verdict, WarmUp
from tradekeel.bootstrap.analysing import Analysis
from tradekeel.domain.counting import counted
from tradekeel.domain.times import iso

ID_END_CHARACTERS = 6
"""Of an id, which is as good as random: enough to tell two of them apart."""


def heading(analysis: Analysis) -> str:
    """What was analysed."""
    total = counted(sum(analysis.decisions.values()), "decision")
    span = f"{when(analysis.first_ns)} to {when(analysis.last_ns)}"
    return f"{analysis.name}: {counted(analysis.ticks, 'tick')}, {total}, {span}"


def when(ns: int) -> str:
    """A moment to the second, in UTC."""
    return iso(ns)[:19].replace("T", " ")


def asked_for(requests: Sequence[Struct] | None) -> str:
    """What a strategy asked for, a line each, without what it left as it is."""
    if requests is None:
        return "nothing"
    return "\n".join(map(_request, requests))


def _request(request: Struct) -> str:
    words = [str(request.__struct_config__.tag)]
    for field in structs.fields(request):
        value = getattr(request, field.name)
        if field.required:
            words.append(_value(field.name, value))
        elif value != field.default and not (field.default is NODEFAULT and not value):
            words.append(f"{field.name}={_value(field.name, value)}")
    return " ".join(words)


def _value(name: str, value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return f"…{value[-ID_END_CHARACTERS:]}" if name.endswith("_id") and isinstance(value, str) else str(value)


def warm_up_words(each: WarmUp) -> str:
    """What a verdict means, in a sentence."""
    says = (
        "it says that it is warm at once"
        if not each.declared
        else f"it says that it is warm after {each.declared:,} ticks"
    )
    if each.verdict is Verdict.TOO_SHORT:
        longest = max((lead.ticks for lead in each.leads), default=0)
        if each.enough is None:
            return f"{says}, and with {longest:,} ticks of the past it still enters otherwise than with all of it"
        return f"{says}, and it enters as with the whole past from {each.enough:,} ticks on"
    if each.verdict is Verdict.FOLLOWS:
        agrees = "" if each.enough is None else f"; from {each.enough:,} ticks of the past on it enters the same"
        return (
            f"{says}; begun later it holds something else, and what it enters follows from that, so that the warm-up cannot be "
            f"judged by its entries{agrees}"
        )
    if each.verdict is Verdict.NEVER_WARM:
        return "it never was warm on this data"
    if each.verdict is Verdict.NO_ENTRIES:
        return f"{says}; behind tick {each.compared_behind or 0:,} there are no entries to compare"
    return f"{says}; the data is too short to begin it later"


def sentence(analysis: Analysis) -> str:
    """The verdict."""
    if not analysis.is_judged:
        return "Two runs on the same data are not the same, so nothing else can be judged: something else than its ticks decides."
    if not analysis.is_clean:
        return "Decisions change that should not."
    if not sum(analysis.decisions.values()):
        return "Nothing was decided, so nothing is shown."
    return "No decision changes that should not."
