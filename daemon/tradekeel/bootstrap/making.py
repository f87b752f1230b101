"""New strategies, the catalogue of kinds, and the check of a configuration that was installed as a service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.plan import kinds
from tradekeel.bootstrap.problems import Reader
from tradekeel.bootstrap.values import plain_value
from tradekeel.config import SYSTEM_STATE, Vault, load_config
from tradekeel.config.words import quoted
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.strategies import registry, template
from tradekeel.strategies.registry import KindInfo
from tradekeel.systemd_unit import CONFIG_FOLDER, CREDENTIALS_FOLDER, HIDDEN_FOLDERS


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
    root, service = placed.parents[len(CONFIG_FOLDER.parts)], placed.stem
    reader = Reader(
        root=root, why_closed=partial(why_closed, root=root), why_unwritable=partial(why_unwritable, service)
    )
    vault = Vault(environ, fetches=False, why_closed=partial(why_secret_closed, service))
    return load_config(config, environ, kinds(reader), placed=placed, vault=vault)


def why_unwritable(service: str, key: str, path: str) -> str | None:
    """Why the service, which may write to its state directory alone, cannot write there; None if it can."""
    if _is_in_state_of(service, path):
        return None
    advice = {
        "daemon.state_dir": "leave it out: systemd makes that folder for the service (StateDirectory=)",
        "logging.file": "leave it out, because the journal has the log, or give a name, which means a file in that folder",
    }[key]
    return f"{quoted(path)} is outside of {SYSTEM_STATE / service}, where alone the service may write; {advice}"


def why_secret_closed(service: str, path: str) -> str | None:
    """Why the service, whose user is another at each start, cannot read a file that only its owner may; None if it can."""
    if path.startswith("/") and _is_in_state_of(service, path):
        return None
    return (
        f"a secret must be its reader's own, and the service's user exists only while it runs, so {quoted(path)} is closed to "
        f'it; put it into /{CREDENTIALS_FOLDER / service}, root\'s and mode 0600, and write {{ credential = "FILE" }} '
        "(LoadCredential=)"
    )


def _is_in_state_of(service: str, path: str) -> bool:
    """systemd gives the folder to whichever user the service has, and lets it in by either name."""
    return any(
        Path(os.path.normpath(path)).is_relative_to(folder / service)
        for folder in (SYSTEM_STATE, SYSTEM_STATE.parent / "private" / SYSTEM_STATE.name)
    )


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
