"""Where campaigns and scenarios keep their state directories."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.folders import in_memory


@contextmanager
def workplace(keep: Path | None = None) -> Iterator[Path]:
    """A folder for state directories: in memory where there is such a thing, since a kill tests no disk; gone afterwards.

    ``keep`` is one that stays.
    """
    path = Path(tempfile.mkdtemp(prefix="tradekeel-work-", dir=in_memory(0))) if keep is None else keep
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        if keep is None:
            shutil.rmtree(path, ignore_errors=True)
