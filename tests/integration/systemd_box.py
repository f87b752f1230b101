"""A machine with a real systemd, in a container, and Tradekeel installed on it from wheels as an operator would.

The container is made by a script that TRADEKEEL_SYSTEMD_BOX names: `create ROOT`, `boot ROOT SRC:DST…`,
`exec ROOT COMMAND…`, `stop ROOT`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TRADEKEEL = "/opt/tradekeel/bin/tradekeel"
POLL_S = 0.05
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "daemon/tradekeel")

LIVE = """\
[daemon]
name = "{name}"

[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
live = true
interval_ms = 50

[accounts.paper]
venue = "paper"
feed = "market"
{account}

[strategies.floor]
kind = "floor"
account = "paper"
instruments = ["EUR_USD"]

[strategies.floor.params]
max_layers = {max_layers}
take_profit_pips = 1
retracement_pips = 1
{more}
"""


def live_config(name: str, *, account: str = "", max_layers: int = 3, more: str = "") -> str:
    """A daemon that trades a made-up market until it is stopped."""
    return LIVE.format(name=name, account=account, max_layers=max_layers, more=more)


class Box:
    """The machine. Paths are those inside."""

    def __init__(self, script: Path, root: Path) -> None:
        self.script = script
        self.root = root
        self.wheels = root.with_name(f"{root.name}-wheels")

    # --- the machine itself --------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the machine, install Tradekeel of this repository on it, and leave it running."""
        self._script("create")
        self._build_wheels()
        self._script("stop")
        self._script("boot", f"{self.wheels}:/mnt/wheels")
        if not (self.root / "opt/tradekeel/bin/pip").exists():
            self.run("python3", "-m", "venv", "/opt/tradekeel")
        pip = ("/opt/tradekeel/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/mnt/wheels")
        self.run(*pip, "tradekeel")
        self.run(*pip, "--force-reinstall", "--no-deps", "tradekeel")

    def stop(self) -> None:
        """Switch it off."""
        self._script("stop")

    def _script(self, verb: str, *arguments: str) -> str:
        command = [str(self.script), verb, str(self.root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout

    def _build_wheels(self) -> None:
        """Wheels of everything for the machine's Python, and of this repository as it stands."""
        self.wheels.mkdir(exist_ok=True)
        for old in self.wheels.glob("tradekeel-*.whl"):
            old.unlink()
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        with tempfile.TemporaryDirectory() as folder:  # a build leaves things behind beside its sources
            for item in SOURCES:
                source, copy = REPOSITORY / item, Path(folder, item)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
            own = [*pip, "wheel", "--no-deps", "--wheel-dir", str(self.wheels), folder]
            subprocess.run(own, check=True, capture_output=True, timeout=600)
        (wheel,) = self.wheels.glob("tradekeel-*.whl")
        libraries = [
            *pip, "download", "--only-binary", ":all:", "--dest", str(self.wheels), "--find-links", str(self.wheels),
            "--constraint", str(REPOSITORY / "constraints.txt"), str(wheel),
        ]  # fmt: skip
        subprocess.run(libraries, check=True, capture_output=True, timeout=600)

    # --- what a person does on it --------------------------------------------------------------------------------------

    def run(self, *command: str, ok: bool = True) -> str:
        """Run a command as root; its output. With ``ok`` a failure fails the test, with what was said."""
        result = self.attempt(*command)
        assert result.returncode == 0 or not ok, f"{' '.join(command)}: {result.stdout}{result.stderr}"
        return result.stdout

    def attempt(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root, whatever comes of it."""
        arguments = [str(self.script), "exec", str(self.root), *command]
        return subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=120)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file there."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def install(self, name: str, config: str) -> str:
        """`tradekeel systemd install`, as the guide says it."""
        self.write(f"/root/{name}.toml", config)
        return self.run(TRADEKEEL, "systemd", "install", f"/root/{name}.toml")

    def drop_in(self, name: str, text: str) -> None:
        """What `systemctl edit` writes."""
        self.write(f"/etc/systemd/system/tradekeel@{name}.service.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    def journal(self, name: str) -> list[str]:
        """What the daemon and systemd have said about this unit, oldest first."""
        return self.run("journalctl", "--no-pager", "--boot", "--output=cat", f"--unit=tradekeel@{name}").splitlines()

    def seconds_between(self, name: str, first: str, last: str) -> float:
        """From the latest line that begins with ``first`` to the latest that begins with ``last``."""
        lines = self.run("journalctl", "--no-pager", "--boot", "--output=json", f"--unit=tradekeel@{name}").splitlines()
        said = {}
        for entry in map(json.loads, lines):
            for words in (first, last):
                if str(entry["MESSAGE"]).startswith(words):
                    said[words] = int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
        return said[last] - said[first]

    def show(self, name: str) -> Mapping[str, str]:
        """systemd's properties of the unit."""
        lines = self.run("systemctl", "show", f"tradekeel@{name}").splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    def until(
        self, name: str, condition: Callable[[Mapping[str, str]], bool], within_s: float = 30.0
    ) -> Mapping[str, str]:
        """The unit's properties once they are as wanted."""
        deadline = time.monotonic() + within_s
        while not condition(state := self.show(name)):
            assert time.monotonic() < deadline, (
                f"{state['ActiveState']}/{state['SubState']} {state['Result']} {state['StatusText']}\n"
                + "\n".join(self.journal(name)[-30:])
            )
            time.sleep(POLL_S)
        return state

    def until_said(self, name: str, words: str, within_s: float = 30.0) -> str:
        """The first line of the journal with these words, once there is one."""
        deadline = time.monotonic() + within_s
        while True:
            for line in self.journal(name):
                if words in line:
                    return line
            assert time.monotonic() < deadline, f"nobody said {words!r}:\n" + "\n".join(self.journal(name)[-30:])
            time.sleep(POLL_S)
