"""Books on a server that goes away: what each policy does, mid-run and at the start, and that nothing is lost or doubled."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.scenarios.support import Home, Process, Story, story_undisturbed
from tests.scenarios.support_servers import (
    AWAY,
    BACK,
    TICKS,
    Away,
    Quick,
    denials,
    paced,
    said_after,
    said_by,
    spooled,
    until_away,
    until_back,
)
from tests.scenarios.test_signals_systemd import Ear
from tests.servers.postgres import PostgresServer, connected
from tradekeel.bootstrap.commands import kill
from tradekeel.cli.live import picture
from tradekeel.runtime.faults import FAIL_AT, KILL_AT, POINTS_TO
from tradekeel.storage import migrating
from tradekeel.storage.postgres.lease import LOCK_CLASS
from tradekeel.storage.schema import REVISIONS
from tradekeel.storage.store import Store

OwnPostgres = Callable[..., PostgresServer]
Begin = Callable[..., Away]

SLOW = "10"
"""A minute and a half of trading: a server has time to come back, on a busy machine, too."""

HALT, REDUCE_ONLY, MEMORY = ({"on_store_failure": f'"{word}"'} for word in ("halt", "reduce_only", "memory"))


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Story]:
    """The story of the same run with its books in a file, with nothing done to it."""
    return story_undisturbed(paced(speed="max"))


@pytest.fixture
def begin(place: Path, own_postgres: OwnPostgres) -> Begin:
    """Makes a home with its books on a server of its own; ``more`` goes into ``[storage]``."""

    def make(more: Mapping[str, Any] | None = None, toml: str = "") -> Away:
        server = own_postgres()
        home = Home(place / "home", toml or paced(), Quick(server.admin_url, more or {}))
        return Away(home, server, str(home.at.place))

    return make


def until_it_trades(process: Process, decisions: int = 10) -> None:
    """Wait until both accounts are in the middle of it."""
    process.until_trading("a")
    process.until_trading("b")
    process.until_passed("executor.decide.before", decisions)


def trade_until_it_is_away(
    away: Away, process: Process, fault: Callable[[PostgresServer], None] = PostgresServer.kill
) -> None:
    """Let the daemon trade for a while, take its server from it, and wait until it has noticed."""
    until_it_trades(process)
    fault(away.server)
    until_away(process)


def until_said(process: Process, mark: str, pattern: str, count: int = 1) -> None:
    """Wait for so many lines of this kind behind the last one with ``mark``."""
    process.until(lambda: len(said_after(process.log, mark, pattern)) >= count, f"no {pattern!r} behind {mark!r}")


# --- while it trades ----------------------------------------------------------------------------------------------------


def test_reduce_only_takes_no_entries_while_it_is_away_exits_go_on_and_ends_by_itself(begin: Begin) -> None:
    away = begin(REDUCE_ONLY)
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        until_said(process, AWAY, "denied: .*store_away")
        until_said(process, AWAY, " closed ")
        assert "no new exposure until it is back" in process.log
        assert spooled(away.home) != []

        away.server.start()
        until_back(process)
        until_said(process, BACK, " opened ")
        assert process.end() == 0

    away.is_whole()
    assert denials(away.home, "a").keys() | denials(away.home, "b").keys() == {"store_away"}
    between = process.log[process.log.index(AWAY) : process.log.index(BACK)]
    held_s = [line for line in between.splitlines()[2:] if " opened " in line]
    assert len(held_s) <= 2, "what was decided before it was noticed may still fill, and nothing else"


def test_a_server_that_refuses_our_writes_is_one_that_is_away_and_its_words_are_said(begin: Begin) -> None:
    away = begin(REDUCE_ONLY)
    with away.home.start() as process:
        until_it_trades(process)
        with connected(away.url) as admin:
            admin.execute(
                "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'closed for the weekend'; END $$"
            )
            admin.execute(
                "CREATE TRIGGER closed BEFORE INSERT ON trading.journal FOR EACH ROW EXECUTE FUNCTION public.refuse()"
            )
            until_away(process)
            assert "closed for the weekend" in process.log[process.log.index(AWAY) :].splitlines()[0]
            until_said(process, AWAY, " closed ")
            admin.execute("DROP TRIGGER closed ON trading.journal")
        until_back(process)
        assert process.end() == 0
    away.is_whole()


def test_memory_trades_on_and_everybody_is_told_that_the_promise_does_not_hold_until_it_is_back(
    begin: Begin, place: Path, hear: Callable[[Path], Ear], undisturbed: dict[str, Story]
) -> None:
    away = begin(MEMORY)
    ear = hear(place)
    with away.home.start({"NOTIFY_SOCKET": str(ear.path)}) as process:
        until_it_trades(process)
        assert away.home.status.get("store", {}).get("promise_holds", True)
        away.server.kill()
        until_away(process)
        until_said(process, AWAY, " opened ")
        process.until(
            lambda: not away.home.status.get("store", {}).get("promise_holds", True), "the status does not say so"
        )

        assert "kept in memory only: until it is back, a kill loses what has happened" in process.log
        for name, reported in zip(away.accounts, away.status()["reported"], strict=True):
            assert reported["account"] == name
            assert reported["state"] == "trading"
            assert reported["balance"] is not None
            assert reported["trades"] is not None
        assert "as the daemon says" in away.status_text()
        told = away.status()["store"]
        assert (told["mode"], told["promise_holds"], told["on_failure"]) == ("away", False, "memory")
        assert told["batches_waiting"] > 0
        for shown in (away.status_text(), drawn(away.home)):
            assert "the books' server is away: " in shown
            assert "trading goes by memory" in shown
            assert "a kill loses them, the promise does not hold" in " ".join(shown.split())
        assert any("nothing is kept beyond this process" in line for line in ear.said("STATUS"))
        assert spooled(away.home) == []

        away.server.start()
        until_back(process)
        assert process.end() == 0
    assert away.home.status["store"]["promise_holds"]
    away.is_whole(undisturbed)


@pytest.fixture
def hear() -> Iterator[Callable[[Path], Ear]]:
    """Listens as the service manager does."""
    ears: list[Ear] = []

    def listen(folder: Path) -> Ear:
        ears.append(Ear(folder / "notify"))
        return ears[-1]

    yield listen
    for ear in ears:
        ear.close()


def drawn(home: Home) -> str:
    """The live view of what a daemon says of itself."""
    out = io.StringIO()
    Console(file=out, width=200).print(picture(home.status, 200))
    return out.getvalue()


def test_a_paper_account_trades_on_in_memory_where_nothing_else_is_said(begin: Begin) -> None:
    away = begin()
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        assert "kept in memory only" in process.log
        process.kill()


def test_halt_sends_nothing_until_a_person_releases_it_also_when_the_server_is_back(begin: Begin) -> None:
    away = begin(HALT)
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        until_said(process, AWAY, "denied: .*halted")
        assert "all accounts are halted until a person releases them" in process.log
        away.server.start()
        until_back(process)
        process.until(lambda: is_halted(away.home), "the status does not say that it is halted")
        assert said_after(process.log, BACK, " opened ") == []

        assert away.home.command("release") == (True, "a is released; b is released")
        until_said(process, "b is released", " opened ")
        assert process.end() == 0

    found = [text for text in away.home.wrong("a", "b") if "was latched: halted" not in text]
    assert found + away.home.unverified() == []
    assert spooled(away.home) == []


def is_halted(home: Home) -> bool:
    """Whether both accounts say so."""
    accounts = home.status.get("accounts", {})  # none while it starts
    return bool(accounts) and all(account.get("latch") == "halted" for account in accounts.values())


@pytest.mark.parametrize("fault", ["paused", "restarted", "killed twice"])
def test_with_the_spool_a_run_that_was_disturbed_is_whole_whatever_the_fault(begin: Begin, fault: str) -> None:
    away = begin(REDUCE_ONLY, paced(2 * TICKS))  # it is not over before everything was brought
    with away.home.start() as process:
        until_it_trades(process)
        match fault:
            case "paused":
                away.server.pause()
                until_away(process)
                until_said(process, AWAY, "denied: .*store_away")
                away.server.resume()
            case "restarted":
                away.server.restart()
                until_away(process)
            case _:
                away.server.kill()
                until_away(process)
                away.server.start()
                process.until_passed("standin.met", 2)
                away.server.kill()
                until_said(process, AWAY, "denied: .*store_away")
                away.server.start()
        until_back(process)
        assert process.end() == 0
    away.is_whole()


def test_a_disk_that_hangs_under_the_spool_is_noticed_and_the_next_start_goes_on(begin: Begin) -> None:
    """Nothing would be answered any more, no exit sent, and the status would say that all is well."""
    away = begin(REDUCE_ONLY, paced().replace("stall_limit_s = 60", "stall_limit_s = 2"))
    hang = ["tests.scenarios.support_hang", str(away.home.config), "thread", "spool.written", "1"]
    with Process(away.home, {POINTS_TO: ""}, hang) as process:
        process.until_trading("a")
        process.until_trading("b")
        away.server.kill()
        assert process.end() == 70
        assert "recorder has made no progress" in process.log
    away.server.start()
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole()


def test_a_server_that_answers_late_is_no_thread_that_hangs_and_is_waited_for(begin: Begin) -> None:
    """For longer than an actor may make no progress, and not as long as an answer may take."""
    away = begin({**REDUCE_ONLY, "statement_timeout_s": 8}, paced().replace("stall_limit_s = 60", "stall_limit_s = 1"))
    with away.home.start() as process:
        until_it_trades(process)
        away.server.pause()
        process.wait_s(5)
        away.server.resume()
        assert process.end() == 0, process.log[-2_000:]
        assert AWAY not in process.log
    away.is_whole()


# --- killed while it is away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["spool.written:1", "spool.synced:1", "standin.kept:1", "standin.kept:2"])
def test_killed_while_batches_wait_and_started_with_the_server_back_the_run_is_the_one_that_was_never_disturbed(
    begin: Begin, undisturbed: dict[str, Story], point: str
) -> None:
    away = begin(REDUCE_ONLY)
    with away.home.start({KILL_AT: point}) as process:
        until_it_trades(process)
        away.server.kill()
        assert process.end() == -signal.SIGKILL  # before anybody was told that entries are held
    assert spooled(away.home) != []
    away.server.start()
    with away.home.start() as process:
        assert process.end() == 0
        passed = process.points()
    assert passed.index("spool.drained") < passed.index("executor.recover.loaded")
    away.is_whole(undisturbed)


def test_killed_again_and_again_while_it_is_away_it_waits_says_so_and_a_stop_ends_it_at_once(
    begin: Begin, place: Path, hear: Callable[[Path], Ear]
) -> None:
    away = begin(REDUCE_ONLY)
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        until_said(process, AWAY, "denied: .*store_away")
        process.kill()
    waiting = spooled(away.home)
    size = sum(path.stat().st_size for path in waiting)
    assert f"acknowledged batches ({size:,} bytes) wait in" in away.status_text()
    assert away.status()["waiting"]["batches"] > 0
    ear = hear(place)
    with away.home.start({"NOTIFY_SOCKET": str(ear.path)}) as process:
        process.until(
            lambda: "waiting for the books' server" in away.home.status.get("doing", ""), "it does not say so"
        )
        told = away.status()
        assert "waiting for the books' server" in told["doing"]
        assert (told["running"], told["ready"]) == (True, False)
        assert "is starting" in away.status_text()
        assert "waiting for the books' server: the server that keeps the books is away" in away.status_text()
        assert any("waiting for the books' server" in line for line in ear.said("STATUS"))
        process.send(signal.SIGTERM)
        assert process.end() == 0
        assert "stopped before recovery was done: nothing was traded" in process.log
    assert spooled(away.home) == waiting
    with away.home.start() as process:
        process.until(lambda: "waiting for the books' server" in process.log, "it does not wait")
        process.kill()
    away.server.start()
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole()


def test_a_start_that_waits_ends_at_a_stop_keeps_a_kill_and_refuses_the_rest_with_what_it_waits_for(
    begin: Begin,
) -> None:
    away = begin(HALT)
    away.server.kill()
    with away.home.start() as process:
        process.until(lambda: "waiting for the books' server" in process.log, "it does not wait")
        for command in ("pause", "release", "reload"):
            ok, said = away.home.command(command)
            assert not ok
            assert said.startswith("nothing done: the daemon is still waiting for the books' server: ")
        assert "there is no account 'c'" in away.home.command("kill", account="c")[1]
        answer = kill(away.home.place, "a", "by hand", "operator")
        assert answer.ok
        assert "a will start halted" in answer.message
        assert away.home.command("stop") == (True, "stopping")
        assert process.end() == 0
        assert "stopped before recovery was done: nothing was traded" in process.log
    away.server.start()
    with away.home.start() as process:
        process.until_trading("b")
        process.send(signal.SIGTERM)
        process.end()
        assert "a is halted by latch file: by hand" in process.log
    assert away.home.execution("a")["latch"] == "halted"


def test_killed_while_it_trades_in_memory_what_is_lost_is_found_and_nothing_is_traded_on_it(begin: Begin) -> None:
    away = begin(MEMORY)
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        until_said(process, AWAY, "a strategy=ema.* opened |ema opened ", 2)
        process.kill()
    away.server.start()
    with away.home.start() as process:
        process.until(lambda: "a is not trading" in process.log or "a is halted" in process.log, "it does not halt")
        process.send(signal.SIGTERM)
        assert process.end() in (0, 4, 5)
    assert away.home.execution("a")["latch"] == "halted"


# --- a start while it is away -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [HALT, REDUCE_ONLY])
def test_a_start_that_may_not_go_without_the_server_waits_for_it_and_then_begins(begin: Begin, policy: str) -> None:
    away = begin(policy)
    away.server.kill()
    with away.home.start() as process:
        process.until(lambda: "waiting for the books' server" in process.log, "it does not wait")
        assert "executor.recover.loaded" not in process.passed()
        away.server.start()
        assert process.end() == 0
    away.is_whole()


def test_a_paper_account_begins_in_memory_says_so_and_leaves_everything_as_it_was(
    begin: Begin, undisturbed: dict[str, Story]
) -> None:
    away = begin(MEMORY)
    with away.home.start() as process:
        until_it_trades(process)
        process.send(signal.SIGTERM)
        assert process.end() == 0
    before = {account: away.home.ledger(account).read_bytes() for account in away.accounts}
    marked = (away.home.state / "running").read_bytes()
    away.server.kill()
    away.home.configure(paced(speed=SLOW))
    with away.home.start() as process:
        process.until_trading("a")
        process.until(lambda: not away.home.status.get("store", {}).get("promise_holds", True), "it does not say so")
        assert "the accounts begin in memory, without what was there, and nothing of it is kept" in process.log
        assert "was away at the start" in away.status()["store"]["books"]
        assert "the promise does not hold" in away.status_text()
        process.until(lambda: " opened " in process.log, "it does not trade")
        assert "halted" not in process.log
        assert [account["number"] for account in away.status()["accounts"]] == [1, 1], "of the books in memory"
        assert "the server is back" not in process.log
        away.server.start()
        process.until(lambda: "the server is back: stop and start again" in process.log, "it does not say so")
        told = away.status()
        of_the_daemon = {name: account["execution"] for name, account in away.home.status["accounts"].items()}
        assert {account["account"]: account["execution"] for account in told["accounts"]} == of_the_daemon
        for command in ("trades", "positions"):
            first = said_by(command, str(away.home.config)).splitlines()[0]
            assert "the daemon keeps its books in memory since" in first
            assert "those on the server, as they were before" in first
        away.server.kill()
        process.send(signal.SIGTERM)
        assert process.end() == 0
    assert {account: away.home.ledger(account).read_bytes() for account in away.accounts} == before
    assert (away.home.state / "running").read_bytes() == marked
    away.server.start()
    away.home.configure(paced())
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole(undisturbed)


def test_what_would_refuse_a_start_is_looked_at_when_the_server_is_back(begin: Begin) -> None:
    away = begin(REDUCE_ONLY)
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        process.kill()
    text = away.home.config.read_text()
    away.home.config.write_text(text.replace("seed = 11", "seed = 12"))
    with away.home.start() as process:
        process.until(lambda: "waiting for the books' server" in process.log, "it does not wait")
        away.server.start()
        assert process.end() == 2
        assert "its data or options are not those that execution" in process.log
    assert spooled(away.home) == []
    away.home.config.write_text(text)
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("password", "Check user and password (storage.url and storage.password, or a script's URL)"),
        ("database", "Make the database first: CREATE DATABASE"),
        ("rights", "This role may not do that: run `tradekeel db upgrade` as the owner"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_not_away_the_start_is_refused(begin: Begin, what: str, said: str) -> None:
    away = begin(MEMORY)
    secret = away.home.folder / "password"
    text = away.home.config.read_text()
    match what:
        case "password":
            secret.write_text("another one")
        case "database":
            name = away.url.rpartition("/")[2]
            away.home.config.write_text(text.replace(f"/{name}", "/nobodys"))
        case _:
            with connected(away.url) as admin:
                admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'let me in'")
            secret.write_text("let me in")
            away.home.config.write_text(text.replace("postgres@", "stranger@"))
    with away.home.start() as process:
        assert process.end() == 70
        assert said in process.log
        assert "begin in memory" not in process.log
        assert "a bug of ours" not in process.log


@pytest.mark.parametrize("policy", [HALT, REDUCE_ONLY, MEMORY])
def test_books_of_an_earlier_schema_that_a_start_may_not_change_are_refused_and_their_server_is_not_away(
    begin: Begin, policy: Mapping[str, Any]
) -> None:
    away = begin({**policy, "migrations": '"refuse"'})
    Store.open(away.home.place.where, now_ns=1).close()
    migrating.downgrade(away.home.place.where, REVISIONS[-2], 2)
    with away.home.start() as process:
        assert process.end() == 2
        assert "tradekeel db upgrade" in process.log
        assert "away" not in process.log
        assert "begin in memory" not in process.log
    assert "tradekeel db upgrade" in away.status()["problem"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("rights", "the user keel does not own the tables"),
        ("writers", "daemon night-watch writes there"),
        ("another migration", "by a migration of that name which said something else"),
    ],
)
def test_a_schema_that_cannot_be_changed_is_no_server_that_is_away_the_start_is_refused(
    begin: Begin, what: str, said: str
) -> None:
    away = begin({**MEMORY, "migrations": '"upgrade"'})
    Store.open(away.home.place.where, now_ns=1).close()
    migrating.downgrade(away.home.place.where, REVISIONS[-2], 2, backup=False)
    with connected(away.url) as admin:
        match what:
            case "rights":
                admin.execute("CREATE ROLE keel LOGIN PASSWORD 'let me in' IN ROLE trading_adapter")
                (away.home.folder / "password").write_text("let me in")
                away.home.config.write_text(away.home.config.read_text().replace("postgres@", "keel@"))
            case "writers":
                hold(admin, "night-watch")
            case _:
                admin.execute("UPDATE trading.migration_history SET checksum = 'another' WHERE version = '0001'")
        with away.home.start() as process:
            assert process.end() == 70
            assert said in process.log
            assert "begin in memory" not in process.log
            assert "cannot be reached" not in process.log
            assert "a bug of ours" not in process.log


def test_a_standby_that_would_change_the_schema_stands_by_until_nobody_writes_any_more(begin: Begin) -> None:
    away = begin({**MEMORY, "standby": "true"})
    Store.open(away.home.place.where, now_ns=1).close()
    migrating.downgrade(away.home.place.where, REVISIONS[-2], 2, backup=False)
    with connected(away.url) as other:
        hold(other, "night-watch")
        with away.home.start() as process:
            process.until(lambda: "standing by: " in process.log, "it does not stand by")
            assert "daemon night-watch writes there" in process.log
            assert "the daemon is still standing by: " in away.home.command("pause")[1]
            other.execute("SELECT pg_advisory_unlock_all()")
            assert process.end() == 0
            assert "begin in memory" not in process.log
    away.is_whole()


def hold(admin: Any, daemon: str) -> None:
    """Write into the books, as a daemon does."""
    admin.execute(
        "INSERT INTO trading.leases (account, daemon, holder, epoch, batch, since_ns, until_ns) "
        "VALUES ('elsewhere', %s, 'there', 1, 0, 0, 0)",
        (daemon,),
    )
    admin.execute("SELECT pg_advisory_lock(%s::int, hashtext(%s))", (LOCK_CLASS, daemon))


# --- stops, reloads, restarts of an account meanwhile -------------------------------------------------------------------------


def test_a_stop_while_it_is_away_is_in_order_keeps_the_spool_and_says_what_waits(
    begin: Begin, undisturbed: dict[str, Story]
) -> None:
    away = begin(REDUCE_ONLY)
    with away.home.start() as process:
        trade_until_it_is_away(away, process, PostgresServer.pause)
        process.send(signal.SIGTERM)
        assert process.end() == 0
        assert "batches wait in" in process.log
        assert "the next start brings them there before it trades" in process.log
    assert spooled(away.home) != []
    away.server.resume()
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole()


def test_a_stop_while_it_is_away_in_memory_says_what_is_lost(begin: Begin) -> None:
    away = begin(MEMORY)
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        process.send(signal.SIGTERM)
        assert process.end() == 0, process.log
        assert "batches waited for the books' server in memory, and are lost" in process.log


def test_a_stop_just_behind_an_outage_brings_what_waits_in_memory_whatever_the_breaker_says(begin: Begin) -> None:
    away = begin({**MEMORY, "breaker_open_s": 600})
    with away.home.start() as process:
        until_it_trades(process)
        away.server.kill()
        process.until(lambda: away.home.status.get("store", {}).get("breaker") == "open", "the breaker does not open")
        away.server.start()
        process.send(signal.SIGTERM)
        assert process.end() == 0, process.log
        assert "are lost" not in process.log
    assert away.home.unverified() == []
    with away.home.start() as process:
        assert process.end() == 0
    away.is_whole()


def test_a_reload_while_it_is_away_is_refused_where_an_account_would_stand_still(begin: Begin) -> None:
    away = begin(REDUCE_ONLY)
    with away.home.start() as process:
        trade_until_it_is_away(away, process)
        text = away.home.config.read_text()
        away.home.config.write_text(text.replace("checkpoint_every_s = 0.3", "checkpoint_every_s = 0.4"))
        ok, said = away.home.command("reload")
        assert not ok
        assert "an account that is built anew would stand still until it is back" in said
        away.server.start()
        until_back(process)
        assert away.home.command("reload")[0]
        assert process.end() == 0
    away.is_whole()


def test_an_account_that_fails_while_it_is_away_waits_for_it_and_the_other_one_trades_on(begin: Begin) -> None:
    away = begin(MEMORY)
    with away.home.start({FAIL_AT: "a/executor:Decide:60"}) as process:
        trade_until_it_is_away(away, process)
        process.until(lambda: "a/executor failed" in process.log, "it does not fail")
        process.until(lambda: "the feed of b has ended" in process.log, "the other account does not trade on")
        assert process.passed()["executor.recover.loaded"] == 2
        away.server.start()
        until_back(process)
        process.until_passed("executor.recover.loaded", 3)
        assert process.end() == 0
    away.is_whole()
