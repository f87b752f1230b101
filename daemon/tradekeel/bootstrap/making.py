"""New strategies, the catalogue of kinds, and the check of a configuration that was installed as a service."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.plan import kinds
from tradekeel.bootstrap.problems import Reader
from tradekeel.bootstrap.values import plain_value
from tradekeel.config import load_config
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.strategies import registry, template
from tradekeel.strategies.registry import KindInfo
from tradekeel.systemd_unit import CONFIG_FOLDER, HIDDEN_FOLDERS


def write_strategy(name: str, folder: Path) -> list[Path]:
    """Write the files of a new strategy; none is ever replaced. Raises InputError."""
    if name in registry.BUILT_IN:
        raise InputError(f"{name!r} is a strategy that comes with Tradekeel: choose another name, like my_{name}")
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


def check_installed(config: Path, placed: Path, environ: Mapping[str, str]) -> object:
    """Whether a configuration would be right at the place where its service will read it, and its files open to that service.

    Its secrets come from systemd, later. ConfigError with all problems.
    """
    root = placed.parents[len(CONFIG_FOLDER.parts)]
    reader = Reader(root=root, why_closed=partial(why_closed, root=root))
    return load_config(config, environ, kinds(reader), fetch_secrets=False, placed=placed)


def why_closed(path: Path, root: Path = Path("/")) -> str | None:
    """Why the service, which is nobody in particular and sees no homes, cannot read a file; None if it can."""
    inside = Path("/") / path.resolve().relative_to(root.resolve()) if root != Path("/") else path.resolve()
    for hidden in HIDDEN_FOLDERS:
        if inside.is_relative_to(hidden):
            return f"{inside} lies in {hidden}, which the service does not see; put it elsewhere, /srv for one"
    for part in (path, *path.parents):
        if part == root:
            break
        mode = part.stat().st_mode
        needed = 0o005 if part.is_dir() else 0o004
        if mode & needed != needed:
            right = "rx" if part.is_dir() else "r"
            return f"{part} is closed to the service's user (mode {mode & 0o7777:04o}): chmod o+{right} it"
    return None
