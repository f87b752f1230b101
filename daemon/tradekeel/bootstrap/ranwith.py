"""What an execution ran with, as far as it can still be told: the configuration's values, and the strategies' code."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tradekeel import __version__
from tradekeel.backtest.reporting.model import Configuration, SourceFile
from tradekeel.bootstrap.plan import kinds
from tradekeel.bootstrap.runs import Run
from tradekeel.bootstrap.values import plain_value
from tradekeel.config import ConfigError, load_config
from tradekeel.config.secrets import Secret
from tradekeel.domain.rows import StrategyRow
from tradekeel.errors import InputError
from tradekeel.strategies.registry import BUILT_IN


def configuration_of(
    run: Run, task: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[Configuration, Path | None]:
    """The values that the execution ran with, and the folder of the file: where the file still is what it was."""
    path = run.place.config
    if path is None:
        named = task.get("file")
        path = Path(named) if named else None
    if path is None or not path.is_file():
        return Configuration(note="No configuration was named, so none is shown; parameters are as in the books."), None
    try:
        config = load_config(path, environ, kinds(), fetch_secrets=False)
    except (ConfigError, InputError) as error:
        return Configuration(source=str(path), note=f"{path} cannot be read now: {error}"), path.parent
    if config.fingerprint != run.row.config_fingerprint:
        note = (
            f"{path} says something else now than what the execution began with (its fingerprint is "
            f"{config.fingerprint}), so it is not shown; parameters are as in the books."
        )
        return Configuration(source=str(path), note=note), path.parent
    values = {name: _shown(value) for name, value in sorted(config.values.items())}
    return Configuration(
        source=str(path), values=values, note="All values, defaults included; secrets are not in it."
    ), path.parent


def _shown(value: Any) -> str:
    """A value as text. Of a secret only where it comes from."""
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        each = sorted(map(_shown, value)) if isinstance(value, set | frozenset) else map(_shown, value)
        return "[" + ", ".join(each) + "]"
    plain = plain_value(value)
    return "" if plain is None else str(plain)


def sources_of(
    strategies: tuple[StrategyRow, ...], folder: Path | None, ran: Mapping[str, str]
) -> Iterator[SourceFile]:
    """The code of each kind once; ``ran`` is what a backtest has kept of it by strategy: see :func:`load_strategy`."""
    by_kind: dict[str, list[str]] = {}
    for row in strategies:
        by_kind.setdefault(row.kind, []).append(row.strategy)
    for kind, names in by_kind.items():
        yield _source(kind, tuple(names), folder, next((ran[name] for name in names if name in ran), ""))


def _source(kind: str, names: tuple[str, ...], folder: Path | None, ran: str) -> SourceFile:
    built_in = BUILT_IN.get(kind)
    if built_in is not None:
        module = sys.modules[built_in.__module__]
        text, path, note = inspect.getsource(module), built_in.__module__, f"It comes with Tradekeel {__version__}."
    else:
        file = kind.rpartition(":")[0]
        path, note, text = file, "As the file is now; the books do not keep what it was.", ""
        if folder is None:
            note = "Where its file lies is not known without the configuration."
        else:
            path = str(folder / file)
            try:
                text = Path(path).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                note = f"It cannot be read now: {error}"
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest() if text else ""
    if ran and digest:
        is_the_same = digest.startswith(ran)
        note = (
            "It is what ran."
            if is_the_same
            else f"As the file is now. What ran was another one: its SHA-256 begins with {ran}."
        )
    return SourceFile(kind=kind, strategies=names, path=path, sha256=digest, text=text, note=note)
