"""The unit: one text, hardened, and put in place whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tradekeel.errors import ExitCode, InputError
from tradekeel.systemd_unit import UNIT_NAME, USUAL_EXECUTABLE, install, render, tell_systemd

ROOT = Path(__file__).parents[2]
EXPOSURE_MAX = 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")


def directives(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_file_in_the_repository_is_this_text_for_the_usual_place() -> None:
    assert (ROOT / "systemd" / UNIT_NAME).read_text(encoding="utf-8") == render()


def test_it_starts_this_installation_on_the_file_of_its_name() -> None:
    unit = directives(render(Path("/opt/tradekeel/bin/tradekeel")))
    assert unit["ExecStart"] == ["/opt/tradekeel/bin/tradekeel run /etc/tradekeel/%i.toml"]
    assert unit["Type"] == ["notify"]
    assert unit["StateDirectory"] == ["tradekeel/%i"]
    assert unit["DynamicUser"] == ["yes"]


def test_exit_codes_that_a_restart_cannot_help_prevent_it() -> None:
    (codes,) = directives(render())["RestartPreventExitStatus"]
    assert [int(code) for code in codes.split()] == [
        ExitCode.BAD_USAGE,
        ExitCode.BOOKS_DO_NOT_MATCH,
        ExitCode.ALREADY_RUNNING,
    ]


def test_a_run_that_is_over_with_an_account_held_is_not_begun_again() -> None:
    unit = directives(render())
    assert (unit["Restart"], unit["SuccessExitStatus"]) == (["on-failure"], [str(int(ExitCode.HALTED_BY_RISK))])


@pytest.mark.parametrize(
    "executable",
    [
        "/home/me/.venv/bin/tradekeel",
        "/root/x/bin/tradekeel",
        "/tmp/v/bin/tradekeel",
        "bin/tradekeel",
        "/opt/a b/tk",
        "/opt/%i",
    ],
)
def test_a_place_that_the_sandbox_hides_or_systemd_misreads_is_refused(executable: str) -> None:
    with pytest.raises(InputError, match=r"install Tradekeel where|needs an absolute path"):
        render(Path(executable))


@needs_systemd
def test_systemd_finds_little_exposure(tmp_path: Path) -> None:
    unit = tmp_path / "tradekeel@.service"
    unit.write_text(render())
    command = ["systemd-analyze", "security", "--offline=true", str(unit)]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exposure = float(report.rpartition("service:")[2].split()[0])
    assert exposure <= EXPOSURE_MAX


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    executable = shutil.which("true")
    assert executable is not None
    unit = tmp_path / "tradekeel@.service"
    unit.write_text(render(Path(executable)))
    result = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


class Machine:
    """A machine's root folder, a configuration to install on it, and what systemd was asked."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.config = folder / "demo.toml"
        self.config.write_text("one = 1\n")
        self.asked: list[Sequence[str]] = []
        self.checked: list[tuple[Path, Path]] = []

    @property
    def target(self) -> Path:
        return self.root / "etc/tradekeel/demo.toml"

    def check(self, config: Path, placed: Path) -> None:
        self.checked.append((config, placed))

    def install(self) -> list[str]:
        return install(self.config, "demo", USUAL_EXECUTABLE, check=self.check, root=self.root, run=self.asked.append)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_installing_puts_everything_in_place_and_tells_systemd(machine: Machine) -> None:
    lines = machine.install()
    assert machine.target.read_text() == "one = 1\n"
    assert machine.target.stat().st_mode & 0o777 == 0o644
    assert (machine.root / "etc/systemd/system" / UNIT_NAME).read_text() == render()
    assert (machine.root / "etc/tradekeel/credentials/demo").stat().st_mode & 0o777 == 0o700
    assert machine.checked == [(machine.config, machine.target)]
    assert machine.asked == [["systemctl", "daemon-reload"]]
    assert any("systemctl enable --now tradekeel@demo" in line for line in lines)


def test_a_file_that_is_replaced_is_kept(machine: Machine) -> None:
    machine.install()
    machine.config.write_text("two = 2\n")
    machine.install()
    assert machine.target.read_text() == "two = 2\n"
    assert machine.target.with_name("demo.toml.previous").read_text() == "one = 1\n"
    machine.install()
    assert machine.target.with_name("demo.toml.previous").read_text() == "one = 1\n"


@pytest.mark.parametrize("blocked", [".demo.toml.previous.new", ".demo.toml.new"])
def test_wherever_it_ends_half_way_the_file_that_was_there_is_there(machine: Machine, blocked: str) -> None:
    machine.install()
    machine.config.write_text("two = 2\n")
    (machine.target.parent / blocked).mkdir()  # as far as it comes: writing this file fails
    with pytest.raises(InputError):
        machine.install()
    assert machine.target.read_text() == "one = 1\n"
    (machine.target.parent / blocked).rmdir()
    machine.install()
    assert machine.target.read_text() == "two = 2\n"
    assert machine.target.with_name("demo.toml.previous").read_text() == "one = 1\n"


def test_a_file_that_is_wrong_in_its_new_place_changes_nothing(machine: Machine) -> None:
    def refuse(config: Path, placed: Path) -> None:
        raise InputError(f"{placed.name}: a relative path leads nowhere")

    def attempt() -> None:
        install(machine.config, "demo", USUAL_EXECUTABLE, check=refuse, root=machine.root, run=machine.asked.append)

    with pytest.raises(InputError, match="leads nowhere"):
        attempt()
    assert not machine.root.exists(), "not one folder was made"
    machine.install()
    machine.config.write_text("two = 2\n")
    with pytest.raises(InputError, match="leads nowhere"):
        attempt()
    assert machine.target.read_text() == "one = 1\n"
    assert len(machine.asked) == 1


@pytest.mark.parametrize("name", ["", "../cron.d/x", "Demo", "a b", "x" * 32, "-x", "a@b"])
def test_a_name_that_is_none_of_a_service_is_refused(machine: Machine, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be a service's name"):
        install(machine.config, name, USUAL_EXECUTABLE, check=machine.check, root=machine.root)
    assert not machine.root.exists()


def test_a_missing_file_and_a_blocked_place_are_said(machine: Machine) -> None:
    machine.config.unlink()
    with pytest.raises(InputError, match=r"demo\.toml: No such file or directory"):
        machine.install()
    machine.config.write_text("")
    machine.root.mkdir()
    (machine.root / "etc").write_text("")
    with pytest.raises(InputError, match=r"Not a directory|File exists"):
        machine.install()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["tradekeel-no-such-program"], "there is no tradekeel-no-such-program here: is this a machine with systemd?"),
        (["sh", "-c", "echo not booted >&2; exit 1"], "failed: not booted"),
    ],
)
def test_a_machine_without_a_running_systemd_is_said(command: Sequence[str], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        tell_systemd(command)
    tell_systemd(["true"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_without_root_it_says_that_root_is_needed(machine: Machine) -> None:
    for folder in (machine.config.parent, *machine.config.parent.parents[:2]):
        folder.chmod(0o755)
    code = (
        "import os, sys; from pathlib import Path; from tradekeel.systemd_unit import install\n"
        "os.setgid(12345); os.setuid(12345)\n"
        "try: install(Path(sys.argv[1]), 'demo', Path('/usr/bin/tradekeel'), check=lambda *_: 0, root=Path(sys.argv[2]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(machine.config), str(machine.root)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("InputError ")
    assert "this needs root: sudo /usr/bin/tradekeel systemd install" in said
