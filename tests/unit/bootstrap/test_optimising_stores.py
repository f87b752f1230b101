"""Where studies are kept, the file: who meets another one at it waits, and not without end."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tradekeel.bootstrap.optimising.stores import StoreSettings, open_store
from tradekeel.errors import StoreUnavailable


def test_a_study_that_another_process_makes_for_ever_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with (tmp_path / "making").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match=r"in the making by another process for 0\.01 s"):
            open_store(StoreSettings("", None, tmp_path, timeout_s=0.01))
