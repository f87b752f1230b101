"""The systemd unit: one template for every daemon of a machine, rendered for where Tradekeel is installed.

``tradekeel@NAME`` reads ``/etc/tradekeel/NAME.toml``. The text lives here, so that an installed package has it without a data
file; ``systemd/tradekeel@.service`` in the repository is this text for ``/usr/bin/tradekeel``, and a test holds the two
together. Why the directives are what they are stands beside them in the unit.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tradekeel.errors import InputError

UNIT_NAME: Final = "tradekeel@.service"
USUAL_EXECUTABLE: Final = Path("/usr/bin/tradekeel")
CONFIG_FOLDER: Final = Path("etc/tradekeel")
CREDENTIALS_FOLDER: Final = Path("etc/tradekeel/credentials")
INSTANCE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
UNIT_FOLDER: Final = Path("etc/systemd/system")

# Places that the sandbox hides from the service, or that a service's user cannot enter.
HIDDEN_FOLDERS: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  # named to be refused

TEMPLATE: Final = """\
# A Tradekeel daemon. `systemctl start tradekeel@NAME` runs the one that /etc/tradekeel/NAME.toml describes.
# Written by `tradekeel systemd install`; change it with `systemctl edit tradekeel@NAME`, so that an update keeps the change.

[Unit]
Description=Tradekeel trading daemon (%i)
Wants=network-online.target
After=network-online.target time-sync.target
# A daemon that cannot stay up is left down for a person to look at: ten starts in five minutes, then no more.
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
# READY comes after the first reconciliation with the venue: what is started after us finds a daemon that knows its books.
Type=notify
NotifyAccess=main
ExecStart={executable} run /etc/tradekeel/%i.toml
ExecReload=/bin/kill -HUP $MAINPID
# The daemon asks for more time while it waits for a venue that is down, and while it closes what its file tells it to.
TimeoutStartSec=60
TimeoutStopSec=60
TimeoutAbortSec=10
# SIGTERM to the daemon alone; whatever it has left behind is killed after it.
KillMode=mixed
# Fed only while every actor makes progress.
WatchdogSec=30
Restart=on-failure
RestartSec=1
# Trying again cannot help: a wrong configuration (2), books that do not match (4), another daemon on the same state (6).
RestartPreventExitStatus=2 4 6
# The run is over and an account is held (5): begun again it would only run on, until somebody releases it.
SuccessExitStatus=5

# --- what it may use ------------------------------------------------------------------------------------------------
DynamicUser=yes
StateDirectory=tradekeel/%i
StateDirectoryMode=0700
UMask=0077
# Every file in the folder, readable for this daemon only: token = {{ credential = "NAME" }}. It may be empty or missing.
# (systemd takes a missing folder for an error unless there is a default, which nobody reads.)
LoadCredential=tradekeel:/etc/tradekeel/credentials/%i
SetCredential=tradekeel:none
# A core dump would write secrets to the disk.
LimitCORE=0
LimitNOFILE=4096
TasksMax=64
OOMPolicy=stop
Environment=PYTHONDONTWRITEBYTECODE=1
SyslogIdentifier=tradekeel-%i

# --- what it may not ------------------------------------------------------------------------------------------------
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
PrivateDevices=yes
DevicePolicy=closed
PrivateTmp=yes
PrivateMounts=yes
PrivateUsers=yes
PrivateIPC=yes
RemoveIPC=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Unix sockets for the service manager, the internet for venues and feeds.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def render(executable: Path = USUAL_EXECUTABLE) -> str:
    """The unit that starts ``executable``. Raises :class:`InputError` for a place that the service could not reach."""
    text = str(executable)
    if not executable.is_absolute() or not text.isprintable() or any(c in text for c in " \t\"'\\%$;"):
        raise InputError(f"{text!r}: systemd needs an absolute path without spaces and special characters")
    for folder in HIDDEN_FOLDERS:
        if executable.is_relative_to(folder):
            raise InputError(
                f"{text} lies in {folder}, which the unit's sandbox hides from the daemon; install Tradekeel where "
                "services can reach it, in /opt/tradekeel for one (docs/operating.md has the commands), and run that one's "
                "`systemd install`"
            )
    return TEMPLATE.format(executable=text)


def tell_systemd(command: Sequence[str]) -> None:
    """Run one command of systemd's. Raises :class:`InputError` that says how it went."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)  # noqa: S603  # our own words, no shell
    except FileNotFoundError:
        raise InputError(f"there is no {command[0]} here: is this a machine with systemd?") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{' '.join(command)} did not end within 60 s") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"{' '.join(command)} failed: {error.stderr.strip()}") from None


def install(
    config: Path,
    name: str,
    executable: Path,
    *,
    check: Callable[[Path, Path], object],
    root: Path = Path("/"),
    run: Callable[[Sequence[str]], object] = tell_systemd,
) -> list[str]:
    """Put the configuration and the unit in place and tell systemd. Returns what was done and what to do next, in lines.

    ``check`` is called with the file and the place where its copy will be read, because relative paths mean something else
    there; if it raises, nothing has been made. A configuration that is replaced is kept as ``NAME.toml.previous``, which is on
    the disk before anything takes its place. The copy is readable for everybody: the daemon's user exists only while it
    runs, and secrets do not stand in the file.
    """
    if not INSTANCE.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a service's name: 1 to 31 lower-case letters, digits, hyphens and underscores, "
            "the first a letter or digit"
        )
    unit = render(executable)
    target, unit_path = root / CONFIG_FOLDER / f"{name}.toml", root / UNIT_FOLDER / UNIT_NAME
    credentials = root / CREDENTIALS_FOLDER / name
    try:
        content = config.read_bytes()
        check(config, target)
        before = target.read_bytes() if target.exists() else None
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        credentials.parent.mkdir(mode=0o700, exist_ok=True)
        credentials.mkdir(mode=0o700, exist_ok=True)
        if before is not None and before != content:
            _write(target.with_name(f"{target.name}.previous"), before)
        _write(target, content)
        unit_path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write(unit_path, unit.encode())
    except PermissionError as error:
        raise InputError(f"{error.filename}: this needs root: sudo {executable} systemd install …") from None
    except OSError as error:
        raise InputError(f"{error.filename or target}: {error.strerror}") from None
    run(["systemctl", "daemon-reload"])
    return [
        f"wrote {target}",
        f"wrote {unit_path}",
        f"secrets go into {credentials}, one file each, mode 0600",
        f"start it now and at every boot: systemctl enable --now tradekeel@{name}",
        f"look at it: systemctl status tradekeel@{name}; journalctl -u tradekeel@{name} -f",
    ]


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, readable for everybody, and on the disk when this returns."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
