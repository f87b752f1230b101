"""Named points: nothing unless armed; then a harness kills, fails or counts exactly where it wants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tradekeel.runtime import faults
from tradekeel.runtime.faults import FAIL_AT, KILL_AT, POINTS_TO, arm_from_environment, armed, point

SOURCES = Path(faults.__file__).parents[2]

PROGRAM = """
import os
from tradekeel.runtime.faults import arm_from_environment, point
print(arm_from_environment(os.environ), flush=True)
for _ in range(5):
    point("before")
    point("after")
print("survived", flush=True)
"""


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(SOURCES), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_unarmed_process_passes_every_point():
    result = start()
    assert (result.returncode, result.stdout) == (0, "False\nsurvived\n")


def test_it_dies_at_the_pass_it_was_told_and_the_file_says_what_was_passed(tmp_path):
    points = tmp_path / "points"
    result = start(**{KILL_AT: "after:3", POINTS_TO: str(points)})
    assert (result.returncode, result.stdout) == (-signal.SIGKILL, "True\n")
    assert points.read_text().split() == ["before", "after"] * 3


def test_it_fails_at_the_pass_it_was_told():
    result = start(**{FAIL_AT: "never:1, before:2"})
    assert result.returncode == 1
    assert "InjectedFault: before, pass 2" in result.stderr


@pytest.mark.parametrize("text", ["before", "before:", "before:0", ":1", "before:x"])
def test_a_point_that_is_not_understood_is_refused(text):
    with pytest.raises(ValueError, match="name:count"):
        arm_from_environment({KILL_AT: text})


def test_nothing_to_arm_leaves_a_process_unarmed():
    assert arm_from_environment({}) is False
    point("x")


def test_a_test_may_arm_its_own_process_for_a_while():
    passes: list[int] = []
    with armed({"x": passes.append}) as counts:
        point("x")
        point("y")
        point("x")
        with armed():
            point("x")
        point("x")
    point("x")
    assert passes == [1, 2, 3]
    assert counts == {"x": 3, "y": 1}
