"""What is wrong with a configuration that only somebody who knows of trading can tell, found while the file is read.

Everything is looked for in the tables as they are written: one that has a problem of its own still refers to others and is
still referred to, so no problem waits for another to be mended. `check`, `run`, `reload` and `systemd install` all see the
same list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.schedule import trigger_of
from tradekeel.config import Draft, Report
from tradekeel.config.model import CRON, CURRENCY, check_redis_url
from tradekeel.config.words import did_you_mean, join_path, quoted
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.positions import conversion_path
from tradekeel.errors import InputError
from tradekeel.feeds import FEEDS, FeedSurroundings
from tradekeel.statedir import StateDir
from tradekeel.storage.redis.client import RedisSettings, check_settings


def closed_to_us(path: Path) -> str | None:
    """Why this process cannot read a file, or None."""
    if os.access(path, os.R_OK):
        return None
    return f"{path} may not be read by this user (uid {os.geteuid()})"


class Reader(Struct, frozen=True):
    """Who is going to read and write the files that a configuration names: this process, or another one elsewhere."""

    root: Path = Path("/")  # what absolute paths are below: / but for an image that is being made
    why_closed: Callable[[Path], str | None] = closed_to_us
    why_unwritable: Callable[[str, str], str | None] = lambda key, path: None
    """Why it cannot write where a key of the file (``daemon.state_dir``) says, an absolute path; None if it can, or will say."""

    def place(self, path: str) -> str:
        """Where that reader would look for a path, as seen from here."""
        return str(self.root / path.lstrip("/")) if path.startswith("/") else path


def look(draft: Draft, report: Report, reader: Reader) -> None:
    """Report every problem of the draft with its path."""
    instruments = complete_instruments(draft.instruments, report)
    known = {*instruments, *draft.entries("instruments")}  # also those that have problems of their own
    _look_at_schedules(draft, report)
    _look_at_redis(draft, report)
    _look_at_places(draft, reader, report)
    _look_at_feeds(draft, known, reader, report)
    _look_at_strategies(draft, known, reader, report)
    _look_at_accounts(draft, known, instruments, report)


def complete_instruments(tables: Mapping[str, Any], report: Report) -> dict[str, Instrument]:
    """The catalogue with what the file says otherwise, and what it adds."""
    known: dict[str, Instrument] = dict(CATALOGUE)
    for symbol, table in tables.items():
        changes = {field: value for field in table.__struct_fields__ if (value := getattr(table, field)) is not None}
        path = join_path("instruments", symbol)
        try:
            if symbol in known:
                known[symbol] = msgspec.structs.replace(known[symbol], **changes)
            else:
                known[symbol] = Instrument(symbol=symbol, **changes)
        except InputError as error:
            report(path, str(error))
        except TypeError as error:
            report(path, f"it is not in the catalogue and not complete: {error}")
    return known


# --- schedules ------------------------------------------------------------------------------------------------------------


def _look_at_schedules(draft: Draft, report: Report) -> None:
    for path, line in _schedules(draft):
        try:
            trigger_of(line)
        except InputError as error:
            report(path, str(error))


def _schedules(draft: Draft) -> Iterator[tuple[str, str]]:
    """Every cron line and where it stands. What is none has been reported already."""
    found = [("storage.snapshot_schedule", _table(draft.table, "storage").get("snapshot_schedule"))]
    for name, account in draft.entries("accounts").items():
        found.append((f"{join_path('accounts', name)}.sync_schedule", account.get("sync_schedule")))
    return ((path, line) for path, line in found if isinstance(line, str) and CRON.search(line))


# --- servers --------------------------------------------------------------------------------------------------------------


def _look_at_redis(draft: Draft, report: Report) -> None:
    """What an address may not say beyond what its own check has found. The password is not fetched for it."""
    redis = _table(draft.table, "redis")
    url, username = redis.get("url"), redis.get("username")
    if not isinstance(url, str) or not url or not isinstance(username, str | None):
        return
    try:
        check_redis_url(url)
    except InputError:
        return  # it has been reported
    try:
        check_settings(RedisSettings(url=url, username=username, password="…" if "password" in redis else None))
    except InputError as error:
        report("redis.url", str(error))


# --- places to write ------------------------------------------------------------------------------------------------------


def _look_at_places(draft: Draft, reader: Reader, report: Report) -> None:
    """Where the daemon is told to write. A relative path is put where its manager lets it."""
    for section, key in (("daemon", "state_dir"), ("logging", "file")):
        written, path = _table(draft.table, section).get(key), join_path(section, key)
        if isinstance(written, str) and written.startswith("/"):
            why = reader.why_unwritable(path, written)
            if why is not None:
                report(path, why)
    file = _table(draft.table, "logging").get("file")
    if (
        isinstance(file, str)
        and draft.state_dir is not None
        and StateDir(draft.state_dir).keeps(draft.state_dir / file)
    ):
        report("logging.file", f"found {quoted(file)}, which the daemon keeps its own state in; choose another name")


# --- feeds ----------------------------------------------------------------------------------------------------------------


READS_A_DATABASE = "sql"
"""The kind of feed that does."""


def _look_at_feeds(draft: Draft, known: set[str], reader: Reader, report: Report) -> None:
    """What would keep a feed from being built. One that no account uses is never built."""
    around = FeedSurroundings(draft.folder, known, reader.root, reader.why_closed)
    for name, feed in _used_feeds(draft).items():
        path, kind = join_path("feeds", name), FEEDS[feed["kind"]]
        for symbol, keys in kind.symbols(feed).items():
            if symbol not in known:
                report(reduce(join_path, keys, path), _unknown(symbol, known))
        for keys, sentence in kind.look(feed, around):
            report(reduce(join_path, keys, path), sentence)
        if "password" in feed and feed["kind"] != READS_A_DATABASE:
            report(
                join_path(path, "password"), f'only a feed of kind "{READS_A_DATABASE}" has a server that asks for one'
            )
    _look_at_streams(draft, report)


def _look_at_streams(draft: Draft, report: Report) -> None:
    """Feeds that need a Redis server, and names under which two would share, or one would share what it reads."""
    main = _table(draft.table, "redis").get("url")
    shared: dict[tuple[Any, str], str] = {}
    for name, feed in _used_feeds(draft).items():
        path, shares, reads = join_path("feeds", name), feed.get("share") is True, feed["kind"] == "redis"
        own = _table(feed, "redis").get("url")
        if not (shares or reads):
            continue
        if not (own or main):
            key, what = ("share", "sharing a feed") if shares else ("kind", "such a feed")
            report(join_path(path, key), f"{what} takes a Redis server; give redis.url, or {path}.redis.url")
        stream = feed.get("share_as") or name
        if not shares or not isinstance(stream, str):
            continue
        if reads and stream == feed.get("stream"):
            report(
                join_path(path, "share_as"),
                f"it would be shared as {quoted(stream)}, from which it is read; choose another name",
            )
        first = shared.setdefault((own or main, stream), path)
        if first != path:
            report(join_path(path, "share_as"), f"{first} is shared as {quoted(stream)} already; choose another name")


def _used_feeds(draft: Draft) -> dict[str, dict[str, Any]]:
    """The tables of the feeds that accounts name, if there is such a kind."""
    used = [account.get("feed") for account in draft.entries("accounts").values()]
    feeds = draft.entries("feeds").items()
    return {name: feed for name, feed in feeds if name in used and _is_one_of(feed.get("kind"), FEEDS)}


# --- strategies -----------------------------------------------------------------------------------------------------------


def _look_at_strategies(draft: Draft, known: set[str], reader: Reader, report: Report) -> None:
    for name, strategy in draft.entries("strategies").items():
        path = join_path("strategies", name)
        why = _why_closed(strategy.get("kind"), draft.folder, reader)
        if why is not None:
            report(f"{path}.kind", why)
        if strategy.get("enabled") is not False:
            for symbol in _words(strategy.get("instruments")):
                if symbol not in known:
                    report(f"{path}.instruments", _unknown(symbol, known))
            _look_at_delivery(draft, path, strategy, known, report)


def _look_at_delivery(draft: Draft, path: str, strategy: dict[str, Any], known: set[str], report: Report) -> None:
    """A strategy on an instrument of which no tick will ever come."""
    account = draft.entries("accounts").get(str(strategy.get("account")), {})
    delivered = _delivered(draft, account, known)
    for symbol in _words(strategy.get("instruments")):
        if symbol in known and delivered and symbol not in delivered:
            feed, name = join_path("feeds", account["feed"]), join_path("accounts", strategy["account"])
            hint = did_you_mean(symbol, delivered, "it has")
            report(f"{path}.instruments", f"{quoted(symbol)} is not in {feed}, the feed of {name}; {hint}")


def _delivered(draft: Draft, account: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """The instruments of an account's feed; empty where nobody knows: there is no such feed, or it has a misspelt one."""
    feed = _used_feeds(draft).get(str(account.get("feed")))
    symbols = [] if feed is None else list(FEEDS[feed["kind"]].symbols(feed))
    return symbols if all(symbol in known for symbol in symbols) else []


def _why_closed(kind: Any, folder: Path, reader: Reader) -> str | None:
    """Why the file of a strategy cannot be read by its reader. One that is not there has been reported already."""
    if not isinstance(kind, str) or ":" not in kind:
        return None
    file = folder / reader.place(kind.rpartition(":")[0])
    try:
        return reader.why_closed(file) if file.is_file() else None
    except (OSError, ValueError):
        return None


# --- accounts -------------------------------------------------------------------------------------------------------------


def _look_at_accounts(draft: Draft, known: set[str], instruments: Mapping[str, Instrument], report: Report) -> None:
    """What an account names and nothing else checks: the instruments of its tables, and its currency."""
    for name, account in draft.entries("accounts").items():
        path = join_path("accounts", name)
        for symbol in _words(_table(account, "risk").get("instruments")):
            if symbol not in known:
                report(f"{path}.risk.instruments", _unknown(symbol, known))
        paper = _table(account, "paper") if account.get("venue") == "paper" else {}
        for symbol in _table(paper, "financing"):
            if symbol not in known:
                report(join_path(f"{path}.paper.financing", symbol), _unknown(symbol, known))
        _look_at_currencies(draft, name, _table(paper, "conversion_rates"), instruments, report)


def _look_at_currencies(
    draft: Draft, name: str, rates: Mapping[str, Any], instruments: Mapping[str, Instrument], report: Report
) -> None:
    """An account's currency must exist, and whatever is traded must be worth something in it."""
    path, account = join_path("accounts", name), draft.entries("accounts")[name]
    currencies = {currency for one in instruments.values() for currency in (one.base, one.quote)}
    own = account.get("currency", "USD")
    pairs = [pair for pair in rates if _is_pair(pair)]
    if not isinstance(own, str) or not CURRENCY.search(own):
        return
    for pair in pairs:
        for currency in pair.split("_"):
            if currency not in currencies and currency != own:
                hint = did_you_mean(currency, currencies, "known are")
                report(
                    join_path(f"{path}.paper.conversion_rates", pair),
                    f"there is no currency {quoted(currency)}; {hint}",
                )
    if own not in currencies and not any(own in pair.split("_") for pair in pairs):
        hint = did_you_mean(own, currencies, "known are")
        report(f"{path}.currency", f"found {quoted(own)}, in which no instrument is quoted; {hint}")
        return
    for currency, symbol in _traded(draft, name, instruments).items():
        if conversion_path(currency, own, [*_delivered(draft, account, instruments), *pairs]) is None:
            report(
                f"{path}.currency",
                f"nothing leads from {currency}, in which {symbol} is quoted, to {own}, so its orders would be rejected; have "
                f"{join_path('feeds', account['feed'])} deliver a pair that does, or give one in "
                f"{path}.paper.conversion_rates",
            )


def _traded(draft: Draft, name: str, instruments: Mapping[str, Instrument]) -> dict[str, str]:
    """In which currencies the instruments of an account's strategies are quoted, with the first of each."""
    delivered = _delivered(draft, draft.entries("accounts")[name], instruments)
    quoted_in: dict[str, str] = {}
    for strategy in draft.entries("strategies").values():
        if strategy.get("account") == name and strategy.get("enabled") is not False:
            for symbol in _words(strategy.get("instruments")):
                if symbol in instruments and symbol in delivered:
                    quoted_in.setdefault(instruments[symbol].quote, symbol)
    return quoted_in


def _is_pair(text: Any) -> bool:
    return isinstance(text, str) and len(text.split("_")) == 2 and all(text.split("_"))


# --- words ----------------------------------------------------------------------------------------------------------------


def _unknown(symbol: str, known: set[str]) -> str:
    hint = did_you_mean(symbol, known, "known are").removesuffix("?")
    return f"{quoted(symbol)} is not known; {hint}? Describe another under [{join_path('instruments', symbol)}]"


def _table(table: Any, key: str) -> dict[str, Any]:
    inner = table.get(key)
    return inner if isinstance(inner, dict) else {}


def _words(value: Any) -> list[str]:
    """An array of strings as it stands in the file; what is none is nobody's reference."""
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _is_one_of(value: Any, names: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value in names
