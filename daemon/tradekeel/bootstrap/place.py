"""Which daemon a command is for: a configuration file, a name under systemd, a state directory, or the only one there is.

A command must reach its daemon although the configuration was broken meanwhile (that is when somebody wants to stop
it), so only what says where the state lies is read here, and nothing else is checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.books import books_in, in_memory
from tradekeel.config import SYSTEM_FOLDER, ConfigError, DaemonConfig, decode
from tradekeel.config.load import state_dir_of
from tradekeel.config.overrides import apply_overrides
from tradekeel.config.source import read_table
from tradekeel.config.words import shown_path
from tradekeel.errors import InputError, StoreError, StoreUnavailable
from tradekeel.statedir import StateDir, refuse_no_data
from tradekeel.storage.backend import Backend
from tradekeel.storage.schema import version_of
from tradekeel.storage.sqlite import Sqlite

DEFAULT_VARIABLE = "TRADEKEEL_CONFIG"
SEARCHED = (Path(), Path("config"))
FOUND_MAX = 100  # configuration files that are looked at in one folder
HOW = "name its configuration file, its name under systemd, or its state directory with --state"


class Place(Struct, frozen=True):
    """Where one daemon lives."""

    state_dir: Path
    config: Path | None  # None: only the state directory was named
    problems: tuple[str, ...] = ()  # why its file does not say where the state lies: ``state_dir`` is a guess then
    storage: Mapping[str, Any] = {}  # as it is written there
    name: str = ""  # of the daemon
    environ: Mapping[str, str] = {}
    redis: Mapping[str, Any] = {}  # as it is written there

    @property
    def statedir(self) -> StateDir:
        """Its state directory. ConfigError where nobody can say which it is."""
        if self.problems:
            raise ConfigError(list(self.problems), shown_path(self.config or self.state_dir))
        return StateDir(self.state_dir)

    @property
    def backtests(self) -> Path:
        """Where its backtests are."""
        return StateDir(self.state_dir).backtests

    @property
    def pid(self) -> int | None:
        """The running daemon's process id (0: it runs, and has not said), None without one."""
        with self._within_reach():
            return self.statedir.holder()

    @property
    def has_books(self) -> bool:
        """Whether there is anything to read."""
        with self._within_reach():
            return self.where.exists()

    @contextmanager
    def _within_reach(self) -> Iterator[None]:
        """InputError where this user may not even look."""
        try:
            yield
        except (PermissionError, StoreUnavailable) as error:
            if self._is_closed_to_us():
                raise InputError(
                    f"{self.state_dir} belongs to another user: run this as that one, or with sudo"
                ) from error
            raise

    def _is_closed_to_us(self) -> bool:
        try:
            return not os.access(self.state_dir, os.R_OK | os.X_OK) and not _is_missing(self.state_dir)
        except OSError:
            return True

    @property
    def where(self) -> Backend:
        """Where its books are, whether there are any or not."""
        source = shown_path(self.config or self.state_dir)
        return books_in(self.storage, self.statedir, self.name, self.environ, source)

    @property
    def no_books(self) -> str:
        """What to say where there are none. Of books in memory the state directory does not tell, the configuration does."""
        if self.config is None and in_memory(self.statedir).exists():
            return (
                f"the books of the daemon of {self.state_dir} are not there but in memory: name its configuration file, or its "
                "name under systemd, instead of --state"
            )
        none = f"there are no books in {self.state_dir} yet: start the daemon with `tradekeel run` first"
        folder = self.backtests
        if not folder.is_dir():
            return none
        listed = f"tradekeel backtests {f'--state {folder}' if self.config is None else self}"
        return f"{none}. There are backtests: `{listed}` lists them, and --state {folder}/TASK/NUMBER reads the books of one"

    def books(self) -> Backend:
        """The books; InputError where there are none yet."""
        if not self.has_books:
            raise InputError(self.no_books)
        books = self.where
        if isinstance(books, Sqlite):
            refuse_no_data(books.path)
        if not _has_schema(books):
            raise InputError(self._not_made(books))
        return books

    def _not_made(self, books: Backend) -> str:
        if isinstance(books, Sqlite):
            return (
                f"the books in {self.state_dir} are not made yet, because a start was interrupted or is under way: "
                "the next start makes them"
            )
        refuses = self.storage.get("migrations") == "refuse"
        to_do = (
            'as their owner (storage.migrations is "refuse")' if refuses else "or start the daemon (`tradekeel run`)"
        )
        return f"there are no books on {books} yet: run `tradekeel db upgrade` {to_do}"

    def __str__(self) -> str:
        return str(self.config or self.state_dir)


def _has_schema(books: Backend) -> bool:
    """Whether there is a schema in it. Books that cannot be read are for whoever reads them to name."""
    unreadable: tuple[type[Exception], ...] = (*books.errors, StoreError, UnicodeDecodeError)
    try:
        with closing(books.connect(read_only=True)) as db:
            return version_of(db.execute, books) is not None
    except unreadable:
        return True


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except PermissionError:
        return False
    return False


def find_place(target: str | None, state: Path | None, environ: Mapping[str, str]) -> Place:
    """The daemon that is meant. Raises InputError, or ConfigError for a file that cannot be read."""
    if state is not None:
        if target is not None:
            raise InputError(f"name either {target} or --state, not both")
        return Place(state.absolute(), None, environ=environ)
    chosen = target or environ.get(DEFAULT_VARIABLE)
    if chosen:
        return place_of(config_path(chosen), environ)
    return _only_one(environ)


def config_path(target: str) -> Path:
    """A path as it is; a bare name is a service's: /etc/tradekeel/NAME.toml."""
    path = Path(target)
    is_name = "/" not in target and not target.endswith(".toml")
    if is_name and not path.is_file():
        service = _service_file(target)
        if not service.is_file():
            raise InputError(f"there is neither a file {target} nor a service {target} ({service}); {HOW}")
        return service
    return path


def is_service(name: str) -> bool:
    """Whether there is a service of this name."""
    return "/" not in name and _service_file(name).is_file()


def _service_file(name: str) -> Path:
    return SYSTEM_FOLDER / f"{name}.toml"


def as_given(path: Path, target: str | None) -> Path:
    """The path of a configuration as it was typed, so that messages name the file as the person does."""
    return Path(target) if target is not None and Path(target).is_file() else path


def place_of(path: Path, environ: Mapping[str, str]) -> Place:
    """The place that a configuration file describes.

    A file that does not say where its state lies is a place all the same, for whoever wants to know everything that is wrong
    with it; asking for its state raises ConfigError. Raises ConfigError for a file that is not there.
    """
    try:
        return _described(path, environ)
    except ConfigError as error:
        if not path.is_file():
            raise
        return Place(path.absolute().parent, path.absolute(), tuple(error.problems))


def _described(path: Path, environ: Mapping[str, str]) -> Place:
    table = read_table(path)
    origins = apply_overrides(table, environ, [])
    daemon = table.get("daemon", {})
    words = {key: daemon[key] for key in ("name", "state_dir") if isinstance(daemon, dict) and key in daemon}
    name = words.get("name")
    if words.get("state_dir"):
        words.pop("name", None)  # it only matters where nothing else says where the state lies
    problems: list[str] = []
    config = decode(words, DaemonConfig, "daemon", problems, origins=origins)
    if config is None:
        raise ConfigError(problems, shown_path(path))
    named = msgspec.structs.replace(config, name=config.name or path.stem)
    storage, redis = table.get("storage", {}), table.get("redis", {})
    return Place(
        state_dir_of(named, path, environ),
        path.absolute(),
        storage=storage if isinstance(storage, dict) else {},
        name=name if isinstance(name, str) and name else path.stem,
        environ=environ,
        redis=redis if isinstance(redis, dict) else {},
    )


def _only_one(environ: Mapping[str, str]) -> Place:
    """The one whose daemon runs, or else the one that has books, or else the only file there is."""
    places = list(_candidates(environ))
    for is_it in (
        lambda p: not p.problems and p.pid is not None,
        lambda p: not p.problems and p.has_books,
        lambda p: True,
    ):
        chosen = [place for place in places if is_it(place)]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            listed = ", ".join(str(place) for place in chosen[:8])
            raise InputError(f"several daemons could be meant ({listed}): {HOW}")
    raise InputError(f"which daemon? There is no configuration file here; {HOW}, or set ${DEFAULT_VARIABLE}")


def _candidates(environ: Mapping[str, str]) -> Iterator[Place]:
    seen: set[Path] = set()
    for folder in (*SEARCHED, SYSTEM_FOLDER):
        for path in _toml_files(folder):
            try:
                place = place_of(path, environ)
                place.problems or place.has_books  # noqa: B018  # somebody else's, unreadable for us, is not meant
            except (InputError, StoreUnavailable):
                continue
            if place.problems or place.state_dir not in seen:
                seen.add(place.state_dir)
                yield place


def _toml_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".toml" and _is_config(path))[:FOUND_MAX]
    except OSError:
        return []


def _is_config(path: Path) -> bool:
    """Other tools' TOML files lie about, too."""
    try:
        table = read_table(path)
    except ConfigError:
        return False
    return isinstance(table.get("accounts"), dict) and isinstance(table.get("feeds"), dict)
