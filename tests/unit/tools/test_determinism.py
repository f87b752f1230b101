"""The determinism check finds what it should, and leaves alone what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.determinism import (
    CLOCK,
    Allowance,
    BadSettings,
    Settings,
    check_package,
    check_source,
    main,
    read_settings,
)

ROOT = Path(__file__).parents[3]


def uses(source: str) -> list[str]:
    return [offence.uses for offence in check_source(source, "some.py")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import time\nt = time.time()", "time.time"),
        ("import time as clock\nt = clock.monotonic_ns()", "time.monotonic_ns"),
        ("from time import perf_counter as now\nnow()", "time.perf_counter"),
        ("import time\ndef f(now=time.monotonic): ...", "time.monotonic"),
        ("import time\ngetattr(time, 'time_ns')()", "time.time_ns"),
        ("import datetime\ndatetime.datetime.now(datetime.UTC)", "datetime.datetime.now"),
        ("from datetime import datetime as dt\ndt.utcnow()", "datetime.datetime.utcnow"),
        ("from datetime import date\ndate.today()", "datetime.date.today"),
        ("import asyncio\nasyncio.get_running_loop().time()", "loop.time"),
        ("def f(loop):\n    return loop.time()", "loop.time"),
        ("class A:\n    def f(self):\n        return self._loop.time()", "loop.time"),
        ("import anyio\nanyio.current_time()", "anyio.current_time"),
        ("import asyncio\nasyncio.create_task(f())", "asyncio.create_task"),
        ("from asyncio import ensure_future", "asyncio.ensure_future"),
        ("import asyncio\nasyncio.gather(f(), g())", "asyncio.gather"),
        ("def f(loop):\n    loop.create_task(g())", ".create_task"),
        ("def f(loop):\n    loop.run_in_executor(None, g)", ".run_in_executor"),
        ("import threading\nthreading.Thread(target=f).start()", "threading.Thread"),
        ("from anyio import to_thread", "anyio.to_thread"),
        ("import anyio.to_thread", "anyio.to_thread"),
        ("import anyio\nasync def f():\n    await anyio.to_thread.run_sync(g)", "anyio.to_thread"),
        ("from concurrent.futures import ThreadPoolExecutor", "concurrent.futures"),
        ("import random", "random"),
        ("from random import Random", "random"),
        ("import importlib\nimportlib.import_module('random')", "random"),
        ("__import__('secrets')", "secrets"),
        ("import os\nos.urandom(16)", "os.urandom"),
        ("from uuid import uuid4", "uuid.uuid4"),
        ("import uuid\nuuid.uuid1()", "uuid.uuid1"),
        ("import sqlalchemy as sa\nsa.func.now()", "sqlalchemy.func.now"),
        ("from sqlalchemy import func\nfunc.random()", "sqlalchemy.func.random"),
        ("key = hash(('a', 1))", "hash()"),
        ("from time import *", "from time import *"),
        ("from random import *", "from random import *"),
        ("def f():\n    import time\n    return time.time()", "time.time"),
        ("def f():\n    return time.time()\nimport time", "time.time"),
        ("async def f():\n    import time\n    return time.time()", "time.time"),
        ("from random import Random\ndef f(chance: Random = Random()): ...", "random"),
        ("from random import Random\nx: Random = Random(1)", "random"),
        ("import random\n@random.choice\ndef f(): ...", "random"),
    ],
)
def test_a_forbidden_use_is_found(source: str, expected: str) -> None:
    assert expected in uses(source)


@pytest.mark.parametrize(
    "source",
    [
        "import time\nzone = time.tzname",
        "from time import struct_time",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, tz=UTC)",
        "from datetime import datetime\nmoment: datetime",
        "def f(clock):\n    return clock.time()",
        "def f(tick):\n    return tick.time",
        "def f(now):\n    return now()",
        "import asyncio\nqueue = asyncio.Queue()",
        "async def f(group):\n    group.start_soon(g)",
        "import threading\nlock = threading.Lock()",
        "from uuid import UUID\nUUID(int=1)",
        "import os\nos.getpid()",
        "class A:\n    def __hash__(self):\n        return hash(self.name)",
        "from . import random",
        "from .time import time\ntime()",
        "text = 'time.time()'  # time.time()",
        "from random import Random\ndef f(chance: Random) -> Random:\n    return chance",
        "import random\nasync def f(*, chance: random.Random | None = None) -> None: ...",
        "import random\nclass A:\n    chance: random.Random",
        "from random import Random\ndef f(random: Random):\n    return random.uniform(-1, 1)",
        "def f(time):\n    return time.time",
        "from hashlib import *",
    ],
)
def test_a_harmless_use_is_left_alone(source: str) -> None:
    assert uses(source) == []


def test_an_offence_says_where_it_is_and_what_to_do() -> None:
    (offence,) = check_source("import time\n\nx = time.time()\n", "daemon/tradekeel/domain/money.py")
    assert str(offence) == f"daemon/tradekeel/domain/money.py:3: uses time.time: {CLOCK}"


def test_one_line_with_two_uses_of_a_name_is_told_once() -> None:
    assert uses("import time\nx = time.time() - time.time()") == ["time.time"]


def test_hash_after_a_hash_method_is_found_again() -> None:
    source = "class A:\n    def __hash__(self):\n        return hash(1)\n    def key(self):\n        return hash(2)"
    assert [offence.line for offence in check_source(source, "a.py")] == [5]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    runtime = tmp_path / "daemon" / "tradekeel" / "runtime"
    runtime.mkdir(parents=True)
    for name in ("clock.py", "loop.py"):
        (runtime / name).write_text("import time\n\nnow = time.monotonic_ns\n")
    return tmp_path


def with_settings(*allow: Allowance) -> Settings:
    return Settings("daemon/tradekeel", frozenset({"runtime/clock.py", "runtime/loop.py"}), allow)


def test_the_clock_and_the_loop_are_free(project: Path) -> None:
    assert list(check_package(project, with_settings())) == []


def test_any_other_module_of_the_package_is_not(project: Path) -> None:
    (project / "daemon/tradekeel/cli.py").write_text("import time\n\ntime.time()\n")
    (line,) = check_package(project, with_settings())
    assert line.startswith("daemon/tradekeel/cli.py:3: uses time.time")


def test_an_exception_covers_its_file_and_its_use_only(project: Path) -> None:
    (project / "daemon/tradekeel/ids.py").write_text("import os\nimport time\n\nos.urandom(1)\ntime.time()\n")
    (project / "daemon/tradekeel/other.py").write_text("import os\n\nos.urandom(1)\n")
    allowance = Allowance("daemon/tradekeel/ids.py", "os.urandom", "live execution ids are random")
    lines = list(check_package(project, with_settings(allowance)))
    assert [line.partition(": uses")[0] for line in lines] == [
        "daemon/tradekeel/ids.py:5",
        "daemon/tradekeel/other.py:3",
    ]


def test_an_exception_that_nothing_needs_is_told(project: Path) -> None:
    allowance = Allowance("daemon/tradekeel/ids.py", "os.urandom", "was needed once")
    (line,) = check_package(project, with_settings(allowance))
    assert "no longer does: remove it" in line


def test_a_free_file_that_moved_away_is_told(project: Path) -> None:
    (project / "daemon/tradekeel/runtime/loop.py").unlink()
    (line,) = check_package(project, with_settings())
    assert "free names runtime/loop.py" in line


def test_an_exception_without_a_reason_is_refused(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    table = '[tool.tradekeel.determinism]\npackage = "p"\nfree = []\nallow = [{ path = "a.py", uses = "random", %s }]\n'
    pyproject.write_text(table % 'reason = ""')
    with pytest.raises(BadSettings, match="reason"):
        read_settings(pyproject)
    pyproject.write_text(table % 'reason = "why not"')
    assert read_settings(pyproject).allow == (Allowance("a.py", "random", "why not"),)


def test_the_command_fails_on_a_bad_file_and_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import random\n")
    good = tmp_path / "good.py"
    good.write_text("import math\n")
    assert main([str(good)]) == 0
    assert main([str(good), str(bad)]) == 1
    assert f"{bad}:1: uses random" in capsys.readouterr().out


def test_the_project_s_own_settings_can_be_read() -> None:
    assert read_settings(ROOT / "pyproject.toml").package == "daemon/tradekeel"
