"""What an export says of itself: `manifest.json`, written last, so that a folder without one is none.

Nothing in it depends on when or by whom it was made: the same books give the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from tradekeel.errors import InputError
from tradekeel.storage.transfer.tables import FileColumn

NAME = "manifest.json"
FORMAT = "tradekeel-export"
VERSION = 1


class FileWritten(Struct, frozen=True):
    """One file."""

    table: str
    file: str
    rows: int
    sha256: str
    columns: tuple[FileColumn, ...]


class Narrowed(Struct, frozen=True, omit_defaults=True):
    """What was left out."""

    tables: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None
    executions: tuple[str, ...] | None = None
    since_ns: int | None = None
    until_ns: int | None = None

    @property
    def has_whole_executions(self) -> bool:
        """Whether all of what there is of each execution is in it, so that it can be imported."""
        return self.tables is None and self.since_ns is None and self.until_ns is None


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See the module."""

    format: str = FORMAT
    version: int = VERSION
    schema: str
    files_are: str  # csv, jsonl, parquet
    importable: bool
    narrowed: Narrowed
    files: tuple[FileWritten, ...]

    def encoded(self) -> bytes:
        """As it stands in the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """Of a folder; InputError where there is none, or it is not ours."""
    path = folder / NAME
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise InputError(f"{folder} is no export: it has no {NAME}, which is written last; export once more") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        raise InputError(
            f"{path} is of the format {manifest.format} {manifest.version}, which this version does not know"
        )
    return manifest
