"""As whom the other pytests of these tests run: as ourselves, and as an ordinary user where we are root."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import pytest

from tests.integration.servers.support import Who, why_not
from tests.servers.folders import RunFolder, server_user


@functools.cache
def _why_not() -> str | None:
    return why_not(server_user())


@pytest.fixture(params=["ourselves", "ordinary"])
def who(request: pytest.FixtureRequest) -> Iterator[Who]:
    """A user, and a folder with a blank in its path that is empty but for what he makes."""
    ordinary = request.param == "ordinary"
    if ordinary:
        if os.geteuid() != 0:
            pytest.skip("we are an ordinary user ourselves")
        if reason := _why_not():
            pytest.skip(reason)
    with RunFolder() as run:
        run.path.chmod(0o755)  # pytest lists the folder above its tests
        if ordinary:
            yield Who(run.user, run.make("a folder"))
        else:
            mine = run.path / "a folder"
            mine.mkdir(mode=0o711)
            yield Who(None, mine)
