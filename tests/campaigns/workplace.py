"""Where campaigns and scenarios keep their state directories."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns.kill.stores import MEMORY


@contextmanager
def workplace(keep: Path | None = None) -> Iterator[Path]:
    """A folder for state directories: in memory where there is such a thing, since a kill tests no disk; gone afterwards.

    ``keep`` is one that stays.
    """
    base = MEMORY if MEMORY.is_dir() else None
    path = Path(tempfile.mkdtemp(prefix="tradekeel-work-", dir=base)) if keep is None else keep
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        if keep is None:
            shutil.rmtree(path, ignore_errors=True)
