"""The runtime is tested on both loops it may run on: the daemon's and the plain one."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(params=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}
