"""A process out of a cradle is what one is that has begun with nothing: to whoever starts it, and in its own eyes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import cradle

LOOKS = """
import json, os, signal, sys
told = {
    "argv": sys.argv,
    "folder": os.getcwd(),
    "path": sys.path[0] in ("", os.getcwd()),
    "environ": {key: value for key, value in os.environ.items() if key != "LC_CTYPE"},
    "leads": os.getsid(0) == os.getpid(),
    "parent": os.getppid(),
    "files": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:4],
    "read": sys.stdin.read(),
    "minds": [signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)],
    "interrupted": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "main": __name__,
}
print("to be read by nobody", file=sys.stderr)
print(json.dumps(told))
sys.exit(7)
"""
LOADED = ("json",)
TIMEOUT_S = 60

from_cradle = partial(cradle.begin, loaded=LOADED)
Begin = Callable[..., subprocess.Popen[Any]]


def told(begin: Begin, folder: Path, **how: Any) -> tuple[int, dict[str, Any], str]:
    words = ["-c", LOOKS, "one", "two words"]
    environ = {"PATH": os.environ["PATH"], "OURS": "a\udcffb", "STARTED_BY_TESTS": os.environ["STARTED_BY_TESTS"]}
    process = begin(words, cwd=folder, env=environ, stdin=subprocess.PIPE, **cradle.HEARD, **how)
    out, err = process.communicate("what is typed", timeout=TIMEOUT_S)
    return process.returncode, json.loads(out), err


@pytest.mark.parametrize("session", [True, False])
def test_it_sees_what_one_sees_that_has_begun_with_nothing(tmp_path: Path, session: bool) -> None:
    mine = told(from_cradle, tmp_path, start_new_session=session)
    assert mine == told(cradle.begin_anew, tmp_path, start_new_session=session)
    assert mine[0] == 7
    assert (mine[1]["parent"], mine[1]["leads"]) == (os.getpid(), session)


def test_a_signal_that_its_starter_ignores_it_ignores_too(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _, mine, _ = told(from_cradle, tmp_path)
        assert mine == told(cradle.begin_anew, tmp_path)[1]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert mine["minds"] == [True, False, False]
    assert told(from_cradle, tmp_path)[1]["minds"] == [False, False, False]


def test_it_is_killed_like_any_other_and_only_it() -> None:
    others = [from_cradle(["-c", "input()"], stdin=subprocess.PIPE) for _ in range(3)]
    os.kill(others[1].pid, signal.SIGKILL)
    others[1].communicate(timeout=TIMEOUT_S)
    assert others[1].returncode == -signal.SIGKILL
    assert [others[0].poll(), others[2].poll()] == [None, None]
    for each in (others[0], others[2]):
        each.communicate(b"\n", timeout=TIMEOUT_S)
        assert each.returncode == 0


def test_those_that_follow_each_other_have_hashes_of_their_own() -> None:
    """What one left is gone on with by another: the order of a set must matter to nobody."""
    words = ["-c", "print(hash('a word'))"]
    said = [cradle.to_its_end(from_cradle(words, **cradle.HEARD), TIMEOUT_S).stdout for _ in range(2)]
    assert said[0] != said[1]


def test_a_module_is_run_as_python_runs_it() -> None:
    done = cradle.to_its_end(from_cradle(["this"], **cradle.HEARD), TIMEOUT_S)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "The Zen of Python, by Tim Peters")


def test_what_it_does_not_catch_is_told_as_python_tells_it() -> None:
    done = cradle.to_its_end(from_cradle(["-c", "raise ValueError('no more')"], **cradle.HEARD), TIMEOUT_S)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: no more"
