"""Commands that make something: a strategy of one's own, a service."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tradekeel.cli.common import Json, say, write_json
from tradekeel.errors import ExitCode, InputError


def new_strategy(
    name: Annotated[str, Parameter(help="Its name, like my_strategy.")],
    /,
    *,
    folder: Annotated[Path, Parameter(help="Where to write the files.")] = Path(),
) -> int:
    """Write a strategy that runs as it is, a test of it, and a configuration to try it."""
    from tradekeel.bootstrap.making import write_strategy

    for path in write_strategy(name, folder):
        say(f"wrote {path}")
    config, test = folder / f"{name}.toml", folder / f"test_{name}.py"
    say("", f"try it:   tradekeel run {config}", f"test it:  {shlex.join([sys.executable, str(test)])}")
    return ExitCode.DONE


def strategies(
    kind: Annotated[str | None, Parameter(help="Only this kind: a built-in one, or my_strategy.py:MyStrategy.")] = None,
    /,
    *,
    json: Json = False,
) -> int:
    """List the kinds of strategies with their parameters, defaults and bounds."""
    from tradekeel.bootstrap.making import catalogue

    kinds = catalogue(kind)
    if json:
        write_json(kinds)
        return ExitCode.DONE
    from tradekeel.cli.render import console, print_table

    out = console()
    for index, described in enumerate(kinds):
        if index:
            out.print()
        out.print(f"[bold]{described['kind']}[/]  {described['summary']}")
        print_table(described["parameters"], _parameter_columns(), "It has no parameters.", out)
    return ExitCode.DONE


def _parameter_columns() -> Any:
    from tradekeel.cli.render import Column, Row, text

    def default(row: Row) -> str:
        value = row["default"]
        if row["required"]:
            return "(required)"
        return (
            "none"
            if value is None
            else '""'
            if value == ""
            else str(value).lower()
            if isinstance(value, bool)
            else str(value)
        )

    def meaning(row: Row) -> str:
        unit = f" ({row['unit']})" if row["unit"] else ""
        bounds = f"; {row['allowed']}" if row["allowed"] else ""
        return f"{row['description']}{unit}{bounds}"

    return (
        Column("parameter", text("name")),
        Column("type", text("type"), 3, folds=True),
        Column("default", default),
        Column("meaning", meaning, folds=True),
    )


# --- systemd --------------------------------------------------------------------------------------------------------------


def unit() -> int:
    """Print the template unit for where Tradekeel is installed."""
    from tradekeel.systemd_unit import render

    sys.stdout.write(render(executable()))
    return ExitCode.DONE


def install(
    config: Annotated[Path, Parameter(help="The configuration file to install.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="The service's name; left out: the file's name.")] = None,
    root: Annotated[Path, Parameter(help="Install below this folder (for making images).")] = Path("/"),
) -> int:
    """Check a configuration and install it as a service: /etc/tradekeel/NAME.toml and the template unit."""
    from tradekeel.bootstrap.making import check_installed
    from tradekeel.systemd_unit import install as put_in_place

    chosen = name or config.stem
    live = {} if root == Path("/") else {"run": _leave_undone}
    check = partial(check_installed, environ=os.environ)
    lines = put_in_place(config, chosen, executable(), check=check, root=root, **live)
    say(*lines)
    return ExitCode.DONE


def _leave_undone(command: Sequence[str]) -> None:
    """Another root has no running systemd to tell."""


def executable() -> Path:
    """The program that a service would start: the one that runs now."""
    given = Path(sys.argv[0])
    if given.name == "tradekeel":
        return Path(os.path.abspath(given)) if given.exists() else Path(shutil.which("tradekeel") or given)
    beside = Path(sys.executable).with_name("tradekeel")
    if beside.exists():
        return beside
    raise InputError("there is no `tradekeel` program here to start: install Tradekeel with pip")
