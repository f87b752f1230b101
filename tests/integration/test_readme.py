"""Every command in the README runs as written.

The commands in its `sh` blocks are run in order, in a copy of what they need, with the program of this environment. The two that
set up a machine (`make …`) are run by tests/integration/test_fresh_clone.py, if asked for; here they must be targets.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli_daemon import copy_shipped_files, environment

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PROGRAM = ".venv/bin/tradekeel"
SHORT_DEMO = {"TRADEKEEL__FEEDS__MARKET__SPEED": "max", "TRADEKEEL__FEEDS__MARKET__DURATION": "10m"}
COMMAND_TIMEOUT_S = 120


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder that looks like a clone to the commands."""
    copy_shipped_files(tmp_path)
    return tmp_path


def start(folder: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tradekeel", *words],
        cwd=folder,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def test_its_pictures_are_there() -> None:
    """Taken by tests/pictures.py (`make pictures`); one that is of no use any more goes with the line that showed it."""
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert sorted(shown) == sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "images").iterdir())


def test_every_command_runs_as_written(copy: Path) -> None:
    demo = start(copy, "run", "config/demo.toml", **SHORT_DEMO)  # what `make run` does, quicker
    assert demo.returncode == 0, demo.stderr
    ours = [command for command in commands() if not command.startswith("make ")]
    assert len(ours) >= 10
    for command in ours:
        program, *words = shlex.split(command)
        assert program == PROGRAM, command
        extra = {"TRADEKEEL__FEEDS__MARKET__TICKS": "3000"} if words[0] == "run" else {}
        done = start(copy, *words, **extra)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert done.stdout or words[0] == "run", command


def blocks(page: str) -> list[str]:
    """The fenced blocks that are not tried, line for line: they need root, or a machine with systemd."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [block for language, block in found if not language and "tradekeel" in block]


def service_block() -> list[str]:
    """The lines that install the service; tests/integration/test_fresh_clone.py tries those that need no systemd."""
    (block,) = blocks("README.md")
    return block.splitlines()


def test_what_is_to_be_typed_names_a_program_that_is_there() -> None:
    assert service_block() == blocks("docs/operating.md")[0].splitlines()
    for page in ("README.md", "docs/operating.md"):
        for block in blocks(page):
            for line in block.splitlines():
                program = line.removeprefix("sudo ").split()[0]
                assert program in ("python3", "systemctl") or program.startswith(
                    (".venv/bin/", "/opt/tradekeel/bin/")
                ), line
    before, _, after = README.partition("`source .venv/bin/activate`")
    assert after, "README says how the bare name comes onto the PATH"
    assert not re.search(r"^\|.*`tradekeel ", before, re.MULTILINE), "and before the tables that use it"


def test_nobody_is_told_to_fetch_a_package_that_does_not_exist() -> None:
    places = [ROOT / "README.md", ROOT / "docs", ROOT / "config", ROOT / "systemd", ROOT / "daemon" / "tradekeel"]
    files = [
        file for place in places for file in ([place] if place.is_file() else place.rglob("*.*")) if file.is_file()
    ]
    assert [file for file in files if b"install tradekeel" in file.read_bytes()] == []


def test_the_make_commands_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`?make ([a-z]+)`?", README))
    assert {"run", "test", "check", "bench", "campaign", "help"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_tests_that_have_to_be_asked_for_are_named_where_people_look() -> None:
    wanted = "TRADEKEEL_SYSTEMD_BOX"
    assert wanted in (ROOT / "tests/integration/test_systemd_box.py").read_text()
    assert re.search(rf"^systemd-test:.*{wanted}", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert wanted in (ROOT / "docs/campaigns.md").read_text()


def test_every_link_leads_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        ROOT / "docs" / "cli.md",
        ROOT / "docs" / "operating.md",
        ROOT / "docs" / "glossary.md",
    ]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_tradekeel_command_that_is_spoken_of_exists() -> None:
    from tradekeel.cli.app import make_app

    known = set(make_app())
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        for word in re.findall(r"`(?:sudo )?tradekeel ([a-z][a-z-]*)", page.read_text()):
            assert word in known, f"{page.name}: tradekeel {word}"
