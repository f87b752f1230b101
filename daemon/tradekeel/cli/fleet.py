"""`tradekeel services`: the daemons that have registered, wherever they run."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from tradekeel.cli.common import Json, Target, place, say, write_json
from tradekeel.cli.render import Column, Row, moment, print_table, text
from tradekeel.errors import ExitCode, InputError

Url = Annotated[
    str | None,
    Parameter(
        help="The Redis server instead of a configuration, such as redis://host:6379/0; its password is read from "
        "$TRADEKEEL_REDIS_PASSWORD."
    ),
]
Watch = Annotated[bool, Parameter(name="--watch", negative="", help="Go on telling what changes, until interrupted.")]


def services(target: Target = None, /, *, url: Url = None, watch: Watch = False, json: Json = False) -> int:
    """The daemons that list themselves on a Redis server: where each runs, how it stands, and when it was heard of last."""
    from tradekeel.bootstrap.fleet import list_services, registry_at, registry_of, watch_services

    if url is not None and target is not None:
        raise InputError(f"name either {target} or --url, not both")
    settings = registry_of(place(target, None)) if url is None else registry_at(url, os.environ)
    if not watch:
        _show(list_services(settings), json)
    elif json:
        watch_services(settings, lambda listing: _write_line({"services": listing.rows}), _write_line)
    else:
        watch_services(settings, lambda listing: _show(listing, False), lambda change: _say_now(_change_line(change)))
    return ExitCode.DONE


def _show(listing: Any, json: bool) -> None:
    if json:
        write_json(listing.rows)
        return
    print_table(listing.rows, COLUMNS, f"No daemon has registered on {listing.where}.")
    sys.stdout.flush()


def _write_line(value: Any) -> None:
    _say_now(msgspec.json.encode(value).decode())


def _say_now(line: str) -> None:
    say(line)
    sys.stdout.flush()


def _change_line(change: Row) -> str:
    service = change["service"]
    return f"{moment(change['time'])} {service['name']} {change['change']}: {service['status']}, {_where(service)}"


def _where(service: Row) -> str:
    return f"process {service['pid']} on {service['host']}"


def _ago(row: Row) -> str:
    seconds = row["beat_age_s"]
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


COLUMNS = (
    Column("name", text("name")),
    Column("host", text("host"), 3),
    Column("pid", text("pid"), 4, right=True),
    Column("status", text("status")),
    Column("alive", lambda row: "yes" if row["alive"] else "no"),
    Column("beat ago", _ago, 1, right=True),
    Column("version", text("version"), 5),
    Column("accounts", text("accounts"), 2, folds=True),
)
