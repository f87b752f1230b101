"""What a run came to, and which exit code that is."""

from __future__ import annotations

import json
import os
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from msgspec import UNSET, structs

from tests.unit.bootstrap.books import (
    DECISIONS,
    FILLED,
    SECOND_ACCOUNT,
    append,
    fill_another,
    latch,
    open_second_account,
    reject,
)
from tests.unit.storage import samples
from tradekeel.bootstrap.launch import account_line, feed_line
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.standing import accounts_of, read_status
from tradekeel.bootstrap.summary import (
    AccountSummary,
    FeedSummary,
    Summary,
    bad_rows,
    failures,
    read_summaries,
    refusals,
)
from tradekeel.cli.status import figures
from tradekeel.domain.records import ExecutionClosed, StrategyStatusChanged
from tradekeel.domain.refused import ARCHIVED
from tradekeel.domain.rows import Latch, StrategyStatus
from tradekeel.domain.times import iso
from tradekeel.errors import ExitCode
from tradekeel.runtime.clock import SystemClock
from tradekeel.storage.archives import archives_of
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.backend import backend_at
from tradekeel.storage.moment import one_moment
from tradekeel.storage.verify import verify
from tradekeel.storage.wiping import wipe

QUALITY = {
    "rows": 100,
    "ticks": 90,
    "crossed_dropped": 4,
    "gap_accepted": 1,
    "outside_dropped": 5,
    "blank": 2,
    "zero": 0,
}


def only(place: Place) -> AccountSummary:
    [account] = read_summaries(place.statedir.books)
    return account


def test_trades_that_were_open_when_a_run_ended_are_counted_when_they_are_archived_too(place: Place) -> None:
    append(place, [ExecutionClosed(ts_ns=samples.START_NS + 1, reason="the feed has ended")])
    before = only(place)
    assert before.trades_open == len(FILLED)
    archive(backend_at(place.statedir.books), 2**62, place.statedir.archives, samples.START_NS)
    after = only(place)
    assert (after.trades_open, after.trades_closed, after.pnl) == (len(FILLED), 0, before.pnl)
    assert verify(place.statedir.books, archives=place.statedir.archives).ok


def test_why_orders_were_rejected_is_told_when_they_are_archived_too(place: Place) -> None:
    for number in range(max(FILLED) + 1, DECISIONS + 1):
        reject(place, number, "NO_PRICE")
    before = only(place)
    assert (before.rejected, before.rejections) == (2, {"NO_PRICE": 2})
    append(place, [ExecutionClosed(ts_ns=samples.START_NS + 1, reason="the feed has ended")])
    archive(backend_at(place.statedir.books), 2**62, place.statedir.archives, samples.START_NS)
    assert only(place).rejections == before.rejections
    assert verify(place.statedir.books, archives=place.statedir.archives).ok


def test_an_archive_that_was_made_before_reasons_were_kept_is_as_sound_and_says_that_it_has_none(place: Place) -> None:
    reject(place, max(FILLED) + 1, "NO_PRICE")
    append(place, [ExecutionClosed(ts_ns=samples.START_NS + 1, reason="the feed has ended")])
    books = backend_at(place.statedir.books)
    archive(books, 2**62, place.statedir.archives, samples.START_NS)
    with closing(books.connect()) as db:
        [row] = archives_of(db, books, samples.RUN)
        earlier = structs.replace(row, figures=structs.replace(row.figures, rejections=UNSET))
        assert "rejections" not in earlier.values()[8]
        db.execute(books.begin_write)
        db.execute("UPDATE journal_archives SET figures = ?, crc = ?", (earlier.values()[8], earlier.crc()))
        db.execute("COMMIT")
    assert (only(place).rejected, only(place).rejections) == (1, {ARCHIVED: 1})
    assert verify(place.statedir.books, archives=place.statedir.archives).ok


def test_an_account_is_summed_exactly(place: Place) -> None:
    account = only(place)
    assert (account.trades_open, account.trades_closed, account.orders) == (len(FILLED), 0, DECISIONS)
    assert account.fees == Decimal("0.0500") * len(FILLED)
    assert account.pnl == -account.fees
    assert account.win_rate is None
    assert account.attribution == 0
    assert account.opening_balance + account.pnl + account.attribution + account.other == account.balance
    assert read_summaries(place.statedir.books, ["another"]) == ()


@pytest.mark.parametrize(
    ("to", "by", "code"),
    [
        (Latch.REDUCE_ONLY, "risk", ExitCode.HALTED_BY_RISK),
        (Latch.HALTED, "risk", ExitCode.HALTED_BY_RISK),
        (Latch.HALTED, "reconcile", ExitCode.BOOKS_DO_NOT_MATCH),
        (Latch.HALTED, "books", ExitCode.BOOKS_DO_NOT_MATCH),
        (Latch.HALTED, "alice", ExitCode.DONE),
        (Latch.OPEN, "risk", ExitCode.DONE),
    ],
)
def test_the_exit_code_says_who_holds_the_account(place: Place, to: Latch, by: str, code: ExitCode) -> None:
    latch(place, to, by)
    assert Summary(accounts=(only(place),)).code is code


@pytest.mark.parametrize(
    ("by", "code"), [("risk", ExitCode.DONE), ("reconcile", ExitCode.BOOKS_DO_NOT_MATCH), ("alice", ExitCode.DONE)]
)
def test_the_exit_code_of_a_daemon_that_was_stopped_says_only_what_a_person_must_mend(
    place: Place, by: str, code: ExitCode
) -> None:
    latch(place, Latch.HALTED, by)
    assert Summary(accounts=(only(place),), over=False).code is code


def test_who_pauses_an_account_that_is_held_does_not_hold_it(place: Place) -> None:
    latch(place, Latch.REDUCE_ONLY, "risk", "the day's loss")
    latch(place, Latch.HALTED, "reconcile", "the balance differs")
    latch(place, Latch.HALTED, "alice", "lunch", paused=True)
    latch(place, Latch.HALTED, "alice", "back again")

    account = only(place)
    assert (account.latched_by, account.latch_reason) == ("reconcile", "the balance differs")
    assert Summary(accounts=(account,)).code is ExitCode.BOOKS_DO_NOT_MATCH


def test_of_several_accounts_the_books_weigh_most(place: Place) -> None:
    latch(place, Latch.REDUCE_ONLY, "risk")
    risk = only(place)
    latch(place, Latch.HALTED, "reconcile")
    assert Summary(accounts=(risk, only(place))).code is ExitCode.BOOKS_DO_NOT_MATCH


def test_strategies_that_failed_are_named_and_change_no_exit_code(place: Place) -> None:
    assert only(place).failed == {}
    append(place, [StrategyStatusChanged(ts_ns=1, strategy="floor", status=StrategyStatus.FAILED, reason="it threw")])
    account = only(place)
    assert account.failed == {"floor": "it threw"}
    assert failures(account) == ["strategy floor has failed, its trades keep their exits: it threw"]
    assert Summary(accounts=(account,)).code is ExitCode.DONE


def test_what_netting_booked_and_what_belongs_to_no_trade_is_told_beside_the_profit_and_only_then() -> None:
    account = {
        "balance": "10012.34",
        "currency": "USD",
        "equity": None,
        "equity_time": None,
        "opening_balance": "10000",
        "pnl": "12.5000",
        "fees": "0.5",
        "financing": "0",
        "attribution": "-0.1600",
        "other": "0.00",
        "wiped": None,
        "trades_open": 1,
        "trades_closed": 4,
        "win_rate": "0.75",
    }
    shown = str(figures(account))
    assert "began with 10000 · pnl 12.5 (fees 0.5, financing 0) · netting booked -0.16 differently\n" in shown
    assert "no trade" not in shown
    shown = str(figures(account | {"attribution": "0", "other": "5.0"}))
    assert "netting" not in shown
    assert "deposits and charges of no trade +5\n" in shown


@pytest.mark.parametrize("is_archived", [False, True])
def test_what_a_wiped_run_came_to_is_told_as_what_it_is(place: Place, is_archived: bool) -> None:
    """The trades are in no table any more, whatever an archive has of them, and nobody can tell their profit from deposits."""
    append(place, [ExecutionClosed(ts_ns=samples.START_NS + 1, reason="the feed has ended")])
    books = backend_at(place.statedir.books)
    if is_archived:
        assert archive(books, 2**62, place.statedir.archives, samples.START_NS)
    before = only(place)
    wipe(books, samples.START_NS + 2, by="a test")
    after = only(place)
    assert (after.trades_open, after.trades_closed, after.orders, after.denied) == (0, 0, 0, {})
    assert not any((after.pnl, after.fees, after.financing, after.attribution, after.other))
    assert after.wiped == before.pnl + before.attribution + before.other
    assert after.opening_balance + after.wiped == after.balance == before.balance
    [said] = read_status(place)["accounts"]
    shown = str(figures(said))
    assert "until its trades were deleted (tradekeel db wipe)" in shown
    assert "no trade" not in shown
    assert "closed" not in shown


def test_refused_orders_are_counted_by_reason() -> None:
    assert refusals({}, {}) == ""
    assert refusals({"paused": 2}, {}) == "2 orders denied (paused 2)"
    assert refusals({"price_collar": 1_000, "paused": 2}, {"INSUFFICIENT_MARGIN": 2, "NO_PRICE": 1}) == (
        "1,002 orders denied (price_collar 1,000, paused 2), 3 rejected by the venue (INSUFFICIENT_MARGIN 2, NO_PRICE 1)"
    )
    assert refusals({}, {"NO_PRICE": 1}) == "1 order rejected by the venue (NO_PRICE 1)"


def test_of_many_reasons_of_a_venue_a_line_names_the_most_frequent() -> None:
    said = refusals({}, {f"reason {number}": 10 - number for number in range(8)})
    assert said.startswith("52 orders rejected by the venue (reason 0 10, ")
    assert said.endswith("reason 5 5, for other reasons 7)")


def test_bad_rows_are_those_with_something_wrong() -> None:
    assert bad_rows(QUALITY) == {"crossed_dropped": 4, "gap_accepted": 1}


def test_the_log_has_one_line_an_account_and_a_feed(place: Place) -> None:
    latch(place, Latch.REDUCE_ONLY, "risk", "the day's loss")
    line = account_line(only(place))
    assert "3 open" in line
    assert "fees 0.1500" in line
    assert "reduce_only: the day's loss" in line
    feed = FeedSummary(account="a", position=90, ticks=90, ticks_per_s=1234.5, quality=QUALITY)
    assert feed_line(feed) == "a: feed at tick 90, 1,234 ticks/s; bad rows: 4 crossed dropped, 1 gap accepted"


def test_the_status_of_a_daemon_that_is_down_comes_from_the_books(place: Place) -> None:
    status = read_status(place)
    assert not status["running"]
    [account] = status["accounts"]
    assert account["state"] == "at rest"
    assert [position["instrument"] for position in account["positions"]] == ["EUR_USD"]
    assert [strategy["status"] for strategy in account["strategies"]] == ["active"]
    assert account["equity"] is None


def test_a_running_daemons_account_is_valued_at_its_latest_quotes_and_every_figure_says_of_when_it_is(
    place: Place,
) -> None:
    holder = place.statedir
    holder.lock()
    said = {
        "ts_ns": SystemClock().now_ns(),
        "ready": True,
        "healthy": True,
        "accounts": {"paper-1": {"state": "trading", "quotes": {"EUR_USD": ["1.39300", "1.39310", samples.START_NS]}}},
        "feeds": {"paper-1": {"position": 7, "ts_ns": samples.START_NS}},
    }
    (place.state_dir / "status.json").write_text(json.dumps(said))
    try:
        status = read_status(place)
        [account] = status["accounts"]
        [position] = account["positions"]
        bought = [samples.fill(number) for number in FILLED]
        unrealised = sum((Decimal("1.39300") - fill.price) * fill.quantity for fill in bought)
        assert Decimal(position["unrealised"]) == unrealised
        assert Decimal(account["equity"]) == Decimal(account["balance"]) + unrealised
        assert account["equity_time"] == position["mark_time"] == iso(samples.START_NS)
        assert status["feeds"]["paper-1"]["time"] == iso(samples.START_NS)
        assert account["state"] == "trading"

        latch(place, Latch.HALTED, "alice", "panic")  # the books know it before the status file does
        [account] = read_status(place)["accounts"]
        assert (account["state"], account["latch"]) == ("halted", "halted")
    finally:
        holder.release()
    [account] = read_status(place)["accounts"]
    assert (account["state"], account["equity"]) == ("at rest", None)  # no prices were ever saved


def test_all_that_is_said_of_accounts_is_of_one_moment_whatever_is_traded_meanwhile(place: Place) -> None:
    with one_moment(place.books()) as db:
        before = accounts_of(db, place.books(), {})
        fill_another(place)
        open_second_account(place, 1)
        assert accounts_of(db, place.books(), {}) == before
    [account, _] = read_status(place)["accounts"]
    assert account["trades_open"] == before[0]["trades_open"] + 1
    assert account["positions"][0]["quantity"] > before[0]["positions"][0]["quantity"]


def test_an_account_whose_run_is_closed_does_not_trade_although_another_one_does(place: Place) -> None:
    open_second_account(place, 1)
    append(place, [ExecutionClosed(ts_ns=samples.START_NS, reason="the feed has ended")])
    holder = place.statedir
    holder.lock()
    trading = {"state": "trading"}
    said: dict[str, Any] = {"ts_ns": SystemClock().now_ns(), "ready": True, "healthy": True}
    said["accounts"] = {"paper-1": trading, SECOND_ACCOUNT: trading}
    (place.state_dir / "status.json").write_text(json.dumps(said))
    try:
        accounts = read_status(place)["accounts"]
        assert {account["account"]: account["state"] for account in accounts} == {
            "paper-1": "closed",
            SECOND_ACCOUNT: "trading",
        }
    finally:
        holder.release()


def test_a_status_file_that_is_old_or_damaged_is_told(place: Place) -> None:
    (place.state_dir / "status.json").write_text('{"ts_ns": 1, "ready": true, "healthy": true, "name": "x"}')
    holder = place.statedir
    holder.lock()
    try:
        status = read_status(place)
        assert status["running"]
        assert not status["stale"]  # that was another process: this one has not had the time to say anything
        assert not status["ready"]
        assert [account["state"] for account in status["accounts"]] == ["starting"]
        os.utime(place.state_dir / "lock", (1_000_000, 1_000_000))
        status = read_status(place)
        assert status["stale"]
        assert not status["healthy"]
        holder.still_starting()
        assert not read_status(place)["stale"]
        os.utime(place.state_dir / "lock", (1_000_000, 1_000_000))
        (place.state_dir / "status.json").write_text("{")
        assert read_status(place)["stale"]
    finally:
        holder.release()


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"ready": True}, "no answer: it is not running"),
        ({"ready": True, "stopping": True}, "stopping"),
        ({"ready": False}, "starting"),
    ],
)
def test_an_account_that_is_silent_because_the_daemon_starts_or_stops_is_said_to(
    place: Place, said: dict[str, bool], state: str
) -> None:
    holder = place.statedir
    holder.lock()
    try:
        accounts = {"paper-1": {"state": "no answer: it is not running"}}
        status = {"ts_ns": SystemClock().now_ns(), "healthy": True, "accounts": accounts} | said
        (place.state_dir / "status.json").write_text(json.dumps(status))
        [account] = read_status(place)["accounts"]
        assert account["state"] == state
    finally:
        holder.release()


def test_books_that_are_being_made_while_the_daemon_starts_are_no_problem(tmp_path) -> None:
    place = Place(tmp_path, None)
    place.statedir.create()
    place.statedir.books.write_bytes(b"")
    assert read_status(place)["problem"]
    holder = place.statedir
    holder.lock()
    try:
        status = read_status(place)
        assert (status["running"], status["stale"], status["problem"]) == (True, False, None)
    finally:
        holder.release()


def test_without_books_the_status_says_what_to_do(tmp_path) -> None:
    assert "tradekeel run" in read_status(Place(tmp_path, None))["problem"]
