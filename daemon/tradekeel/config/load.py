"""Reads a configuration file: text → TOML → overrides → Structs → checks, and every problem at once.

What needs no trading knowledge is checked here: names, references between sections, duplicates. What the kinds' own tables may
hold is in their Structs (:class:`~tradekeel.config.model.Kinds`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tradekeel.config.config import Config, flat_values
from tradekeel.config.decode import INVALID, Decoder
from tradekeel.config.lines import NO_LINES
from tradekeel.config.model import (
    IN_MEMORY,
    NAME,
    NAME_WORDS,
    NAMED_MAX,
    RESERVED,
    SYMBOL,
    SYMBOL_WORDS,
    AccountConfig,
    AccountTable,
    DaemonConfig,
    Draft,
    FeedConfig,
    FeedTable,
    InstrumentTable,
    Kinds,
    LoggingConfig,
    OneLine,
    RedisConfig,
    StorageConfig,
    StrategyConfig,
    StrategyTable,
)
from tradekeel.config.optimize import OptimizeConfig, check_ranges
from tradekeel.config.overrides import PREFIX, SEPARATOR, apply_overrides
from tradekeel.config.secrets import Vault
from tradekeel.config.source import read_file
from tradekeel.config.tables import FileTables
from tradekeel.config.words import did_you_mean, found, join_path, quoted, shown_path
from tradekeel.errors import ConfigError, InputError

PROBLEMS_SHOWN_MAX: Final = 60

SYSTEM_FOLDER: Final = Path("/etc/tradekeel")  # where the systemd unit reads its configuration
SYSTEM_STATE: Final = Path("/var/lib/tradekeel")  # and where it keeps its state


def load_config(
    path: Path | str,
    environ: Mapping[str, str],
    kinds: Kinds | None = None,
    *,
    fetch_secrets: bool = True,
    placed: Path | None = None,
    vault: Vault | None = None,
) -> Config:
    """The configuration in the file at ``path`` with the overrides of ``environ``.

    ``placed`` is where the file is going to stand, if not there: names and relative paths mean what they mean at that place.
    With ``kinds`` the tables that belong to a kind of feed, venue or strategy are decoded too, into ``settings``. Without
    ``fetch_secrets`` secrets stay references (a command that only looks at a file has no credentials); ``vault`` is for
    who has one of its own. Raises :class:`ConfigError` with every problem, and nothing else.
    """
    source = Path(path) if placed is None else placed
    problems: list[str] = []
    table, lines = read_file(Path(path))
    origins = apply_overrides(table, environ, problems)
    vault = vault or Vault(environ, fetches=fetch_secrets)
    decoder = Decoder(problems, vault, origins, source.parent, kinds.keys if kinds else None, lines)
    reader = _Reader(table, source, decoder, environ)
    tables = reader.tables(kinds)
    if problems or tables is None:
        raise ConfigError(_shown(problems), shown_path(Path(path)))
    optimize = tables.pop("optimize")
    values = flat_values(tables)
    state_dir = state_dir_of(tables["daemon"], source, environ)
    return Config(
        source=source,
        daemon=tables["daemon"],
        logging=_in_state_dir(tables["logging"], state_dir),
        storage=tables["storage"],
        redis=tables["redis"],
        feeds=tables["feeds"],
        accounts=tables["accounts"],
        strategies=tables["strategies"],
        instruments=tables["instruments"],
        optimize=optimize,
        state_dir=state_dir,
        warnings=tuple(reader.warnings),
        raw=table,
        values=values,
        vault=vault,
        origins=origins,
    )


class Stores(msgspec.Struct, frozen=True):
    """Where a daemon keeps what it knows: all that a script needs of its configuration."""

    storage: StorageConfig
    redis: RedisConfig
    redis_in_memory: bool  # its URL is memory://
    name: str  # the daemon's
    state_dir: Path


_STORES: Final = tuple(f"{PREFIX}{section}{SEPARATOR}" for section in ("DAEMON", "STORAGE", "REDIS"))


def load_stores(path: Path | None, environ: Mapping[str, str]) -> Stores:
    """``[storage]`` and ``[redis]`` of a daemon's file with the overrides of ``environ``, or of the environment alone.

    They are read as :func:`load_config` reads them. Other sections are left alone: a script needs no venue's token. Raises
    :class:`ConfigError` with every problem.
    """
    problems: list[str] = []
    table, lines = ({}, NO_LINES) if path is None else read_file(path)
    if path is None:
        environ = {name: text for name, text in environ.items() if not _is_of_others(name)}
    origins = apply_overrides(table, environ, problems)
    source = path or Path.cwd() / "environment.toml"
    decoder = Decoder(problems, Vault(environ), origins, source.parent, lines=lines)
    daemon = decoder.struct(table.get("daemon", {}), DaemonConfig, "daemon")
    storage = decoder.struct(table.get("storage", {}), StorageConfig, "storage")
    server = table.get("redis", {})
    in_memory = isinstance(server, dict) and server.get("url") == IN_MEMORY
    if in_memory:  # nobody is asked for a password there, and it need not be to be had
        server = {key: value for key, value in server.items() if key not in ("url", "username", "password")}
    redis = decoder.struct(server, RedisConfig, "redis")
    is_somewhere = storage is INVALID or storage.url or not storage.enabled
    if path is None and not (is_somewhere or table.get("daemon", {}).get("state_dir")):
        decoder.problem("storage.url", f"nothing says where the books are; {_NAME_THEM}")
    if problems or storage is INVALID or redis is INVALID or daemon is INVALID:
        raise ConfigError(_shown(problems), "the environment" if path is None else shown_path(path))
    named = msgspec.structs.replace(daemon, name=daemon.name or source.stem)
    return Stores(storage, redis, in_memory, named.name, state_dir_of(named, source, environ))


def _is_of_others(variable: str) -> bool:
    """Whether it sets what only a daemon's file can have."""
    return variable.upper().startswith(PREFIX) and not variable.upper().startswith(_STORES)


_NAME_THEM: Final = f"name a daemon's file, or set {PREFIX}STORAGE__URL or {PREFIX}DAEMON__STATE_DIR"


def _shown(problems: list[str]) -> list[str]:
    unique = list(dict.fromkeys(problems))
    if len(unique) <= PROBLEMS_SHOWN_MAX:
        return unique
    return [*unique[:PROBLEMS_SHOWN_MAX], f"… and {len(unique) - PROBLEMS_SHOWN_MAX} more problems"]


# --- the tables ----------------------------------------------------------------------------------------------------------


class _Reader:
    """One file on its way to Structs: sections are decoded each by itself, so that one bad value hides no other."""

    def __init__(self, table: dict[str, Any], source: Path, decoder: Decoder, environ: Mapping[str, str]) -> None:
        self.table = table
        self.environ = environ
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
            "redis": self._section("redis", RedisConfig),
            "feeds": self._feeds(kinds),
            "accounts": self._accounts(kinds),
            "strategies": self._strategies(kinds),
            "instruments": self._instruments(),
            "optimize": self._optimize(kinds),
        }
        if decoded["daemon"] is not INVALID:
            decoded["daemon"] = self._named(decoded["daemon"])
        self._check_references(decoded)
        if kinds is not None:
            kinds.look(self._draft(decoded["instruments"], decoded["daemon"]), self.decoder.problem)
        return None if self.decoder.problems else decoded

    def _draft(self, instruments: dict[str, InstrumentTable], daemon: Any = None) -> Draft:
        return Draft(
            table=self.table,
            instruments=instruments,
            folder=self.source.parent,
            state_dir=state_dir_of(daemon, self.source, self.environ) if isinstance(daemon, DaemonConfig) else None,
        )

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
            common = FeedTable.__struct_fields__
            head = self.decoder.struct({k: v for k, v in table.items() if k in common}, FeedTable, path)
            options = {key: value for key, value in table.items() if key not in common}
            settings = None
            kind = table.get("kind")
            if kinds and isinstance(kind, str):
                settings = self._of_kind(kinds.feeds, kind, join_path(path, "kind"), options, path)
            if head is not INVALID:
                feeds[name] = FeedConfig(**_fields(head), name=name, options=options, settings=settings)
        return feeds

    def _accounts(self, kinds: Kinds | None) -> dict[str, AccountConfig]:
        accounts = {}
        for name, path, table in self._entries("accounts"):
            if name in RESERVED:
                self.decoder.problem(path, f"an account cannot be called {quoted(name)}, which means something else")
            venue = table.get("venue")
            # The venue's own table stands under the venue's name, unless that is the name of a setting.
            own = venue if isinstance(venue, str) and venue not in AccountTable.__struct_fields__ else None
            options = table.get(own, {}) if own else {}
            beside = [own] if own else []
            if kinds and own not in kinds.venues:
                beside.extend(kinds.venues)  # of a venue that is misspelt, the table may not be
            head = self.decoder.struct(table, AccountTable, path, beside=beside)
            settings = risk = None
            if kinds and own:
                settings = self._of_kind(kinds.venues, own, join_path(path, "venue"), options, join_path(path, own))
            if kinds and isinstance(table.get("risk", {}), dict):
                risk = self.decoder.struct(table.get("risk", {}), kinds.risk, join_path(path, "risk"))
            if own and not kinds and not isinstance(options, dict):
                self.decoder.problem(join_path(path, own), f"found {found(options)}, allowed: a table")
            if head is not INVALID:
                if head.share_instruments and not head.hedging and "exits" not in table:
                    head = msgspec.structs.replace(head, exits="monitor")
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
            # A kind may be the path of a file, so what is no kind is not looked for; the rest of the table may be wrong.
            if kinds and isinstance(kind, str) and self.decoder.takes(kind, OneLine) and isinstance(params, dict):
                try:
                    type_ = kinds.strategies(kind, self.source.parent)
                except InputError as error:
                    self.decoder.problem(join_path(path, "kind"), str(error))
                else:
                    settings = self.decoder.struct(params, type_, join_path(path, "params"))
                if isinstance(settings, msgspec.Struct) and table.get("enabled") is not False:
                    try:
                        kinds.try_strategy(kind, self.source.parent, settings)
                    except InputError as error:
                        self.decoder.problem(path, str(error))
            if head is not INVALID:
                strategies[name] = StrategyConfig(**_fields(head), name=name, settings=settings)
        return strategies

    def _instruments(self) -> dict[str, InstrumentTable]:
        decoded = {}
        for symbol, path, table in self._entries("instruments", names=False):
            if not SYMBOL.fullmatch(symbol):
                self.decoder.problem(path, f"found the name {quoted(symbol)}, allowed: {SYMBOL_WORDS}")
            decoded[symbol] = self.decoder.struct(table, InstrumentTable, path)
        return {symbol: table for symbol, table in decoded.items() if table is not INVALID}

    def _optimize(self, kinds: Kinds | None) -> OptimizeConfig | None:
        if "optimize" not in self.table:
            return None
        decoder = self.decoder.fetching_nothing()  # the study's password is no business of a daemon's
        config = decoder.struct(self.table["optimize"], OptimizeConfig, "optimize")
        if kinds is None or config is INVALID:
            return None if config is INVALID else config
        tables = self._tables("strategies")

        def params_of(name: str) -> type[msgspec.Struct] | None:
            try:
                return kinds.strategies(tables[name]["kind"], self.source.parent)
            except (InputError, KeyError, TypeError):
                return None  # its kind is wrong, which has been noted with the strategy

        check_ranges(config, tables, params_of, self.decoder)
        self._check_goals(config, kinds)
        return config

    def _check_goals(self, config: OptimizeConfig, kinds: Kinds) -> None:
        for goal in config.objectives if kinds.goals else ():
            if goal not in kinds.goals:
                self.decoder.problem(
                    "optimize.objective", f"there is no figure {quoted(goal)}; {did_you_mean(goal, kinds.goals)}"
                )
        accounts = list(self._tables("accounts"))
        if config.account and config.account not in accounts:
            self.decoder.problem(
                "optimize.account",
                f"there is no account {quoted(config.account)}; {did_you_mean(config.account, accounts, 'there are')}",
            )

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
        # References are read as written: a table with a problem of its own still refers, and is still referred to.
        feeds, accounts = list(self._tables("feeds")), list(self._tables("accounts"))
        if not accounts and isinstance(self.table.get("accounts", {}), dict):
            self.decoder.problem("accounts", "there is no account; add [accounts.NAME] with venue and feed")
        self._check_names("accounts", "feed", feeds)
        self._check_names("strategies", "account", accounts)
        self._check_same_account()
        self._check_exits(decoded["accounts"])
        self._check_instruments(decoded["strategies"], decoded["accounts"])
        self._warn_about_unused(decoded)

    def _tables(self, section: str) -> dict[str, dict[str, Any]]:
        return self._draft({}).entries(section)

    def _check_names(self, section: str, key: str, known: list[str]) -> None:
        for name, table in self._tables(section).items():
            value = table.get(key)
            if isinstance(value, str) and value not in known:
                hint = did_you_mean(value, known, "there are") if known else f"add [{key}s.NAME]"
                self.decoder.problem(f"{join_path(section, name)}.{key}", f"there is no {key} {quoted(value)}; {hint}")

    def _check_same_account(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for name, table in self._tables("accounts").items():
            venue, account = table.get("venue"), table.get("venue_account", name)
            if not isinstance(venue, str) or not isinstance(account, str):
                continue
            first = seen.setdefault((venue, account), name)
            if first != name:
                self.decoder.problem(
                    join_path("accounts", name),
                    f"the same account as {join_path('accounts', first)} ({quoted(venue)}, {quoted(account)}); "
                    "two sets of books for one account can never agree",
                )

    def _check_exits(self, accounts: Mapping[str, AccountConfig]) -> None:
        for account in accounts.values():
            if account.share_instruments and account.exits == "venue" and not account.hedging:
                self.decoder.problem(
                    join_path("accounts", account.name) + ".exits",
                    'found "venue", allowed with share_instruments: "monitor", because a stop at the venue would close '
                    "the netted position of all strategies instead of one trade",
                )

    def _check_instruments(
        self, strategies: Mapping[str, StrategyConfig], accounts: Mapping[str, AccountConfig]
    ) -> None:
        traders: dict[tuple[str, str], str] = {}
        for strategy in strategies.values():
            path = join_path("strategies", strategy.name) + ".instruments"
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
                        f"{join_path('strategies', first)} trades {symbol} on {join_path('accounts', account.name)} already; set "
                        "share_instruments = true there, or give it an account of its own",
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


def state_dir_of(daemon: DaemonConfig, source: Path, environ: Mapping[str, str]) -> Path:
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


def _in_state_dir(logging: LoggingConfig, state_dir: Path) -> LoggingConfig:
    """A log file belongs to the state: the one place where a sandboxed daemon may write."""
    return logging if logging.file is None else msgspec.structs.replace(logging, file=str(state_dir / logging.file))
