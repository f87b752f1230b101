"""One daemon writes for an account: each transaction says who it is from, and whoever was taken over can change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from threading import Event, Thread
from typing import Any

import pytest

from tests.servers.postgres import connected, drop_database, new_database
from tests.unit.storage import samples as s
from tradekeel.errors import AlreadyRunning, Defect, LeaseLost, StoreCorrupt, StoreUnavailable
from tradekeel.runtime.clock import SystemClock, pause
from tradekeel.runtime.loop import Aside
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.journal import newest_time_ns
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.postgres.lease import Holder, Writer
from tradekeel.storage.postgres.remote import PostgresBooks
from tradekeel.storage.repositories.database import Database
from tradekeel.storage.repositories.trades import SqlTradeRepository
from tradekeel.storage.store import Store
from tradekeel.storage.wiping import wipe

LONG_NS = 3_600_000_000_000
OPENED = 150
PAST_NS = -1_000_000_000  # a lease that is over as soon as it is taken

Open = Callable[..., PostgresBooks]


class AtOnce:
    """Connections that are made while we wait."""

    def look_in(self, function):
        return function()


class Clocks:
    """A machine's two clocks; the one on the wall can be set."""

    def __init__(self) -> None:
        self.step_ns = 0

    def now_ns(self) -> int:
        return SystemClock().now_ns() + self.step_ns

    def monotonic_ns(self) -> int:
        return round(SystemClock().monotonic() * 1e9)


@pytest.fixture
def books(postgres_url: str) -> Iterator[Open]:
    """Opens books as a daemon has them; all are closed in the end."""
    with ExitStack() as stack:
        runs = count(1)

        def make(
            daemon: str = "keel",
            on: str = "here/1",
            accounts: tuple[str, ...] = ("paper-1",),
            lease_ns: int = LONG_NS,
            waiting: bool = False,
            place: str = "",
            clocks: Clocks = Clocks(),  # noqa: B008  # never set
            tell: Callable[[str], object] = lambda text: None,
            aside: Any = None,
            standby: bool = False,
            url: str = postgres_url,
        ) -> PostgresBooks:
            host, installation = on.split("/")
            run = f"run {next(runs)}"
            holder = Holder(host=host, installation=installation, place=place or installation, run=run, yields=standby)
            remote = PostgresBooks(
                partial(Store.open, Postgres(url), now_ns=s.START_NS),
                Writer(daemon=daemon, holder=holder, accounts=accounts, lease_ns=lease_ns, standby=standby),
                waiting=lambda: waiting,
                aside=aside or AtOnce(),
                pause=partial(pause, 0.02),
                now_ns=clocks.now_ns,
                monotonic_ns=clocks.monotonic_ns,
                tell=tell,
            )
            stack.callback(remote.close)
            if aside is None:
                remote.reconnect()
            return remote

        yield make


def test_a_batch_is_numbered_in_its_own_transaction(books):
    ours = books()
    assert ours.last_batch() == 0
    ours.commit_numbered(1, [s.Desk().opening()])
    ours.commit_numbered(2, [])
    assert ours.last_batch() == 2
    with pytest.raises(Defect, match="batch 2 follows batch 2"):
        ours.commit_numbered(2, [s.group(s.noted())])
    assert books().last_batch() == 2  # of which nothing was kept
    assert books().last_sequence(s.RUN) == 3


def test_what_is_not_approved_is_not_there_and_neither_is_its_number(books):
    ours = books()
    ours.commit_numbered(1, [s.Desk().opening()])

    def refuse(results):
        raise ValueError("these are not the numbers that were promised")

    with pytest.raises(ValueError, match="promised"):
        ours.commit_numbered(2, [s.group(s.noted())], refuse)
    again = books()
    assert (again.last_batch(), again.last_sequence(s.RUN)) == (1, 3)


def test_a_restart_takes_its_own_leases_at_once_and_ends_what_an_earlier_connection_left(books):
    earlier = books()
    earlier.commit_numbered(1, [s.Desk().opening()])
    later = books()
    assert later.last_batch() == 1
    later.commit_numbered(2, [s.group(s.noted())])
    with pytest.raises(StoreUnavailable, match="terminat"):  # the server has closed it
        earlier.commit_numbered(2, [s.group(s.noted())])


def test_a_daemon_of_the_same_name_in_another_database_of_the_server_is_another_one(books, postgres_admin):
    """Theirs is not ended when ours ends what an earlier connection of its own has left."""
    another = new_database(postgres_admin())
    try:
        theirs = books(url=another)
        books()
        books().commit_numbered(1, [])  # one of ours is ended for that
        theirs.commit_numbered(1, [])
        theirs.close()
    finally:
        drop_database(postgres_admin(), another)


@pytest.mark.parametrize("on", ["there/2", "here/2"])
def test_somebody_elses_account_is_refused_with_who_has_it_and_for_how_long(books, on):
    books()
    with pytest.raises(AlreadyRunning, match=r"paper-1 is traded by daemon keel on here, whose lease runs .* 3600 s"):
        books("other", on)
    with pytest.raises(AlreadyRunning, match=r"keel on here \(another one of our name.*set name in \[daemon\]"):
        books(on=on, accounts=("paper-2",))


@pytest.mark.parametrize("daemon", ["keel", "other"])
def test_who_meets_its_account_in_another_installation_is_told_how_to_stand_by_unless_it_does(books, daemon):
    books(standby=True)
    to_do = r"or wait\. If this one is to take over .* set storage\.standby = true at both; else give each a name and accounts"
    with pytest.raises(AlreadyRunning, match=to_do):
        books(daemon, "there/2")
    with pytest.raises(AlreadyRunning, match=r"or wait$"):
        books(daemon, "there/2", standby=True)
    with pytest.raises(AlreadyRunning, match=r"set name in \[daemon\].*or wait$"):
        books("keel", "there/2", ("paper-2",))


def test_a_standby_takes_nothing_over_from_one_that_does_not_end_with_its_lease_and_says_so_in_time(books):
    """It may have lost the server only, and would trade the account beside the standby. A person may know that it has ended."""
    books()
    with pytest.raises(
        AlreadyRunning, match=r"or wait\. It does not end with its lease: set storage\.standby = true there"
    ):
        books("other", "there/2", standby=True)
    books(lease_ns=PAST_NS)
    with pytest.raises(
        AlreadyRunning, match=r"was traded by daemon keel on here, which has not given its lease back, and"
    ):
        books("other", "there/2", standby=True)
    assert books("other", "there/2", lease_ns=PAST_NS), "without standing by, which is a person's word"
    assert books("other", "there/2", standby=True, lease_ns=PAST_NS), "a restart takes its own"
    assert books("third", "there/3", standby=True), "the one before ends with its lease"
    books("third", "there/3").close()
    assert books("other", "there/2", standby=True), "and this one has given it back"


def test_daemons_with_accounts_of_their_own_share_a_database(books):
    one, other = books(), books("other", "there/2", ("paper-2",))
    one.commit_numbered(1, [s.Desk().opening()])
    other.commit_numbered(1, [s.Desk("exec-2", account="paper-2").opening()])
    one.commit_numbered(2, [s.group(s.noted())])
    assert (one.last_sequence(s.RUN), other.last_sequence("exec-2")) == (4, 3)


def test_a_lease_that_was_given_back_or_is_over_is_taken_over_and_its_last_holder_can_write_no_more(books):
    given_back = books()
    given_back.commit_numbered(1, [])
    given_back.close()
    slow = books("other", "there/2", lease_ns=PAST_NS)
    assert slow.last_batch() == 1  # numbers go on
    now = books("third", "there/3")
    now.commit_numbered(2, [s.Desk().opening()])
    with pytest.raises(LeaseLost, match=r"paper-1 belongs to daemon third on there .* was taken over"):
        slow.commit_numbered(2, [s.group(s.noted())])
    assert now.last_sequence(s.RUN) == 3


def test_a_daemon_that_has_lost_one_of_its_accounts_writes_for_none(books):
    """It was frozen beyond its lease, and somebody else trades one account only: that one would be written for by two."""
    slow = books(accounts=("paper-1", "paper-2"), lease_ns=PAST_NS)
    slow.commit_numbered(1, [s.Desk().opening(), s.Desk("exec-2", account="paper-2").opening()])
    now = books("other", "there/2", ("paper-2",))
    with pytest.raises(LeaseLost, match=r"paper-2 belongs to daemon other on there .* was taken over"):
        slow.commit_numbered(2, [s.group(s.noted())])
    assert (now.last_sequence(s.RUN), now.last_sequence("exec-2")) == (3, 3)
    slow.close()
    now.commit_numbered(2, [])
    assert now.last_batch() == 2, "what the first one gives back in the end is its own"


def test_a_daemon_that_was_frozen_in_the_middle_of_a_transaction_holds_up_nobody_when_its_lease_is_over(books):
    frozen = books(lease_ns=PAST_NS)

    def begin_a_batch(db) -> None:
        db.execute("UPDATE leases SET batch = batch + 1")
        books(on="there/2").commit_numbered(1, [s.Desk().opening()])

    with pytest.raises(StoreUnavailable, match="terminat"):
        frozen.store.within(begin_a_batch)


def test_what_waits_here_fits_no_more_where_another_has_written_meanwhile(books):
    books(lease_ns=PAST_NS)
    books("other", "there/2", lease_ns=PAST_NS)
    with pytest.raises(StoreCorrupt, match=r"daemon other on there has written for account paper-1: .* no longer fits"):
        books(waiting=True)
    assert books(waiting=False)


@pytest.mark.parametrize("daemon", ["keel", "other"])
def test_who_would_stand_by_with_batches_that_fit_no_more_is_told_before_he_is_needed(books, daemon):
    """The daemon that has taken over trades yet: it is refused now, and not when that one has ended."""
    books(lease_ns=PAST_NS).close()
    other = books(daemon, "there/2", standby=True)
    for standby in (True, False):
        with pytest.raises(
            StoreCorrupt, match=rf"daemon {daemon} on there has written for account paper-1: .* no longer"
        ):
            books(waiting=True, standby=standby)
    other.commit_numbered(1, [])  # which is not disturbed
    with pytest.raises(AlreadyRunning, match=f"paper-1 is traded by daemon {daemon} on there"):
        books(standby=True)


def test_an_account_that_comes_to_a_daemon_with_waiting_batches_and_is_another_ones_says_nothing_of_these(books):
    books()
    books("other", "there/2", accounts=("paper-2",))
    with pytest.raises(AlreadyRunning, match="paper-2 is traded by daemon other on there"):
        books(accounts=("paper-1", "paper-2"), waiting=True)


@pytest.mark.parametrize("taken", [True, False])
def test_where_batches_wait_here_a_stop_leaves_the_lease_to_run_out(books, postgres_url, taken):
    """Scripts tell by that that the places behind what is there are promised."""
    ours = books(waiting=True, aside=None if taken else Unseen())
    if not taken:
        ours.knock()
    ours.close()
    with connected(postgres_url) as db:
        [(until_ns,)] = db.execute("SELECT until_ns FROM trading.leases").fetchall()
    assert until_ns > 0
    assert books(waiting=True).last_batch() == 0, "and the next start has it at once"


async def test_a_script_leaves_no_hole_where_what_a_dead_daemon_was_answered_belongs(books, postgres_url):
    """Its batches may wait on its side, with the numbers behind those that the server has."""
    desk = s.Desk()
    dead = books(lease_ns=PAST_NS)
    dead.commit_numbered(1, [desk.opening(), desk.decision()])
    async with Database(Postgres(postgres_url), now_ns=SystemClock().now_ns) as database:
        trades = SqlTradeRepository(database)
        [trade] = await trades.get_recent_trades()
        with pytest.raises(
            AlreadyRunning, match=r"daemon keel on here has ended without letting go of account paper-1"
        ):
            await trades.update_trade(trade.trade_id, {"tags": ("seen",)})
        assert books(waiting=True).last_batch() == 1, "what waits there fits"
        books().close()
        assert (await trades.update_trade(trade.trade_id, {"tags": ("seen",)})).tags == ("seen",)


def test_a_tool_leaves_that_hole_neither_and_what_is_only_moved_is_no_change_to_the_daemon(
    books, postgres_url, tmp_path
):
    desk, backend = s.Desk(), Postgres(postgres_url)
    books(lease_ns=PAST_NS).commit_numbered(1, [desk.opening(), *(desk.decision() for _ in range(5))])
    with pytest.raises(AlreadyRunning, match=r"daemon keel on here has ended without letting go of account paper-1"):
        wipe(backend, s.START_NS, by="a test")
    assert archive(backend, s.START_NS * 2, tmp_path / "archives", s.START_NS)
    assert books(waiting=True).last_batch() == 1, "what waits there fits"
    books().close()
    wipe(backend, s.START_NS, by="a test")


def test_an_archive_is_of_our_own_accounts_also_where_another_daemon_is_at_work(books, postgres_url, tmp_path):
    ours, theirs = books(), books("other", "there/2", ("paper-2",))
    for remote, desk in ((ours, s.Desk()), (theirs, s.Desk("exec-2", account="paper-2"))):
        remote.commit_numbered(1, [desk.opening(), *(desk.decision() for _ in range(5))])
    ours.close()
    with closing(Postgres(postgres_url, daemon="keel").connect(read_only=True)) as db:
        mine = newest_time_ns(db, Postgres(postgres_url, daemon="keel"))
        assert mine is not None
    moved = archive(Postgres(postgres_url, daemon="keel"), s.START_NS * 2, tmp_path / "archives", s.START_NS)
    assert {piece.row.execution for piece in moved} == {s.RUN}
    theirs.commit_numbered(2, [])


def test_a_wipe_is_of_our_own_accounts_unless_another_one_is_named(books, postgres_url):
    ours, theirs = books(), books("other", "there/2", ("paper-2",))
    for remote, desk in ((ours, s.Desk()), (theirs, s.Desk("exec-2", account="paper-2"))):
        remote.commit_numbered(1, [desk.opening(), *(desk.decision() for _ in range(5))])
        remote.close()
    mine = Postgres(postgres_url, daemon="keel")

    def left() -> set[str]:
        with connected(postgres_url) as db:
            return {account for (account,) in db.execute("SELECT DISTINCT account FROM trading.orders")}

    assert wipe(mine, s.START_NS, by="a test").closed == ("paper-1",)
    assert left() == {"paper-2"}
    assert wipe(mine, s.START_NS, by="a test", accounts=["paper-2"]).closed == ("paper-2",)
    assert left() == set()


def test_an_account_that_comes_to_a_daemon_counts_with_the_others(books):
    books().commit_numbered(1, [])
    more = books(accounts=("paper-1", "paper-2"))
    more.commit_numbered(2, [])
    with pytest.raises(AlreadyRunning, match="paper-2 is traded by daemon keel"):
        books("other", "there/2", ("paper-2",))
    assert more.last_batch() == 2


def test_a_daemon_does_not_end_of_what_is_wrong_with_the_books_of_another(books, postgres_url):
    """It would at the next connection that is lost, though nothing of its own is damaged."""
    ours, theirs = books(), books("other", "there/2", ("paper-2",))
    ours.commit_numbered(1, [s.Desk().opening()])
    theirs.commit_numbered(1, [s.Desk("exec-2", account="paper-2").opening()])
    with connected(postgres_url) as db:
        db.execute("ALTER TABLE trading.journal DISABLE TRIGGER USER")
        db.execute("UPDATE trading.journal SET crc = crc + 1 WHERE execution = 'exec-2'")
    Store.open(Postgres(postgres_url, daemon="keel"), now_ns=s.START_NS).close()
    for daemon in ("other", None):
        with pytest.raises(StoreCorrupt, match="record 3 of execution exec-2 is damaged"):
            Store.open(Postgres(postgres_url, daemon=daemon), now_ns=s.START_NS)


def test_an_account_that_moves_to_another_daemon_is_free_when_the_first_one_has_begun_without_it(books):
    books(accounts=("paper-1", "paper-2")).commit_numbered(1, [])
    fewer = books()
    other = books("other", "there/2", ("paper-2",))
    fewer.commit_numbered(2, [])
    other.commit_numbered(other.last_batch() + 1, [])
    assert books().last_batch() == 2


def test_it_is_not_free_while_batches_wait_there_which_may_be_about_it(books):
    books(accounts=("paper-1", "paper-2")).commit_numbered(1, [])
    fewer = books(waiting=True)
    fewer.commit_numbered(2, [])
    with pytest.raises(AlreadyRunning, match="paper-2 is traded by daemon keel"):
        books("other", "there/2", ("paper-2",))
    books()
    assert books("other", "there/2", ("paper-2",))


class Unseen:
    """Connections that are made, and that nobody has looked in on yet."""

    def look_in(self, function):
        function()


def test_a_connection_that_was_made_and_not_looked_in_on_gives_its_lease_back_when_it_is_closed(books):
    ours = books(aside=Unseen())
    assert not ours.knock()
    with pytest.raises(AlreadyRunning, match="keel on here"):
        books("other", "there/2")
    ours.close()
    assert books("other", "there/2").last_batch() == 0


def test_a_connection_that_is_still_being_made_when_it_is_closed_leaves_no_lease_behind(books, postgres_url):
    Store.open(Postgres(postgres_url), now_ns=s.START_NS).close()
    ours = books(aside=Aside("books"))
    with connected(postgres_url) as db, db.transaction():
        db.execute("LOCK TABLE trading.leases IN ACCESS EXCLUSIVE MODE")
        assert not ours.knock()
        _until(lambda: db.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None)
        ours.close()
    _until(lambda: _writers(postgres_url) == 0)  # it has ended, in whichever way
    assert books("other", "there/2").last_batch() == 0


def _writers(url: str) -> int:
    """The connections that daemons have."""
    with connected(url) as db:
        [(count,)] = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tradekeel' AND datname = current_database()"
        ).fetchall()
        return int(count)


# --- whose run it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [False, True])
def test_a_restart_under_another_host_name_goes_on_at_once_also_where_batches_wait(books, waiting):
    books().commit_numbered(1, [s.Desk().opening()])
    renamed = books(on="renamed/1", waiting=waiting)
    assert renamed.last_batch() == 1
    renamed.commit_numbered(2, [s.group(s.noted())])
    with pytest.raises(AlreadyRunning, match="keel on renamed, whose"):
        books("other", "there/2")


def test_a_copy_of_the_state_directory_is_refused_as_soon_as_the_first_daemon_is_heard_of(books):
    first = books()
    first.commit_numbered(1, [s.Desk().opening()])
    told: list[str] = []
    refused: list[AlreadyRunning] = []

    def start_the_copy() -> None:
        with pytest.raises(AlreadyRunning) as error:
            books(on="there/1", place="copied", tell=told.append)
        refused.append(error.value)

    copy = Thread(target=start_the_copy)
    copy.start()
    _until(lambda: told != [])
    assert copy.is_alive()  # it waits: nobody knows yet whether the first one lives
    first.commit_numbered(2, [])
    copy.join(20)
    assert "a daemon keel of this installation has last written on here, from another place" in told[0]
    assert "paper-1 is traded by daemon keel on here, whose state directory is a copy of ours" in str(refused[0])
    first.commit_numbered(3, [s.group(s.noted())])  # and was not disturbed


def test_a_state_directory_that_was_moved_waits_for_the_lease_of_the_run_before_it_and_takes_what_waits_along(books):
    first = books(lease_ns=600_000_000)
    first.commit_numbered(1, [s.Desk().opening()])
    told: list[str] = []
    moved = books(on="there/1", place="moved", waiting=True, tell=told.append)
    assert len(told) == 1
    assert first.lease_left_ns() <= 0  # by then it was over
    moved.commit_numbered(2, [s.group(s.noted())])


@pytest.mark.parametrize("place", ["copied", "1"])  # "1": of a whole disk, down to the numbers of its files
def test_a_daemon_that_a_copy_of_it_has_taken_over_from_writes_nothing_more_and_does_not_take_it_back(books, place):
    first = books(lease_ns=50_000_000)
    first.commit_numbered(1, [s.Desk().opening()])
    copy = books(on="there/1", place=place)
    copy.commit_numbered(2, [s.group(s.noted())])
    with pytest.raises((LeaseLost, StoreUnavailable), match=r"epoch|terminat"):
        first.commit_numbered(2, [s.group(s.noted())])
    with pytest.raises(AlreadyRunning, match="keel on there, whose state directory is a copy of ours, or ours of it"):
        first.reconnect()
    copy.commit_numbered(3, [])
    assert copy.last_sequence(s.RUN) == 4


def test_what_waits_where_a_copy_has_written_meanwhile_fits_no_more(books):
    first = books(waiting=True)
    copy = books(on="there/1", lease_ns=PAST_NS)
    copy.commit_numbered(1, [s.Desk().opening()])
    with pytest.raises(StoreCorrupt, match="a copy of ours, or ours of it has written for account paper-1"):
        first.reconnect()


# --- for how long ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [-60, 60])
def test_when_another_may_take_over_ours_is_over_also_where_the_wall_clock_was_set_meanwhile(books, step_s):
    clocks = Clocks()
    ours = books(lease_ns=500_000_000, clocks=clocks)
    ours.commit_numbered(1, [s.Desk().opening()])
    assert 0 < ours.lease_left_ns() <= 500_000_000
    clocks.step_ns = step_s * 1_000_000_000
    _until(lambda: _may_take_over(books))
    assert ours.lease_left_ns() <= 0


def _may_take_over(books: Open) -> bool:
    try:
        books("other", "there/2")
    except AlreadyRunning:
        return False
    return True


def _until(condition: Callable[[], bool]) -> None:
    end_s = SystemClock().monotonic() + 20
    while not condition():
        assert SystemClock().monotonic() < end_s, "it does not come to that"
        pause(0.02)


def test_books_that_another_daemon_writes_meanwhile_are_opened_as_they_are_at_one_moment(postgres_url):
    desk, over = s.Desk(), Event()
    with Store.open(Postgres(postgres_url), now_ns=s.START_NS) as ours, ThreadPoolExecutor(1) as pool:
        ours.commit([desk.opening()])

        def trade() -> None:
            while not over.is_set():
                ours.commit([desk.decision()])

        trading = pool.submit(trade)
        try:
            for _ in range(OPENED):
                Store.open(Postgres(postgres_url), now_ns=s.START_NS).close()
        finally:
            over.set()
        trading.result(60)
