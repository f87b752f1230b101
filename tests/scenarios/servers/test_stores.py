"""One daemon, wherever its books are: its life, its restarts and all that is read from them are the same."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.process import HOARDER, NOTES
from tests.campaigns.kill.stores import Books, BooksStore, Databases
from tests.integration.cli_daemon import call
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, Process, fail_at, told_differently
from tradekeel.bootstrap.place import Place
from tradekeel.storage import tables
from tradekeel.storage.sqlite import InMemory
from tradekeel.storage.store import Store

TICKS = 300
PAIR = configs.pair(TICKS)


def numbers(home: Home) -> list[tuple[int, str]]:
    return [(row["number"], row["close_reason"]) for row in home.ours("a").executions]


def test_runs_end_go_on_and_begin_anew_and_are_those_of_a_file(tmp_path: Path, store: BooksStore) -> None:
    in_a_file = Home(tmp_path / "file", PAIR)
    assert in_a_file.live().code == 0
    reference = {account: in_a_file.story(account) for account in "ab"}

    home = Home(tmp_path / "home", PAIR, store)
    lives = home.live_to_the_end({"recorder:Commit": fail_at(30)})
    assert [life.code for life in lives] == [70, 0], lives[-1].log
    assert told_differently(reference, home) == []
    assert home.wrong("a", "b") + home.unverified() == []

    assert home.live().code == 0
    assert [number for number, _ in numbers(home)] == [1, 2]
    home.live({"recorder:Commit": fail_at(30)})
    assert home.live(fresh=True).code == 0
    assert [number for number, _ in numbers(home)] == [1, 2, 3, 4]
    assert numbers(home)[2] == (3, "started fresh")
    assert home.unverified() == []


def steady(fast: int = 8) -> str:
    """One account on a market that does not end."""
    more = configs.EMA.replace("fast = 8", f"fast = {fast}")
    return (
        configs.head()
        + configs.market(1_000_000, speed="2000")
        + configs.account("a")
        + configs.strategy("ema", "a", params=more)
    )


def test_it_is_paused_reloaded_stopped_killed_and_goes_on(tmp_path: Path, store: BooksStore) -> None:
    home = Home(tmp_path, steady(), store)
    with home.start() as daemon:
        daemon.until_trading()
        assert home.command("pause", account="a", reason="lunch", by="anna")[0]
        daemon.until(lambda: bool(home.execution("a")["paused"]), "the pause is not in the books")
        home.configure(steady(fast=6))
        assert home.command("reload", by="anna")[0]
        daemon.until(lambda: len(home.rows("parameter_history")) == 1, "the change is not in the books")
        status = call("status", home.config, "--json")
        assert status.returncode == 0, status.stderr
        daemon.kill()
    first = home.execution("a")
    assert first["paused"]
    with home.start() as daemon:
        daemon.until(lambda: "a is reconciled" in daemon.log, "it does not come back")
        assert home.command("resume", account="a", by="anna")[0]
        daemon.until(lambda: not home.execution("a")["paused"], "the resume is not in the books")
        daemon.until(lambda: home.open_trades("a") > 0, "it does not trade")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0, daemon.log
    assert home.execution("a")["execution"] == first["execution"]
    assert {(row["name"], row["old"], row["new"]) for row in home.rows("parameter_history")} == {
        ("strategies.ema.params.fast", "8", "6")
    }
    verified = call("verify", home.config)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert home.wrong("a", ended=False) == []


# --- what is read ------------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(tmp_path: Path, databases: Databases) -> tuple[Home, Home]:
    """The same books twice, in a file and on a server, row by row: a run that was broken off, and a whole one behind it."""
    home = Home(tmp_path, PAIR)
    home.live({"recorder:Commit": fail_at(40)})
    assert home.live(fresh=True).code == 0
    other = Home(tmp_path, PAIR, databases)
    other.config = tmp_path / "scenari2.toml"  # as long as the other's: tables are made to fit
    other.configure(PAIR)
    home.configure(PAIR)
    transplant(home.place, other.place)
    return home, other


def transplant(source: Place, target: Place) -> None:
    """Copy all rows; who wrote them is forgotten, their numbers are not."""
    Store.open(target.where, now_ns=0).close()
    with closing(source.where.connect(read_only=True)) as old, closing(target.where.connect()) as new:
        new.execute("SET session_replication_role = replica")
        for table in tables.metadata.sorted_tables:
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            new.execute(f'DELETE FROM "{table.name}"')
            rows = old.execute(f'SELECT {names} FROM "{table.name}"').fetchall()
            if rows:
                places = ", ".join("?" * len(table.columns))
                new.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({places})', rows)


READING = [
    *(
        (kind, *more)
        for kind in ("trades", "orders", "fills", "signals", "events", "snapshots", "executions", "parameters")
        for more in ((), ("--all-runs", "-n", "0"))
    ),
    ("trades", "--status", "closed", "--account", "b", "--strategy", "floor"),
    ("trades", "--since", "2024-01-03T13:00:30Z", "--until", "2024-01-03T13:01:30Z", "-n", "0"),
    ("orders", "--status", "filled", "-n", "5"),
    ("orders", "--instrument", "EUR_USD", "--account", "a"),
    ("fills", "--strategy", "ema", "-n", "0"),
    ("events", "--journal", "-n", "0"),
    ("events", "--journal", "--type", "decision_taken", "--all-runs", "-n", "7"),
    ("positions",),
    ("positions", "--all-runs"),
    ("status",),
    ("verify",),
    ("db", "history"),
]


def test_every_reading_command_says_the_same_of_the_same_books(twins: tuple[Home, Home]) -> None:
    in_a_file, on_a_server = twins
    for words in READING:
        for form in ((), ("--json",)):
            said = [_said(home, *words, *form) for home in (in_a_file, on_a_server)]
            assert said[0] == said[1], words
            assert said[0][1], words


def _said(home: Home, *words: str) -> tuple[int, str, str]:
    done = call(*_with_target(words, home.config))
    texts = [done.stdout, done.stderr]
    for where in (str(home.place.where), home.config.name):  # all that may differ, and the line breaks that it makes
        texts = [re.sub(r"\s+", " ", text.replace(where, "…")) for text in texts]
    texts = [re.sub(r'"status_age_s": [0-9.]+', "", text) for text in texts]  # one is asked after the other
    return done.returncode, texts[0], texts[1]


def _with_target(words: tuple[str, ...], config: Path) -> Iterator[Any]:
    count = 2 if words[0] == "db" else 1
    yield from words[:count]
    yield config
    yield from words[count:]


# --- a thousand open trades --------------------------------------------------------------------------------------------

TRADES = 1_000
HOARDING = (
    configs.head(cut_every_s=0.2)
    + configs.market(2_000_000, speed="max")
    + configs.account("a", exits="monitor", more="balance = 10_000_000")
    + configs.strategy("hoarder", "a", f"{HOARDER}:Hoarder", f"trades = {TRADES}, after = 20, each = 50")
)


def test_a_thousand_open_trades_are_recovered_field_by_field(tmp_path: Path, store: BooksStore) -> None:
    home = Home(tmp_path, HOARDING, store)
    notes = {NOTES: str(home.config)}
    with home.start(notes) as daemon:
        until_full(daemon, home)
        daemon.kill()
    before = held(home)
    assert len(before) == TRADES
    with home.start(notes) as daemon:
        daemon.until_trading()
        assert f"{TRADES:,} trades from {home.place.where.described}" in daemon.log, daemon.log
        assert held(home) == before
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0, daemon.log
    assert held(home) == before
    assert home.wrong("a", ended=False) + home.unverified() == []


def until_full(daemon: Process, home: Home) -> None:
    """Wait until the strategy has heard of every fill, and the books have them all."""
    daemon.until(home.config.with_suffix(".full").is_file, "it does not get its trades")
    daemon.until(lambda: home.open_trades("a") == TRADES, "they are not in the books")


def held(home: Home) -> list[dict[str, Any]]:
    """Every open trade with every field, and the orders and fills that made it."""
    ours = home.ours("a")
    return [row for row in ours.trades if row["status"] in ("OPEN", "CLOSING")]


def test_books_in_memory_end_with_the_process_and_so_does_what_was_held_on_paper(tmp_path: Path) -> None:
    home = Home(tmp_path, HOARDING)
    in_memory = Place(home.state, home.config, storage={"enabled": False}).where
    assert isinstance(in_memory, InMemory)
    home.at = Books(in_memory.path, {"enabled": "false"})
    home.configure(HOARDING)
    notes = {NOTES: str(home.config)}
    with home.start(notes) as daemon:
        until_full(daemon, home)
        assert home.unverified() == []
        daemon.kill()
    first = home.execution("a")["execution"]
    home.config.with_suffix(".full").unlink()
    with home.start(notes) as daemon:
        until_full(daemon, home)
        assert "nothing of them is left" in daemon.log
        (run,) = home.ours("a").executions
        assert run["execution"] != first
        assert run["number"] == 1
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0, daemon.log
    assert not in_memory.path.parent.exists(), "one that ends in order leaves nothing behind"
