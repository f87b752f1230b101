"""New strategies, the catalogue of kinds, and the check of a configuration that was installed as a service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.values import plain_value
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.strategies import registry, template
from tradekeel.strategies.registry import KindInfo


def write_strategy(name: str, folder: Path) -> list[Path]:
    """Write the files of a new strategy; none is ever replaced. Raises InputError."""
    files = {folder / file: text for file, text in template.render(name).items()}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise InputError(f"{', '.join(there)} exists already: choose another name, or another --folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
    except OSError as error:
        raise StoreUnavailable(f"{folder} cannot be written: {error.strerror}") from error
    return list(files)


def catalogue(kind: str | None) -> list[dict[str, Any]]:
    """The kinds of strategies (or the one named) with their parameters, as JSON values."""
    if kind is None:
        return [_described(info) for info in registry.catalogue()]
    cls = registry.load_strategy_class(kind, Path())
    return [_described(registry.describe(kind, cls))]


def _described(info: KindInfo) -> dict[str, Any]:
    return {
        "kind": info.kind,
        "summary": info.doc.partition("\n")[0],
        "doc": info.doc,
        "parameters": [
            {
                "name": spec.name,
                "type": spec.type,
                "required": spec.required,
                "default": None if spec.required else plain_value(spec.default),
                "allowed": spec.allowed,
                "unit": spec.unit,
                "description": spec.description,
            }
            for spec in info.parameters
        ],
    }


def check_installed(path: Path, environ: Mapping[str, str]) -> object:
    """Whether a configuration is right where it will be read; its secrets come from systemd, later."""
    return read_plan(path, environ, fetch_secrets=False)
