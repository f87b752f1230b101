"""Two daemons, one account, and books that both can reach: one of them trades, and it is never in doubt which."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.campaigns.kill.stores import Books, BooksStore
from tests.scenarios.support import Home, Process
from tests.scenarios.support_servers import Quick, paced, spooled, until_away, until_back
from tests.servers.ports import HOST
from tests.servers.postgres import PostgresServer, connected
from tests.servers.proxy import TcpProxy

OwnPostgres = Callable[..., PostgresServer]

ACCOUNTS = ("a", "b")
LEASE_S = 5
WRITTEN = "session.place.on_the_wire"
DECIDED = "executor.decide.before"
LONG = 60_000
"""Ticks for minutes, so that no test sees their end: each stops its daemons itself."""


class SharedBy(BooksStore):
    """The books of one home, for another one."""

    def __init__(self, books: Books, more: Mapping[str, Any]) -> None:
        self._books = Books(books.place, {**books.storage, **more})

    def fresh(self, home: Path) -> Books:
        return self._books

    def as_left(self, books: Books, scene: Path) -> Books:
        raise NotImplementedError("they are looked at where they are")

    def done(self, books: Books, home: Path, *, keep: bool) -> None:
        """They are the other one's."""


class Pair:
    """Two machines that may trade the same accounts."""

    def __init__(self, place: Path, server: PostgresServer, *, standby: bool) -> None:
        more = {"lease_s": LEASE_S, "standby": str(standby).lower(), "on_store_failure": '"reduce_only"'}
        self.server = server
        self.one = Home(place / "one", paced(LONG), Quick(server.admin_url, more))
        self.other = Home(place / "other", paced(LONG), SharedBy(self.one.at, more))

    def hand_over_the_venue(self) -> None:
        """The paper venue is a file beside its daemon; a real one would be the same for both."""
        self.other.state.mkdir(exist_ok=True)
        for path in self.one.state.glob("paper-*"):
            shutil.copyfile(path, self.other.state / path.name)


def in_the_middle(process: Process) -> None:
    """Wait until both accounts have done something."""
    process.until_trading("a")
    process.until_trading("b")
    process.until_passed(DECIDED, 20)


def until_its_lease_is_over(process: Process) -> None:
    """Wait until the daemon has ended since it cannot renew its lease."""
    until_away(process)
    assert process.end() == 70
    assert "our lease ends: a standby may take over" in process.log


def until_it_has_lost_server_and_lease(both: Pair) -> None:
    """The first one trades, its server stops answering, and it ends with its lease."""
    with both.one.start() as first:
        in_the_middle(first)
        both.server.pause()
        until_its_lease_is_over(first)


def stop(process: Process) -> None:
    """Stop it in order."""
    process.send(signal.SIGTERM)
    assert process.end() == 0


@contextmanager
def standing_still(process: Process) -> Iterator[None]:
    """Nothing of it runs meanwhile."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def is_whole(home: Home) -> None:
    """Both sides say the same, at any moment."""
    assert home.wrong(*ACCOUNTS, ended=False) == []
    assert home.unverified() == []


def test_a_second_daemon_with_the_same_account_elsewhere_is_refused_and_told_who_has_it_and_for_how_long(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both = Pair(place, own_postgres(), standby=False)
    with both.one.start() as first:
        in_the_middle(first)
        with both.other.start() as second:
            assert second.end() == 6
            assert "account a is traded by daemon scenario on " in second.log
            assert "whose lease runs for another " in second.log
            assert "a bug of ours" not in second.log
        stop(first)
    is_whole(both.one)


def test_a_lease_that_was_given_back_by_a_stop_is_free_at_once(place: Path, own_postgres: OwnPostgres) -> None:
    both = Pair(place, own_postgres(), standby=False)
    with both.one.start() as first:
        in_the_middle(first)
        stop(first)
    both.hand_over_the_venue()
    with both.other.start() as second:
        in_the_middle(second)
        stop(second)
    is_whole(both.other)


def test_a_standby_waits_says_for_whom_and_takes_over_when_the_first_one_is_killed(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both = Pair(place, own_postgres(), standby=True)
    with both.one.start() as first:
        in_the_middle(first)
        with both.other.start() as second:
            second.until(
                lambda: "standing by: account a is traded by" in both.other.status.get("doing", ""), "it does not"
            )
            second.until(
                lambda: "standing by: account a is traded by daemon scenario on " in second.log, "the log is silent"
            )
            assert re.search(
                r"standing by: .*, until 2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ by the server's clock", second.log
            )
            second.until(lambda: second.log.count("standing by: account a") > 1, "it does not say so again")
            assert "waiting for the books' server" not in second.log
            assert "executor.recover.loaded" not in second.passed()
            first.kill()
            both.hand_over_the_venue()
            in_the_middle(second)
            stop(second)
    is_whole(both.other)


def test_a_standby_takes_nothing_over_from_one_that_has_lost_the_server_only_and_trades_on(
    place: Path, own_postgres: OwnPostgres, proxy_before: Callable[[str], TcpProxy]
) -> None:
    """`storage.standby` is not set there, so nothing tells it to end with its lease: two would trade one account."""
    both = Pair(place, own_postgres(), standby=True)
    url = str(both.one.at.place)
    proxy = proxy_before(url)
    text = both.one.config.read_text().replace(urlsplit(url).netloc.rpartition("@")[2], f"{HOST}:{proxy.port}")
    both.one.config.write_text(text.replace("standby = true", "standby = false"))
    with both.one.start() as first:
        in_the_middle(first)
        with both.other.start() as second:
            second.until(lambda: "It does not end with its lease: set" in second.log, "it does not say so in time")
            proxy.refuse()
            proxy.cut()
            until_away(first)
            second.until(
                lambda: "has not given its lease back" in both.other.status.get("doing", ""), "the lease does not end"
            )
            # It decides on. Whether it also sends is chance: once it is flat, a store that is away leaves nothing to send.
            first.until_passed(DECIDED, first.passed()[DECIDED] + 5)
            assert "executor.recover.loaded" not in second.passed()
            proxy.normal()
            until_back(first)
            with standing_still(second):  # or it takes over before the venue is there
                stop(first)
                both.hand_over_the_venue()
            in_the_middle(second)
            stop(second)
    is_whole(both.other)


def test_one_that_was_frozen_until_another_has_taken_over_writes_and_sends_nothing_more_and_ends(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both = Pair(place, own_postgres(), standby=True)
    with both.one.start() as first:
        in_the_middle(first)
        first.send(signal.SIGSTOP)
        both.hand_over_the_venue()
        before, durable, written = shown(both.one), intended(both.one), first.passed()[WRITTEN]
        with both.other.start() as second:
            in_the_middle(second)
            first.send(signal.SIGCONT)
            assert first.end() == 70
            assert "a bug of ours" not in first.log
            # What was on its way when it froze arrives. Nothing leaves any more, but for a step that froze between look and leap.
            assert first.passed()[WRITTEN] - written <= 1
            for account, orders in shown(both.one).items():
                assert orders - before[account] <= durable
            assert spooled(both.one) == []
            stop(second)
    is_whole(both.other)


def test_where_a_standby_waits_nothing_is_kept_here_beyond_the_lease_and_the_daemon_ends(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both = Pair(place, own_postgres(), standby=True)
    until_it_has_lost_server_and_lease(both)
    both.server.resume()
    with both.one.start() as first:
        in_the_middle(first)
        stop(first)
    assert spooled(both.one) == []
    is_whole(both.one)


def test_one_whose_batches_fit_no_more_is_refused_at_once_and_not_when_it_is_needed(
    place: Path, own_postgres: OwnPostgres
) -> None:
    """It would stand by as if all were well, and end when the one that has taken over does."""
    both = Pair(place, own_postgres(), standby=True)
    until_it_has_lost_server_and_lease(both)
    waiting = spooled(both.one)
    assert waiting != []
    both.server.resume()
    both.hand_over_the_venue()
    with both.other.start() as second:
        second.until_passed("executor.recover.loaded", 2)
        with both.one.start() as first:
            assert first.end() == 4
            assert "has written for account a: what waits no longer fits" in first.log
            assert "standing by" not in first.log
        assert spooled(both.one) == waiting
        for path in waiting:
            path.rename(place / path.name)
        with both.one.start() as first:
            first.until(lambda: "standing by: account a is traded by" in first.log, "it does not stand by")
            second.send(signal.SIGTERM)
            assert second.end() in (0, 4)  # halted, where the venue has an order that only those batches know
            first.until_passed("executor.recover.loaded", 2)


def test_a_wall_clock_that_is_set_back_while_the_server_is_away_does_not_make_a_lease_longer(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both, set_back = Pair(place, own_postgres(), standby=True), place / "set back"
    with both.one.start_by_a_clock(-3_600, set_back) as first:
        in_the_middle(first)
        both.server.pause()
        set_back.touch()
        until_its_lease_is_over(first)
    both.server.resume()


def test_a_wall_clock_that_is_set_forward_ends_no_lease_that_can_be_renewed(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both, set_forward = Pair(place, own_postgres(), standby=True), place / "set forward"
    with both.one.start_by_a_clock(3_600, set_forward) as first:
        in_the_middle(first)
        set_forward.touch()
        before = sent(both.one)
        first.until(lambda: sent(both.one) > before + 5, "it does not trade on")
        stop(first)
    is_whole(both.one)


def test_killed_while_batches_wait_and_started_under_another_host_name_it_brings_them_and_goes_on(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both = Pair(place, own_postgres(), standby=False)
    with both.one.start() as first:
        in_the_middle(first)
        both.server.pause()
        until_away(first)
        first.kill()
    assert spooled(both.one) != []
    both.server.resume()
    with connected(str(both.one.at.place)) as connection:  # as if the name had been another one before
        connection.execute("UPDATE trading.leases SET holder = regexp_replace(holder, '^[^/]+', 'former')")
    with both.one.start() as first:
        in_the_middle(first)
        stop(first)
        assert "the state directory was moved, or copied" not in first.log  # it waits for nobody
    assert spooled(both.one) == []
    is_whole(both.one)


def test_a_copy_of_the_state_directory_is_refused_while_the_daemon_runs_and_does_not_disturb_it(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both = Pair(place, own_postgres(), standby=False)
    with both.one.start() as first:
        in_the_middle(first)
        shutil.copytree(both.one.state, both.other.state)
        with both.other.start() as second:
            assert second.end() == 6
            assert "the state directory was moved, or copied. Waiting" in second.log
            assert "whose state directory is a copy of ours, or ours of it" in second.log
            assert "executor.recover.loaded" not in second.passed()
        before = sent(both.one)
        first.until(lambda: sent(both.one) > before, "it does not trade on")
        stop(first)
        assert "the books' server is away" not in first.log
    is_whole(both.one)


def test_a_state_directory_that_was_moved_goes_on_when_the_lease_of_its_last_run_is_over(
    place: Path, own_postgres: OwnPostgres
) -> None:
    both = Pair(place, own_postgres(), standby=False)
    with both.one.start() as first:
        in_the_middle(first)
        first.kill()
    shutil.copytree(both.one.state, both.other.state)
    with both.other.start() as second:
        in_the_middle(second)
        assert "the state directory was moved, or copied. Waiting" in second.log
        stop(second)
    is_whole(both.other)


def sent(home: Home) -> int:
    """How many entries the venues' records have."""
    count = 0
    for account in ACCOUNTS:
        with closing(sqlite3.connect(home.ledger(account))) as db:
            count += db.execute("SELECT count(*) FROM transactions").fetchone()[0]
    return count


def shown(home: Home) -> dict[str, set[str]]:
    """The orders that each account has shown to the venue."""
    found: dict[str, set[str]] = {}
    for account in ACCOUNTS:
        with closing(sqlite3.connect(home.ledger(account))) as db:
            found[account] = {order for (order,) in db.execute("SELECT client_order_id FROM orders")}
    return found


def intended(home: Home) -> set[str]:
    """The orders that are durable."""
    with connected(str(home.at.place)) as db:
        return {order for (order,) in db.execute("SELECT client_order_id FROM trading.orders")}
