"""The store commits groups whole, in order and together, and gives back what it was given."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from msgspec import structs

from tests.unit.storage import samples as s
from tests.unit.storage.looking import look, tamper
from tradekeel.domain import records as r
from tradekeel.domain.orders import OrderStatus, Side
from tradekeel.domain.rows import ACCOUNT_OWNER, MetricsCheckpoint, Row, StrategyEvent
from tradekeel.errors import GroupRefused, StoreCorrupt, StoreUnavailable
from tradekeel.storage.store import Store, Written
from tradekeel.storage.verify import verify


class Stop(Exception):
    """What a harness raises at a point."""


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_journal_numbers_count_from_one_without_a_gap(store, desk):
    assert store.commit([desk.decision(), desk.filled(1)]) == [Written(4, 4), Written(5, 5)]
    assert store.commit([s.group(s.noted(1), s.noted(2))]) == [Written(6, 7)]
    assert [sequence for sequence, _ in store.read_journal(s.RUN, 0, 100)] == [1, 2, 3, 4, 5, 6, 7]


def test_every_execution_has_numbers_of_its_own(store, desk):
    other = s.Desk("exec-2", account="paper-2")
    assert store.commit([other.opening(), s.group(s.noted()), other.decision()]) == [
        Written(1, 3),
        Written(4, 4),
        Written(4, 4),
    ]
    assert (store.last_sequence(s.RUN), store.last_sequence("exec-2"), store.last_sequence("never")) == (4, 4, 0)


def test_a_group_without_records_takes_no_number(store, desk):
    assert store.commit([s.group(checkpoints=(s.checkpoint(),)), s.group(s.noted())]) == [Written(4, 3), Written(4, 4)]


def test_nothing_to_commit_is_nothing(store):
    assert store.commit([]) == []


def test_numbers_go_on_after_the_store_was_opened_again(store, desk, at):
    store.close()
    with Store.open(at, now_ns=s.START_NS) as again:
        assert again.commit([s.group(s.noted())]) == [Written(4, 4)]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_only_the_last_version_of_a_row_stays(store, desk, at):
    store.commit([desk.decision()])
    versions = [s.order(1, status=status) for status in (OrderStatus.SUBMITTED, OrderStatus.ACCEPTED)]
    store.commit([s.group(s.noted(n), rows=(row,)) for n, row in enumerate(versions)])
    assert look(at, "SELECT status FROM orders") == [("accepted",)]


def test_a_batch_is_all_there_or_not_at_all(at):
    def stop(name: str) -> None:
        if name == "store.before_commit" and armed:
            raise Stop(name)

    armed: list[bool] = []
    desk = s.Desk()
    with Store.open(at, now_ns=s.START_NS, point=stop) as store:
        store.commit([desk.opening()])
        armed.append(True)
        with pytest.raises(Stop):
            store.commit([desk.decision(), desk.filled(1)])
        assert store.last_sequence(s.RUN) == 3
    assert verify(at).ok


def test_the_points_are_passed_in_order(at):
    passed: list[str] = []
    with Store.open(at, now_ns=s.START_NS, point=passed.append) as store:
        store.commit([s.Desk().opening()])
    assert passed == ["store.in_transaction", "store.before_commit", "store.after_commit"]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_of_two_groups_only_the_bad_one_is_refused(store, desk, at):
    store.commit([desk.decision(), desk.filled(1)])
    good = desk.decision()
    bad = s.group(s.noted(), rows=(s.fill(1),))
    refused, written = store.commit([bad, good])
    assert isinstance(refused, GroupRefused)
    assert re.search("unique constraint .*fills", str(refused), re.IGNORECASE)
    assert written == Written(6, 6)
    assert store.last_sequence(s.RUN) == 6
    assert verify(at).ok


def test_a_refused_group_leaves_nothing_of_itself(store, desk, at):
    half = s.group(s.noted(), rows=(s.signal(1), s.order(1, trade_id="nowhere")), checkpoints=(s.checkpoint(),))
    [refused] = store.commit([half])
    assert isinstance(refused, GroupRefused)
    assert store.last_sequence(s.RUN) == 3
    assert store.load_checkpoints(s.RUN, s.STRATEGY).saved == ()
    assert look(at, "SELECT count(*) FROM signals") == [(0,)]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_others_of_a_batch_keep_their_order_and_their_numbers(store, desk, place):
    groups = [s.group(s.noted(n), s.noted(n + 10)) for n in range(2)]
    groups.insert(place, s.group(s.noted(), run="never"))
    results = store.commit(groups)
    assert isinstance(results.pop(place), GroupRefused)
    assert results == [Written(4, 5), Written(6, 7)]


@pytest.mark.parametrize(
    "row",
    [
        s.trade(1, metadata={"when": object()}),
        s.trade(1, quantity=Decimal("NaN")),
        s.trade(1, created_ns=2**63),
        s.trade(1, model="\ud800"),
        s.trade(1, quantity="many"),
        s.noted(),
    ],
    ids=["no JSON", "no number", "no 64 bits", "no character", "no amount", "no row"],
)
def test_what_cannot_be_stored_is_refused_like_a_broken_rule(store, desk, row):
    refused, written = store.commit([s.group(s.noted(), rows=(s.signal(1), row)), s.group(s.noted())])
    assert isinstance(refused, GroupRefused)
    assert written == Written(4, 4)
    assert store.failed is None


def test_a_record_that_cannot_be_encoded_is_refused(store, desk):
    hopeless = structs.replace(s.noted(), instrument=object())
    refused, written = store.commit([s.group(hopeless), s.group(s.noted())])
    assert isinstance(refused, GroupRefused)
    assert written == Written(4, 4)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
def test_one_id_never_stands_for_two_things(store, desk, together):
    first = desk.decision()
    second = s.group(s.noted(), rows=(s.order(1, side=Side.SELL),))
    results = store.commit([first, second]) if together else [*store.commit([first]), *store.commit([second])]
    assert results[0] == Written(4, 4)
    assert isinstance(results[1], GroupRefused)
    assert "something else" in str(results[1])


def test_the_same_thing_twice_is_one_thing(store, desk):
    group = desk.decision()
    store.commit([group])
    [again] = store.commit([s.group(s.noted(), rows=tuple(row for row in group.rows if not is_event(row)))])
    assert not isinstance(again, GroupRefused)


def is_event(row: Row) -> bool:
    return isinstance(row, StrategyEvent)


# --- a store that failed ---------------------------------------------------------------------------------------------


def test_a_defect_in_the_middle_poisons_too(at):
    def stop(name: str) -> None:
        raise Stop(name)

    with Store.open(at, now_ns=s.START_NS, point=stop) as store:
        with pytest.raises(Stop):
            store.commit([s.Desk().opening()])
        with pytest.raises(StoreUnavailable, match="failed before: Stop"):
            store.commit([s.Desk().opening()])


# --- the journal -----------------------------------------------------------------------------------------------------


def test_the_journal_gives_back_the_very_records(store, desk):
    groups = [desk.decision(), desk.filled(1), s.group(s.noted())]
    store.commit(groups)
    records = [record for group in groups for record in group.records]
    assert store.read_journal(s.RUN, 3, 100) == list(enumerate(records, start=4))


def test_the_journal_is_read_in_pages(store, desk):
    store.commit([s.group(*(s.noted(n) for n in range(7)))])
    read, after = [], 0
    while page := store.read_journal(s.RUN, after, 4):
        assert len(page) <= 4
        read += [sequence for sequence, _ in page]
        after = page[-1][0]
    assert read == list(range(1, 11))


def test_a_journal_that_ends_too_early_is_damage(store, desk):
    with pytest.raises(StoreCorrupt, match=r"journal of execution exec-1 ends at record 3, but record 9 was written"):
        store.read_journal(s.RUN, 9, 10)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("DELETE FROM journal WHERE sequence = 2", "execution exec-1 has a gap: record 2 is missing"),
        ("UPDATE journal SET payload = payload || x'00' WHERE sequence = 2", "record 2 of execution exec-1 is damaged"),
        ("UPDATE journal SET ts_ns = ts_ns + 1 WHERE sequence = 2", "record 2 of execution exec-1 is damaged"),
        ("UPDATE journal SET type = 'x' WHERE sequence = 2", "record 2 of execution exec-1 is damaged"),
        ("UPDATE journal SET correlation_id = 'x' WHERE sequence = 2", "record 2 of execution exec-1 is damaged"),
        ("UPDATE journal SET crc = crc + 1 WHERE sequence = 2", "record 2 of execution exec-1 is damaged"),
    ],
)
def test_damage_in_the_journal_is_named(store, desk, at, damage, message):
    tamper(at, damage)
    with pytest.raises(StoreCorrupt, match=message):
        store.read_journal(s.RUN, 0, 10)
    assert store.read_journal(s.RUN, 2, 10), "what follows can still be read"


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_checkpoints_come_back_newest_first_with_their_place_in_the_journal(store, desk):
    store.commit([s.group(s.noted(n), checkpoints=(s.checkpoint(n),)) for n in (1, 2)])
    history = store.load_checkpoints(s.RUN, s.STRATEGY)
    assert [(saved.sequence, saved.checkpoint) for saved in history.saved] == [
        (5, s.checkpoint(2)),
        (4, s.checkpoint(1)),
    ]
    assert history.notes == ()


def test_the_last_few_checkpoints_of_each_owner_stay(store, desk, at):
    for number in range(1, 41):
        owner = s.STRATEGY if number % 2 else ACCOUNT_OWNER
        store.commit([s.group(checkpoints=(s.checkpoint(number, owner),))])
    store.commit([s.group(checkpoints=tuple(s.checkpoint(n, "burst") for n in range(1, 40)))])
    for owner, newest in ((s.STRATEGY, 39), (ACCOUNT_OWNER, 40), ("burst", 39)):
        step = 1 if owner == "burst" else 2
        saved = store.load_checkpoints(s.RUN, owner).saved
        assert [c.checkpoint.inbox for c in saved] == [newest - step * n for n in range(5)]
    [(most,)] = look(at, "SELECT max(n) FROM (SELECT count(*) AS n FROM checkpoints GROUP BY owner) AS counted")
    assert most <= 10


def test_how_many_stay_is_configured(at):
    with Store.open(at, now_ns=s.START_NS, checkpoints_kept=2) as store:
        store.commit([s.Desk().opening()])
        for number in range(1, 9):
            store.commit([s.group(checkpoints=(s.checkpoint(number),))])
        assert [c.checkpoint.inbox for c in store.load_checkpoints(s.RUN, s.STRATEGY).saved] == [8, 7]


@pytest.mark.parametrize("column", ["position", "inbox", "ts_ns", "version", "state", "sequence"])
def test_a_damaged_checkpoint_is_left_out_with_a_note(store, desk, at, column):
    store.commit([s.group(s.noted(n), checkpoints=(s.checkpoint(n),)) for n in (1, 2)])
    changed = "'other'" if column == "state" else f"{column} + 1"
    tamper(at, f"UPDATE checkpoints SET {column} = {changed} WHERE id = 2")
    history = store.load_checkpoints(s.RUN, s.STRATEGY)
    assert [saved.checkpoint for saved in history.saved] == [s.checkpoint(1)]
    assert len(history.notes) == 1
    assert "checkpoint of floor" in history.notes[0]
    assert "damaged" in history.notes[0]


def test_saved_metrics_keep_the_last_few_too(store, desk, at):
    for number in range(9):
        saved = MetricsCheckpoint(execution=s.RUN, ts_ns=number, data=b"metrics")
        store.commit([s.group(rows=(saved,))])
    assert look(at, "SELECT ts_ns FROM metrics_checkpoints ORDER BY id") == [(number,) for number in range(4, 9)]


# --- executions ------------------------------------------------------------------------------------------------------


def test_an_unfinished_execution_is_found_and_a_finished_one_is_not(store, desk):
    assert store.open_execution("paper-1") == s.execution()
    assert store.open_execution("paper-2") is None
    assert store.next_number("paper-1") == 2
    assert store.next_number("paper-2") == 1
    store.commit([desk.group(r.ExecutionClosed(ts_ns=s.START_NS + 9, reason="feed ended"))])
    assert store.open_execution("paper-1") is None
    second = s.Desk("exec-2", number=store.next_number("paper-1"))
    store.commit([second.opening()])
    assert [row.execution for row in store.executions("paper-1")] == [s.RUN, "exec-2"]
    assert [row.status for row in store.executions()] == ["closed", "running"]


def test_an_execution_ends_and_the_next_begins_in_one_batch(store, desk):
    ended = desk.group(r.ExecutionClosed(ts_ns=s.START_NS + 9, reason="fresh"))
    assert store.commit([ended, s.Desk("exec-2", number=2).opening()]) == [Written(4, 4), Written(1, 3)]
