"""A fresh clone with nothing but Python: the README's commands, word for word, where nobody has installed anything.

Opt-in (`make clone`, or TRADEKEEL_FRESH_CLONE=1), since it installs every dependency anew: it takes a minute, and
needs a network or a folder of wheels (PIP_FIND_LINKS). What is cloned is the last commit. Only two things are shorter
than they would be for a person: the demo's two hours, and `make test`, which only collects its tests.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_readme import ROOT, SHORT_DEMO, commands, service_block

ASKED = os.environ.get("TRADEKEEL_FRESH_CLONE", "")
COMMAND_TIMEOUT_S = 600
INSTALLS = "setup: installing"

pytestmark = [
    pytest.mark.skipif(not ASKED, reason="set TRADEKEEL_FRESH_CLONE=1 to install and run a fresh clone"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no repository that could be cloned"),
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as anybody gets it."""
    folder = tmp_path_factory.mktemp("fresh") / "tradekeel"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, timeout=COMMAND_TIMEOUT_S)
    return folder


def run(clone: Path, command: str, **extra: str) -> str:
    """Run a line of the README in the clone, in an environment that knows nothing of ours; what it said."""
    ours = str(Path(sys.executable).parent)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRADEKEEL", "VIRTUAL_ENV", "PYTHON", "PYTEST", "COVERAGE", "MAKE", "MFLAGS"))
    }
    kept["PATH"] = os.pathsep.join(place for place in kept["PATH"].split(os.pathsep) if place != ours)
    done = subprocess.run(
        shlex.split(command),
        cwd=clone,
        env=kept | extra,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3_000:]}{done.stderr[-3_000:]}"
    return done.stdout + done.stderr


def test_the_readmes_commands_work_as_written_in_a_fresh_clone(clone: Path) -> None:
    first, second, *others = commands()
    assert (first, second) == ("make run", "make test")
    said = run(clone, first, **SHORT_DEMO)
    assert INSTALLS in said
    assert "trades closed" in said
    again = run(clone, first, **SHORT_DEMO)
    assert INSTALLS not in again, "what is there is not installed again"
    collected = run(clone, f"{second} ARGS=--collect-only")
    assert "tests collected" in collected or "deselected" in collected
    for command in others:
        if not command.startswith("make "):
            shorter = {"TRADEKEEL__FEEDS__MARKET__TICKS": "3000"} if " run " in command else {}
            assert run(clone, command, **shorter), command
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == "", "nothing of what it makes is in anybody's way"


def test_the_service_is_installed_as_written_as_far_as_no_systemd_is_needed(clone: Path, tmp_path: Path) -> None:
    run(clone, "make run", **SHORT_DEMO)  # the block begins where the demo has run
    place = str(tmp_path / "opt")
    for line in service_block():
        if " systemd " in line:
            break
        mine = line.removeprefix("sudo ").replace("/opt/tradekeel", place).replace("python3 ", f"{sys.executable} ", 1)
        run(clone, shlex.join(["sh", "-c", mine]))
    assert run(clone, f"{place}/bin/tradekeel check config/paper.toml")
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == ""
