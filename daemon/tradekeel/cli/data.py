"""`tradekeel data`: what there is in market data, what is odd about it, and the same in a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from json import dumps as encode_json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tradekeel.bootstrap.counting import each_counted
from tradekeel.cli.common import Json, complain, say, write_json
from tradekeel.cli.database import in_bytes
from tradekeel.cli.progress import progress_bars
from tradekeel.errors import ExitCode, InputError

Source = Annotated[
    str, Parameter(help="A file, a folder or a pattern; or a configuration file (NAME.toml), or the name of a service.")
]
FILES_SHOWN, MISSED_SHOWN = 12, 5
INTERRUPTED = (
    "interrupted: nothing is kept of what was read; the same command begins anew (--start and --end read less)"
)


@Parameter(name="*")
@dataclass(frozen=True)
class About:
    """What the data is, as far as that is not seen from it."""

    feed: Annotated[str | None, Parameter(name="--feed", help="Of a configuration: which feed.")] = None
    instrument: Annotated[
        str | None, Parameter(name=["--instrument", "-i"], help="Whose quotes; of a Parquet file several, with commas.")
    ] = None
    form: Annotated[str | None, Parameter(name=["--format", "-f"], help="csv, quote, minute, binance or parquet.")] = (
        None
    )
    time_format: Annotated[
        str | None, Parameter(name="--time-format", help="iso, epoch_ms, … or a pattern like %d.%m.%Y.")
    ] = None
    time_zone: Annotated[str | None, Parameter(name="--time-zone", help="Of times that do not say theirs.")] = None
    delimiter: Annotated[str | None, Parameter(name="--delimiter", help="Between the cells of a row.")] = None
    start: Annotated[str | None, Parameter(name="--start", help="Only ticks from this time on.")] = None
    end: Annotated[str | None, Parameter(name="--end", help="Only ticks before this time.")] = None
    tick_size: Annotated[
        str | None,
        Parameter(name="--tick-size", help="The smallest step of the price, of what is not in the catalogue."),
    ] = None
    set_: Annotated[
        list[str] | None,
        Parameter(
            name=["--set", "-s"],
            negative="",
            help="Any other option of a file feed, like columns.time=when or bars.spread_pips=1.",
        ),
    ] = None


def info(source: Source, /, *, about: About | None = None, json: Json = False) -> int:
    """What there is: instruments, from when to when, how many ticks, the spread, the files."""
    found = _examined(source, about, json, None)
    if json:
        write_json(found)
    else:
        _show_info(found)
    return ExitCode.DONE if found["ticks"] else _nothing(found)


def check(
    source: Source,
    /,
    *,
    about: About | None = None,
    spike_mads: Annotated[
        str | None,
        Parameter(name="--spike-mads", help="A step of the mid so many median absolute deviations off is a spike; 50."),
    ] = None,
    strict: Annotated[bool, Parameter(name="--strict", negative="", help="End with 2 if anything is odd.")] = False,
    json: Json = False,
) -> int:
    """What is odd: gaps, crossed quotes, duplicates, disorder, spikes, bad rows, files that overlap, sessions without ticks."""
    found = _examined(source, about, json, spike_mads)
    if json:
        write_json(found)
    else:
        _show_check(found)
    if not found["ticks"]:
        return _nothing(found)
    odd = any(one["problems"] or not one["ticks"] for one in found["instruments"]) or "gaps" in found["counts"]
    return ExitCode.BAD_USAGE if strict and odd else ExitCode.DONE


def _nothing(found: Any) -> int:
    """Data without a tick is nothing to trade on, whatever is asked of it."""
    from tradekeel.bootstrap.marketdata import no_ticks

    complain(
        f"{no_ticks(found['data'], found['counts'])}. Is it the right file, and are format, columns and times what they are?"
    )
    return ExitCode.BAD_USAGE


def convert(
    source: Source,
    target: Annotated[Path, Parameter(help="The file to make, NAME.parquet. One that exists is never replaced.")],
    /,
    *,
    about: About | None = None,
    json: Json = False,
) -> int:
    """Write the ticks into a Parquet file, exactly as a feed would deliver them.

    Bad rows are met by their policies (--set bad_rows.crossed=fix), and counted.
    """
    from tradekeel.bootstrap.interrupting import ended_at_once
    from tradekeel.bootstrap.marketdata import convert as write

    def what_stays() -> str:
        if target.exists():
            return f"interrupted when {target} had just been written: it is whole"
        return f"interrupted: {target} was not written; the same command begins anew"

    with ended_at_once(what_stays), progress_bars(hidden=json) as progress:
        done = write(_chosen(source, about), target, progress)
    if json:
        write_json(done)
        return ExitCode.DONE
    _show_recognised(done)
    size = in_bytes(done["bytes"])
    before = "" if done["bytes_read"] is None else f" ({in_bytes(done['bytes_read'])} before)"
    say(f"{done['ticks']:,} ticks of {', '.join(done['instruments'])} written to {target}, {size}{before}")
    left = {kind: count for kind, count in done["counts"].items() if kind not in ("ticks", "rows")}
    if left:
        say("of the rows: " + each_counted(left))
    span = done["made_of_bars"]
    if span is not None:
        complain(
            f"these ticks are made up from bars of {span}, which the file does not say. What reads it warns of nothing: "
            f"let strategies decide on bars of {span} or longer"
        )
    return ExitCode.DONE


def _chosen(source: str, about: About | None) -> Any:
    from tradekeel.bootstrap.datachoice import Options, choose

    said = about or About()
    named = {
        "format": said.form,
        "time_format": said.time_format,
        "time_zone": said.time_zone,
        "delimiter": None if said.delimiter is None else said.delimiter.replace("\\t", "\t"),
        "start": said.start,
        "end": said.end,
    }
    settings: dict[str, Any] = dict(_pairs(said.set_ or []))
    settings |= {name: value for name, value in named.items() if value is not None}
    options = Options(feed=said.feed, instrument=said.instrument, tick_size=said.tick_size, settings=settings)
    return choose(source, options, os.environ)


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.strip():
            raise InputError(f"--set {word}: write KEY=VALUE, such as columns.time=when")
        yield key.strip(), value.strip()


def _examined(source: str, about: About | None, json: bool, spike_mads: str | None) -> Any:
    from tradekeel.bootstrap.interrupting import ended_at_once
    from tradekeel.bootstrap.marketdata import examine

    with ended_at_once(lambda: INTERRUPTED), progress_bars(hidden=json) as progress:
        return examine(_chosen(source, about), progress, spike_mads)


# --- what is shown ------------------------------------------------------------------------------------------------------------


def _show_recognised(found: Any) -> None:
    """Which settings were told from the data, as a configuration would say them."""
    if not found["recognised"]:
        return
    parts = []
    for key, value in found["recognised"].items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        parts += [f"{key}{'.' if name else ''}{name} = {_toml(one)}" for name, one in inner]
    say(f"recognised: {', '.join(parts)}")


def _toml(value: Any) -> str:
    """As TOML writes it, and JSON likewise: a tab is ``"\\t"``."""
    return encode_json(value, ensure_ascii=False)


def _show_info(found: Any) -> None:
    from tradekeel.cli.render import Column, amount, print_table, text, time

    size = "" if found["bytes"] is None else f", {in_bytes(found['bytes'])}"
    form = found["kind"] if found["format"] is None else f"{found['kind']}, format {found['format']}"
    say(f"{found['data']}: {form}{size}, {found['rows']:,} rows, {found['ticks']:,} ticks")
    _show_recognised(found)
    rows = [
        one | {"shown_ticks": f"{one['ticks']:,}", "shown_days": f"{one['days']:,}", "a_day": f"{one['ticks_a_day']:,}"}
        for one in found["instruments"]
    ]
    print_table(
        rows,
        (
            Column("instrument", text("instrument")),
            Column("ticks", text("shown_ticks"), right=True),
            Column("from", time("first"), 1),
            Column("to", time("last"), 1),
            Column("days", text("shown_days"), 3, right=True),
            Column("a day", text("a_day"), 2, right=True),
            Column("spread", amount("spread_median"), right=True),
            Column("lowest", amount("price_low"), 4, right=True),
            Column("highest", amount("price_high"), 4, right=True),
        ),
        "There is no instrument.",
    )
    files = [
        file | {"name": _short(file["file"]), "shown_rows": f"{file['rows']:,}", "instrument": one["instrument"]}
        for one in found["instruments"]
        for file in one["files"]
    ]
    if files:
        print_table(
            files[:FILES_SHOWN],
            (
                Column("file", text("name"), folds=True),
                Column("instrument", text("instrument"), 4),
                Column("rows", text("shown_rows"), right=True),
                Column("from", time("first"), 1),
                Column("to", time("last"), 2),
            ),
            "",
        )
    if len(files) > FILES_SHOWN:
        say(f"and {len(files) - FILES_SHOWN} more files (--json has all)")


def _short(name: str) -> str:
    """A file by its own name; a member of a zip by that of the zip."""
    archive, sign, _ = name.partition(".zip:")
    return Path(archive + ".zip" if sign else name).name or name


def _short_place(where: str) -> str:
    """``/srv/ticks/eurusd.csv, line 7`` as ``eurusd.csv, line 7``."""
    file, sign, row = where.rpartition(", ")
    return f"{_short(file)}{sign}{row}"


def _show_check(found: Any) -> None:
    from tradekeel.cli.render import Column, print_table, text

    say(f"{found['data']}: {found['rows']:,} rows, {found['ticks']:,} ticks")
    _show_recognised(found)
    for one in found["instruments"]:
        rows = list(_findings(one, found["rows"], found["ticks"]))
        if not rows and not one["ticks"]:
            say(f"{one['instrument']}: 0 ticks")
            continue
        print_table(
            rows,
            (
                Column(one["instrument"], text("what")),
                Column("count", text("count"), right=True),
                Column("share", text("share"), 2, right=True),
                Column("done", text("done"), 1),
                Column("for example", text("example"), folds=True),
            ),
            f"{one['instrument']}: {one['ticks']:,} ticks, and nothing is odd about them.",
        )
    gaps = found["counts"].get("gaps", 0)
    if gaps:
        say(f"in {gaps:,} places the stream is without ticks that its writer had")
    at_one_time = sum(one["ticks_at_one_time"] for one in found["instruments"])
    if at_one_time and found["kind"] == "sql":
        say(
            f"{at_one_time:,} ticks have the time of the one before them and other prices: quotes of one moment, or two imports "
            "in one table?"
        )
    off_grid = [
        one["instrument"] for one in found["instruments"] for bad in one["bad_rows"] if bad["kind"] == "off_grid"
    ]
    if off_grid:
        from tradekeel.bootstrap.doubts import OFF_GRID_ADVICE

        say(f"prices off the step of {', '.join(off_grid)}. {OFF_GRID_ADVICE}")
    if any(gap for one in found["instruments"] for gap in [one["ticks_on_weekends"]]):
        say("ticks while the market is closed, Friday to Sunday 17:00 in New York: is time_zone right?")


OF_ROWS = ("columns", "time", "non_numeric", "bar_range")
"""Kinds that are counted by row; the rest by tick, of which a bar has many."""


def _findings(one: Any, rows: int, ticks: int) -> Iterator[dict[str, str]]:
    from tradekeel.cli.render import trimmed

    quotes = max(rows, ticks)

    def finding(what: str, count: int, done: str, example: str, whole: int = quotes) -> dict[str, str]:
        share = f"{100 * count / whole:.2f} %" if whole else ""
        return {"what": what, "count": f"{count:,}", "share": share, "done": done, "example": example}

    for bad in one["bad_rows"]:
        first = next(iter(bad["examples"]), None)
        example = "" if first is None else f"{_short_place(first['where'])}: {first['found']}"
        whole = rows if bad["kind"] in OF_ROWS else quotes
        yield finding(bad["kind"].replace("_", " "), bad["count"], bad["policy"], example, whole)
    spikes = one["spikes"]
    if spikes["count"]:
        largest = spikes["largest"][0]
        moment = largest["time"][:19].replace("T", " ")
        size, bound = trimmed(largest["step"]), trimmed(spikes["bound"])
        example = f"{size} at {moment}, tick {largest['tick']:,}; up to {bound} is usual"
        yield finding("spikes", spikes["count"], "", example)
    if one["ticks_on_weekends"]:
        yield finding("market closed", one["ticks_on_weekends"], "", "ticks on weekends: look at time_zone")
    for overlap in one["overlaps"][:1]:
        example = f"{_short(overlap['file'])} begins {overlap['seconds']} s before {_short(overlap['with'])} ends"
        yield finding("files overlap", len(one["overlaps"]), "", example, whole=0)
    missed = one["sessions_without_ticks"]
    if missed:
        example = ", ".join(f"{gap['session']} {gap['start'][:10]}" for gap in missed[:MISSED_SHOWN])
        yield finding("sessions empty", len(missed), "", example, whole=0)
