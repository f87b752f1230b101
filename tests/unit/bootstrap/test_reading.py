"""Rows of the books as JSON values: exact, newest first, narrowed by words that must mean something."""

from __future__ import annotations

from decimal import Decimal

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.bootstrap.books import DECISIONS, FILLED, SECOND_ACCOUNT, append, open_second_account
from tests.unit.storage import samples
from tests.unit.storage.samples import CHANGE, SNAPSHOT
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.reading import Query, read_rows
from tradekeel.bootstrap.values import moment_ns, plain_value
from tradekeel.domain.book import Book
from tradekeel.domain.records import (
    ExecutionClosed,
    ExecutionStarted,
    ParameterChanged,
    SnapshotTaken,
    StrategyRegistered,
)
from tradekeel.domain.recovery import opening_of
from tradekeel.domain.rows import STARTED_FRESH
from tradekeel.domain.times import iso
from tradekeel.errors import InputError
from tradekeel.storage.queries import CHUNK_ROWS
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlFillRepository
from tradekeel.storage.store import Store

NOW_NS = 1_700_000_000_000_000_000


def test_every_kind_of_row_is_json_as_it_stands(place: Place) -> None:
    for kind in ("trades", "orders", "fills", "signals", "events", "strategies", "journal", "positions", "executions"):
        rows = read_rows(place, kind, Query(limit=None))
        assert msgspec.json.decode(msgspec.json.encode(rows)) == rows, kind
        assert rows, kind


def test_executions_snapshots_and_changed_parameters_can_be_read(place: Place) -> None:
    append(place, [SnapshotTaken(ts_ns=1, snapshot=SNAPSHOT), ParameterChanged(ts_ns=2, change=CHANGE)])
    open_second_account(place, 1)
    assert [row["execution"] for row in read_rows(place, "executions", Query())] == ["exec-2", samples.RUN]
    [run] = read_rows(place, "executions", Query(account="paper-1"))
    assert read_rows(place, "executions", Query(execution=samples.RUN)) == [run]
    with pytest.raises(InputError, match="no execution other"):
        read_rows(place, "executions", Query(execution="other"))
    [snapshot] = read_rows(place, "snapshots", Query())
    assert (snapshot["account"], snapshot["equity"]) == ("paper-1", "10001.25")
    [change] = read_rows(place, "parameters", Query(strategy=samples.STRATEGY))
    assert (change["name"], change["old"], change["new"]) == ("max_layers", "5", "3")


def test_rows_come_newest_first_and_no_more_than_asked_for(place: Place) -> None:
    every = read_rows(place, "signals", Query(limit=None))
    assert [row["signal_id"] for row in every] == [f"sg{samples.RUN}-{n}" for n in range(DECISIONS, 0, -1)]
    assert read_rows(place, "signals", Query(limit=2)) == every[:2]


def test_amounts_are_text_to_the_last_digit_and_times_have_nine(place: Place) -> None:
    [row] = read_rows(place, "fills", Query(limit=1))
    fill = samples.fill(max(FILLED))
    assert row["price"] == f"{fill.price:f}"
    assert row["ts_ns"] == fill.ts_ns
    assert row["time"] == iso(fill.ts_ns)
    assert row["account"] == "paper-1"


def test_a_trade_says_what_it_brought(place: Place) -> None:
    row = next(row for row in read_rows(place, "trades", Query()) if row["status"] == "OPEN")
    assert row["pnl"] == "-0.0500"  # its entry's fee
    assert row["open_quantity"] == "1000"
    assert row["r_multiple"] is None


def test_how_long_ago_is_reckoned_in_the_markets_time_where_it_is_not_the_clocks(place: Place) -> None:
    every = read_rows(place, "fills", Query(limit=None))
    assert read_rows(place, "fills", Query(since="1h", limit=None)) == every
    assert read_rows(place, "fills", Query(until="1h", limit=None)) == []
    assert read_rows(place, "journal", Query(since="1h")) != []
    next_run(place, STARTED_FRESH)
    assert read_rows(place, "fills", Query(since="1h", all_runs=True, limit=None)) == every


def test_on_a_live_market_how_long_ago_is_reckoned_from_now(place: Place) -> None:
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        desk = samples.Desk("exec-live", account="live")
        row = samples.execution("exec-live", 1, "live", data_fingerprint="")
        signal = [
            desk.group(ExecutionStarted(ts_ns=samples.START_NS, row=row)),
            desk.group(StrategyRegistered(ts_ns=samples.START_NS, row=samples.strategy("exec-live"))),
            desk.decision(),
        ]
        store.commit(signal)
    assert read_rows(place, "orders", Query(account="live"))
    assert read_rows(place, "orders", Query(account="live", since="1h")) == []


def next_run(place: Place, reason: str) -> str:
    """Close the execution and begin the next, with what is carried over."""
    append(place, [ExecutionClosed(ts_ns=samples.START_NS, reason=reason)])
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        book = Book()
        for sequence, record in store.read_journal(samples.RUN, 0, 10_000):
            book.apply(record, sequence)
        opening = opening_of(book, "exec-next") if reason != STARTED_FRESH else None
        row = samples.execution("exec-next", 2, "paper-1")
        desk = samples.Desk("exec-next", account="paper-1", number=2)
        store.commit([desk.group(ExecutionStarted(ts_ns=samples.START_NS, row=row, opening=opening))])
    return "exec-next"


def test_a_trade_that_was_carried_over_is_open_in_one_run_only(place: Place) -> None:
    assert {row["after_the_run"] for row in read_rows(place, "trades", Query(limit=None))} == {None}
    after = next_run(place, "the feed has ended")
    rows = read_rows(place, "trades", Query(all_runs=True, limit=None))
    old = [row for row in rows if row["run"] == 1]
    new = [row for row in rows if row["run"] == 2]
    assert len(new) == len(FILLED)
    assert all(row["carried_over"] and row["after_the_run"] is None for row in new)
    assert [row["after_the_run"] for row in old].count("carried on") == len(FILLED)
    held = read_rows(place, "trades", Query(all_runs=True, last_runs=True, status=("OPEN",), limit=None))
    assert {row["execution"] for row in held} == {after}


def test_what_a_fresh_start_gave_up_is_not_said_to_go_on(place: Place) -> None:
    next_run(place, STARTED_FRESH)
    rows = read_rows(place, "trades", Query(all_runs=True, limit=None))
    assert {row["after_the_run"] for row in rows if row["status"] == "OPEN"} == {"left behind"}


def test_positions_are_the_sum_of_the_fills(place: Place) -> None:
    [row] = read_rows(place, "positions", Query())
    assert Decimal(row["quantity"]) == sum(samples.fill(n).quantity for n in FILLED)
    assert Decimal(row["cost"]) == sum(samples.fill(n).quantity * samples.fill(n).price for n in FILLED)
    assert row["unrealised"] is None  # no prices were saved yet


def test_the_journal_has_every_record_by_number(place: Place) -> None:
    rows = read_rows(place, "journal", Query(limit=None))
    assert [row["sequence"] for row in rows] == list(range(len(rows), 0, -1))
    assert {row["type"] for row in read_rows(place, "journal", Query(type="venue_reported"))} == {"venue_reported"}


def test_of_the_journal_what_is_asked_for_is_found_however_far_back_it_is(place: Place) -> None:
    every = read_rows(place, "journal", Query(limit=None))
    started = read_rows(place, "journal", Query(type="execution_started", limit=1))
    assert started == every[-1:]  # the limit is on what was asked for, not on what was looked at
    assert read_rows(place, "journal", Query(since="2014-05-13T16:53:22", limit=None)) == [
        row for row in every if row["time"] >= "2014-05-13T16:53:22"
    ]
    assert (
        read_rows(place, "journal", Query(until="2014-05-13T16:53:22", limit=2))
        == [row for row in every if row["time"] < "2014-05-13T16:53:22"][:2]
    )


def test_the_journals_of_two_accounts_are_merged_by_time_each_in_its_order(place: Place) -> None:
    open_second_account(place, 4)
    every = read_rows(place, "journal", Query(limit=None))
    assert {row["account"] for row in every} == {"paper-1", SECOND_ACCOUNT}
    for account in ("paper-1", SECOND_ACCOUNT):
        numbers = [row["sequence"] for row in every if row["account"] == account]
        assert numbers == list(range(len(numbers), 0, -1))
    decisions = read_rows(place, "journal", Query(type="decision_taken", limit=6))
    assert [row["account"] for row in decisions].count(SECOND_ACCOUNT) in (2, 3)
    assert [row["ts_ns"] for row in decisions] == sorted((row["ts_ns"] for row in decisions), reverse=True)
    assert read_rows(place, "journal", Query(limit=2)) == every[:2]


def test_a_journal_longer_than_what_is_read_in_one_go_is_read_whole(place: Place) -> None:
    append(place, [samples.noted(number) for number in range(CHUNK_ROWS + 1)])
    rows = read_rows(place, "journal", Query(limit=None))
    assert [row["sequence"] for row in rows] == list(range(len(rows), 0, -1))
    assert len(rows) > CHUNK_ROWS
    assert read_rows(place, "journal", Query(limit=CHUNK_ROWS + 1)) == rows[: CHUNK_ROWS + 1]


@pytest.mark.parametrize(
    ("kind", "query", "word"),
    [
        ("journal", Query(strategy="floor"), "--strategy"),
        ("positions", Query(since="1d"), "--since"),
        ("positions", Query(until="1d"), "--until"),
        ("snapshots", Query(strategy="floor"), "--strategy"),
    ],
)
def test_what_would_not_narrow_is_refused(place: Place, kind: str, query: Query, word: str) -> None:
    with pytest.raises(InputError, match=f"{word} means nothing for {kind}"):
        read_rows(place, kind, query)


async def test_amounts_that_nobody_can_compute_with_are_no_damage(place: Place) -> None:
    """They are exact, and what a script has written down: no copy has to be put back."""
    async with Database(place.where, now_ns=lambda: NOW_NS) as database:
        run = await SqlExecutionRepository(database).create_execution("mine")
        amounts = [Decimal("1E-250"), Decimal("1E+250")]
        fills = [samples.fill(n, account="mine", quantity=q, fill_id=f"mine-{n}") for n, q in enumerate(amounts)]
        await SqlFillRepository(database).append_fills(run.execution, fills)
    with pytest.raises(
        InputError, match=r"of account mine cannot be computed.*Ask for the other accounts by --account"
    ):
        await anyio.to_thread.run_sync(read_rows, place, "positions", Query())
    assert len(await anyio.to_thread.run_sync(read_rows, place, "positions", Query(account="paper-1"))) == 1


def test_no_more_positions_than_asked_for(place: Place) -> None:
    assert read_rows(place, "positions", Query(limit=0)) == []
    assert len(read_rows(place, "positions", Query(limit=1))) == 1


def test_words_narrow(place: Place) -> None:
    assert read_rows(place, "trades", Query(status=("OPEN",))) != read_rows(place, "trades", Query())
    assert len(read_rows(place, "trades", Query(execution=samples.RUN))) == DECISIONS
    assert read_rows(place, "trades", Query(until="2000-01-01")) == []
    with pytest.raises(InputError, match="no execution none"):
        read_rows(place, "trades", Query(execution="none"))


@pytest.mark.parametrize(
    ("kind", "query", "said"),
    [
        ("trades", Query(strategy="flor"), "no strategy 'flor'; did you mean \"floor\""),
        ("trades", Query(account="nobody"), "no account 'nobody'"),
        ("orders", Query(status=("unkown",)), 'did you mean "unknown"'),
        ("trades", Query(status=("opened",)), "no status 'opened'"),
        ("trades", Query(instrument="EURUSD"), "no instrument 'EURUSD'; did you mean \"EUR_USD\""),
        ("fills", Query(instrument="GBP_USD"), "no instrument 'GBP_USD'"),
        ("events", Query(type="layer_opend"), "no type 'layer_opend'; did you mean \"layer_opened\""),
        ("journal", Query(type="layer_opened"), "no type 'layer_opened'"),
    ],
)
def test_a_misspelling_is_never_answered_with_none(place: Place, kind: str, query: Query, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_rows(place, kind, query)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-02", 86_400 * 10**9),
        ("1970-01-01T00:00:01", 10**9),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000001Z", 1_000),
        ("90s", NOW_NS - 90 * 10**9),
        ("15m", NOW_NS - 900 * 10**9),
        ("2h", NOW_NS - 7_200 * 10**9),
        ("3d", NOW_NS - 259_200 * 10**9),
        ("1w", NOW_NS - 604_800 * 10**9),
    ],
)
def test_a_time_is_a_date_or_how_long_ago(text: str, ns: int) -> None:
    assert moment_ns(text, NOW_NS) == ns


@pytest.mark.parametrize("text", ["", "yesterday", "2014-13-01", "5", "5y", "-1h", "2014-05-08T25:00"])
def test_what_is_no_time_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(InputError, match="2014-05-08"):
        moment_ns(text, NOW_NS)


@given(st.integers(min_value=0, max_value=4 * 10**18))
def test_a_moment_is_written_exactly(ns: int) -> None:
    written = iso(ns)
    whole = moment_ns(written[:-4] + "Z", NOW_NS)  # Python reads six digits of nine
    assert whole + int(written[-4:-1]) == ns


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_an_amount_reads_back_as_the_same_number(value: Decimal) -> None:
    written = plain_value(value)
    assert Decimal(written) == value
    assert "E" not in written
