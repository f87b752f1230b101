"""Reads a configuration file: text → TOML → overrides → Structs → checks, and every problem at once.

What needs no trading knowledge is checked here: names, references between sections, duplicates. What the kinds' own tables may
hold is in their Structs (:class:`~tradekeel.config.model.Kinds`).
"""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tradekeel.config.config import Config, flat_values
from tradekeel.config.decode import INVALID, Decoder
from tradekeel.config.model import (
    NAME,
    NAME_WORDS,
    AccountConfig,
    AccountTable,
    DaemonConfig,
    FeedConfig,
    FeedTable,
    FileTables,
    InstrumentTable,
    Kinds,
    LoggingConfig,
    StorageConfig,
    StrategyConfig,
    StrategyTable,
)
from tradekeel.config.overrides import apply_overrides, toml_number
from tradekeel.config.secrets import Vault
from tradekeel.config.words import did_you_mean, found, join_path, nearest, quoted
from tradekeel.errors import ConfigError, InputError

FILE_BYTES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 24  # tables and arrays in each other
NAMED_MAX: Final = 256  # accounts, feeds, strategies, each
PROBLEMS_SHOWN_MAX: Final = 60

SYSTEM_FOLDER: Final = Path("/etc/tradekeel")  # where the systemd unit reads its configuration
SYSTEM_STATE: Final = Path("/var/lib/tradekeel")  # and where it keeps its state


def load_config(
    path: Path | str,
    environ: Mapping[str, str],
    kinds: Kinds | None = None,
    *,
    fetch_secrets: bool = True,
) -> Config:
    """The configuration in the file at ``path`` with the overrides of ``environ``.

    With ``kinds`` the tables that belong to a kind of feed, venue or strategy are decoded too, into ``settings``. Without
    ``fetch_secrets`` secrets stay references (a command that only looks at a file has no credentials). Raises
    :class:`ConfigError` with every problem, and nothing else.
    """
    source = Path(path)
    problems: list[str] = []
    table = read_table(source)
    origins = apply_overrides(table, environ, problems)
    vault = Vault(environ, fetches=fetch_secrets)
    reader = _Reader(table, source, Decoder(problems, vault, origins, source.parent))
    tables = reader.tables(kinds)
    if problems or tables is None:
        raise ConfigError(_shown(problems), str(source))
    values = flat_values(tables)
    return Config(
        source=source,
        daemon=tables["daemon"],
        logging=tables["logging"],
        storage=tables["storage"],
        feeds=tables["feeds"],
        accounts=tables["accounts"],
        strategies=tables["strategies"],
        instruments=tables["instruments"],
        state_dir=_state_dir(tables["daemon"], source, environ),
        warnings=tuple(reader.warnings),
        raw=table,
        values=values,
        vault=vault,
        origins=origins,
    )


def _shown(problems: list[str]) -> list[str]:
    unique = list(dict.fromkeys(problems))
    if len(unique) <= PROBLEMS_SHOWN_MAX:
        return unique
    return [*unique[:PROBLEMS_SHOWN_MAX], f"… and {len(unique) - PROBLEMS_SHOWN_MAX} more problems"]


# --- the file ------------------------------------------------------------------------------------------------------------


def read_table(path: Path) -> dict[str, Any]:
    """The file as TOML, numbers exact. Raises :class:`ConfigError`."""
    text = _read_text(path)
    try:
        table = tomllib.loads(text, parse_float=toml_number)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not TOML: {error}"], str(path)) from None
    except (ValueError, RecursionError) as error:
        why = "a number with too many digits" if isinstance(error, ValueError) else "nested too deeply"
        raise ConfigError([f"not TOML that can be read: {why}"], str(path)) from None
    if _depth(table) > DEPTH_MAX:
        raise ConfigError([f"tables and arrays are nested deeper than {DEPTH_MAX}"], str(path))
    return table


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([_unreadable(path, error)], str(path)) from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError([f"larger than {FILE_BYTES_MAX} bytes: is this a configuration?"], str(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError([f"not UTF-8 text (at line {line}); save it as UTF-8"], str(path)) from None


def _unreadable(path: Path, error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT:
        near = _nearest_file(path)
        return "there is no such file" + (f"; did you mean {near}?" if near else "")
    if code == errno.EISDIR:
        files = sorted(entry.name for entry in path.iterdir() if entry.suffix == ".toml")[:5]
        return "a folder, not a file" + (f"; it holds {', '.join(files)}" if files else "")
    if code == errno.EACCES:
        return f"may not be read by this user (uid {os.geteuid()})"
    return f"cannot be read: {error}"


def _nearest_file(path: Path) -> Path | None:
    folder = path.parent
    try:
        names = [entry.name for entry in folder.iterdir() if entry.suffix == ".toml"][:1000]
    except (OSError, ValueError):
        return None
    near = nearest(path.name, names)
    if near is None and len(names) == 1:
        near = names[0]
    return folder / near if near else None


def _depth(table: object) -> int:
    """How deep tables and arrays are nested, found without recursion: dotted keys nest as deep as the file is long."""
    depth, level = 0, [table]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[attr-defined]  # lists
            if isinstance(inner, dict | list)
        ]
    return depth


# --- the tables ----------------------------------------------------------------------------------------------------------


class _Reader:
    """One file on its way to Structs: sections are decoded each by itself, so that one bad value hides no other."""

    def __init__(self, table: dict[str, Any], source: Path, decoder: Decoder) -> None:
        self.table = table
        self.source = source
        self.decoder = decoder
        self.warnings: list[str] = []

    def tables(self, kinds: Kinds | None) -> dict[str, Any] | None:
        """All sections decoded and checked, or None with problems noted."""
        known = [field.encode_name for field in msgspec.structs.fields(FileTables)]
        for key in self.table:
            if key not in known:
                self.decoder.problem(join_path("", key), f"unknown section; {did_you_mean(key, known, 'Sections')}")
        decoded: dict[str, Any] = {
            "daemon": self._section("daemon", DaemonConfig),
            "logging": self._section("logging", LoggingConfig),
            "storage": self._section("storage", StorageConfig),
            "feeds": self._feeds(kinds),
            "accounts": self._accounts(kinds),
            "strategies": self._strategies(kinds),
            "instruments": self._instruments(),
        }
        if decoded["daemon"] is not INVALID:
            decoded["daemon"] = self._named(decoded["daemon"])
        self._check_references(decoded)
        return None if self.decoder.problems else decoded

    def _section(self, key: str, type_: type[msgspec.Struct]) -> Any:
        return self.decoder.struct(self.table.get(key, {}), type_, key)

    def _named(self, daemon: DaemonConfig) -> DaemonConfig:
        name = daemon.name or self.source.stem
        if not NAME.fullmatch(name):
            hint = "" if daemon.name else " (the file's name, because daemon.name is not set)"
            self.decoder.problem("daemon.name", f"found {quoted(name)}{hint}, allowed: {NAME_WORDS}")
        return msgspec.structs.replace(daemon, name=name)

    def _entries(self, section: str, *, names: bool = True) -> list[tuple[str, str, dict[str, Any]]]:
        """The tables of a section as (name, path, table); what is no table is a problem."""
        tables = self.table.get(section, {})
        if not isinstance(tables, dict):
            self.decoder.problem(section, f"found {found(tables)}, allowed: tables [{section}.NAME]")
            return []
        if len(tables) > NAMED_MAX:
            self.decoder.problem(section, f"found {len(tables)} tables, allowed: at most {NAMED_MAX}")
            return []
        entries = []
        for name, table in tables.items():
            path = join_path(section, name)
            if names and not NAME.fullmatch(name):
                self.decoder.problem(path, f"found the name {quoted(name)}, allowed: {NAME_WORDS}")
            if isinstance(table, dict):
                entries.append((name, path, table))
            else:
                self.decoder.problem(path, f"found {found(table)}, allowed: a table [{path}]")
        return entries

    def _feeds(self, kinds: Kinds | None) -> dict[str, FeedConfig]:
        feeds = {}
        for name, path, table in self._entries("feeds"):
            head = self.decoder.struct({k: v for k, v in table.items() if k == "kind"}, FeedTable, path)
            options = {key: value for key, value in table.items() if key != "kind"}
            settings = None
            if kinds and head is not INVALID:
                settings = self._of_kind(kinds.feeds, head.kind, join_path(path, "kind"), options, path)
            if head is not INVALID:
                feeds[name] = FeedConfig(**_fields(head), name=name, options=options, settings=settings)
        return feeds

    def _accounts(self, kinds: Kinds | None) -> dict[str, AccountConfig]:
        accounts = {}
        for name, path, table in self._entries("accounts"):
            venue = table.get("venue")
            # The venue's own table stands under the venue's name, unless that is the name of a setting.
            own = venue if isinstance(venue, str) and venue not in AccountTable.__struct_fields__ else None
            options = table.get(own, {}) if own else {}
            head = self.decoder.struct({k: v for k, v in table.items() if k != own}, AccountTable, path)
            settings = risk = None
            if kinds and own:
                settings = self._of_kind(kinds.venues, own, join_path(path, "venue"), options, join_path(path, own))
            if kinds and isinstance(table.get("risk", {}), dict):
                risk = self.decoder.struct(table.get("risk", {}), kinds.risk, join_path(path, "risk"))
            if own and not kinds and not isinstance(options, dict):
                self.decoder.problem(join_path(path, own), f"found {found(options)}, allowed: a table")
            if head is not INVALID:
                accounts[name] = AccountConfig(
                    **_fields(head), name=name, options=options, settings=settings, risk_settings=risk
                )
        return accounts

    def _strategies(self, kinds: Kinds | None) -> dict[str, StrategyConfig]:
        strategies = {}
        for name, path, table in self._entries("strategies"):
            head = self.decoder.struct(table, StrategyTable, path)
            kind, params = table.get("kind"), table.get("params", {})
            settings = None
            if kinds and isinstance(kind, str) and isinstance(params, dict):
                try:
                    type_ = kinds.strategies(kind, self.source.parent)
                except InputError as error:
                    self.decoder.problem(join_path(path, "kind"), str(error))
                else:
                    settings = self.decoder.struct(params, type_, join_path(path, "params"))
            if head is not INVALID:
                strategies[name] = StrategyConfig(**_fields(head), name=name, settings=settings)
        return strategies

    def _instruments(self) -> dict[str, InstrumentTable]:
        decoded = {
            symbol: self.decoder.struct(table, InstrumentTable, path)
            for symbol, path, table in self._entries("instruments", names=False)
        }
        return {symbol: table for symbol, table in decoded.items() if table is not INVALID}

    def _of_kind(
        self, types: Mapping[str, type[msgspec.Struct]], kind: str, kind_path: str, table: Any, path: str
    ) -> Any:
        if kind not in types:
            self.decoder.problem(
                kind_path, f"found {quoted(kind)}, which does not exist; {did_you_mean(kind, types, 'There are')}"
            )
            return None
        return self.decoder.struct(table, types[kind], path)

    # --- between the sections ------------------------------------------------------------------------------------------

    def _check_references(self, decoded: dict[str, Any]) -> None:
        accounts: dict[str, AccountConfig] = decoded["accounts"]
        feed_names = _names(self.table, "feeds")
        account_names = _names(self.table, "accounts")
        if not account_names:
            self.decoder.problem("accounts", "there is no account; add [accounts.NAME] with venue and feed")
        for account in accounts.values():
            if account.feed not in feed_names:
                self._dangling(f"accounts.{account.name}.feed", account.feed, feed_names, "feed")
            if account.share_instruments and account.exits == "venue" and not account.hedging:
                self.decoder.problem(
                    f"accounts.{account.name}.exits",
                    'found "venue", allowed with share_instruments: "monitor", because a stop at the venue closes the netted '
                    "position of all strategies instead of one trade",
                )
        self._check_same_account(accounts)
        strategies: dict[str, StrategyConfig] = decoded["strategies"]
        for strategy in strategies.values():
            if strategy.account not in account_names:
                self._dangling(f"strategies.{strategy.name}.account", strategy.account, account_names, "account")
        self._check_instruments(strategies, accounts)
        self._warn_about_unused(decoded)

    def _dangling(self, path: str, name: str, names: list[str], what: str) -> None:
        self.decoder.problem(path, f"there is no {what} {quoted(name)}; {did_you_mean(name, names, 'There are')}")

    def _check_same_account(self, accounts: Mapping[str, AccountConfig]) -> None:
        seen: dict[tuple[str, str], str] = {}
        for account in accounts.values():
            first = seen.setdefault((account.venue, account.account_at_venue), account.name)
            if first != account.name:
                self.decoder.problem(
                    f"accounts.{account.name}",
                    f"the same account as accounts.{first} ({account.venue}, {quoted(account.account_at_venue)}); "
                    "two sets of books for one account can never agree",
                )

    def _check_instruments(
        self, strategies: Mapping[str, StrategyConfig], accounts: Mapping[str, AccountConfig]
    ) -> None:
        traders: dict[tuple[str, str], str] = {}
        for strategy in strategies.values():
            path = f"strategies.{strategy.name}.instruments"
            twice = {symbol for symbol in strategy.instruments if strategy.instruments.count(symbol) > 1}
            if twice:
                self.decoder.problem(path, f"named twice: {', '.join(map(quoted, sorted(twice)))}")
            account = accounts.get(strategy.account)
            if account is None or not strategy.enabled or account.hedging or account.share_instruments:
                continue
            for symbol in dict.fromkeys(strategy.instruments):
                first = traders.setdefault((account.name, symbol), strategy.name)
                if first != strategy.name:
                    self.decoder.problem(
                        path,
                        f"{symbol} is traded on accounts.{account.name} by strategies.{first} already; set "
                        'share_instruments = true and exits = "monitor" there, or give it an account of its own',
                    )

    def _warn_about_unused(self, decoded: dict[str, Any]) -> None:
        used_feeds = {account.feed for account in decoded["accounts"].values()}
        for name in decoded["feeds"]:
            if name not in used_feeds:
                self.warnings.append(f"feeds.{name}: no account uses this feed")
        busy = {strategy.account for strategy in decoded["strategies"].values() if strategy.enabled}
        for name in decoded["accounts"]:
            if name not in busy:
                self.warnings.append(f"accounts.{name}: no enabled strategy trades on this account")


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _names(table: Mapping[str, Any], section: str) -> list[str]:
    """Names as they stand in the file, also of tables that have problems of their own."""
    tables = table.get(section, {})
    return list(tables) if isinstance(tables, dict) else []


def _state_dir(daemon: DaemonConfig, source: Path, environ: Mapping[str, str]) -> Path:
    """Where the state is kept.

    An absolute ``state_dir`` is taken as it is. Otherwise a service gets the directory that its manager made for it, and
    a file in the unit's own folder means that same directory when a person runs a command on it. Else it is relative to the file.
    """
    written = Path(daemon.state_dir) if daemon.state_dir else None
    if written and written.is_absolute():
        return written
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given and os.path.isabs(given):
        return Path(given)
    folder = Path(os.path.abspath(source.parent))
    if folder == SYSTEM_FOLDER:
        return SYSTEM_STATE / source.stem
    return Path(os.path.normpath(folder / (written or Path("var", daemon.name))))
