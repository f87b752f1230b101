"""A short round of the kill campaign: killed at the moments that hurt most, and started again.

The whole of it, three hundred rounds at every stage and at random moments, is `make campaign`; see docs/campaigns.md.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.campaigns.kill.books import check_ended, read_ours, read_theirs
from tests.campaigns.kill.campaign import Campaign, Round
from tests.campaigns.kill.plan import plan_aimed
from tests.campaigns.kill.process import live
from tests.campaigns.kill.steering import Steering, entries_in_spite
from tests.campaigns.kill.stores import Databases
from tests.campaigns.kill.story import differences, story_of
from tests.campaigns.kill.variants import VARIANTS
from tests.campaigns.workplace import workplace

WORST_MOMENTS = (
    "executor.after_commit",  # the intent is durable, and nothing is sent
    "session.place.on_the_wire",
    "paper.place.after_commit",  # the venue has the order, and nobody knows
    "paper.match.after_commit",  # the venue has filled it, and nobody knows
    "session.cancel.before",  # an exit waits for a stop to be out of its way
    "executor.renew.before",  # the second kill, while what never arrived is decided again
    "feed.rewinding",  # the second kill, on the way back to where the first one came
    "executor.close.before",
)


INSIDE_THE_STORE = ("store.in_transaction", "store.before_commit", "store.after_commit")


def rounds_at(points: Sequence[str], campaign: Campaign) -> None:
    """Kill at each of these points, and whenever it comes after that."""
    assert campaign.run_references(print) == []
    passed = {name: reference.passed for name, reference in campaign.references.items()}
    plans = [plan_aimed(number, campaign.seed, passed, point) for number, point in enumerate(points)]
    rounds = [Round(number, campaign.seed, plan.variant, plan.kills) for number, plan in enumerate(plans)]
    campaign.run(rounds, 2, lambda done: None)
    for done in campaign.rounds:
        assert done.deaths, f"{done.name} was never killed"
        assert done.wrong == [], f"{done.name}: {[str(death.kill) for death in done.deaths]}"


def test_killed_at_the_worst_moments_no_order_is_lost_none_is_sent_twice_and_the_trades_are_the_same(
    seed: int,
) -> None:
    with workplace() as work:
        rounds_at(WORST_MOMENTS, Campaign(work, None, [VARIANTS["layers"]], seed))


def test_so_it_is_with_the_books_on_a_server_and_the_trades_are_those_of_a_file(
    seed: int, databases: Databases
) -> None:
    with workplace() as work:
        campaign = Campaign(work, None, [VARIANTS["layers"]], seed, databases)
        rounds_at(INSIDE_THE_STORE + WORST_MOMENTS[:4], campaign)
        in_a_file = Campaign(work, None, [VARIANTS["layers"]], seed)
        assert in_a_file.run_references(print) == []
        for account, story in in_a_file.references["layers"].stories.items():
            assert list(differences(story, campaign.references["layers"].stories[account])) == []


STEERED_MOMENTS = ("executor.after_commit", "store.before_commit", "executor.news.before_booking")


def test_killed_while_a_person_pauses_flattens_kills_and_releases_what_was_answered_holds(seed: int) -> None:
    with workplace() as work:
        campaign = Campaign(work, None, [VARIANTS["steered"]], seed)
        assert campaign.run_references(print) == []
        passed = {name: reference.passed for name, reference in campaign.references.items()}
        plans = [plan_aimed(number, seed, passed, point) for number, point in enumerate(STEERED_MOMENTS)]
        rounds = [Round(number, seed, plan.variant, plan.kills) for number, plan in enumerate(plans)]
        campaign.run(rounds, 2, lambda done: None)
        assert sum(done.answered for done in campaign.rounds) > 3, "commands were answered"
        for done in campaign.rounds:
            assert done.wrong == [], f"{done.name}: {[str(death.kill) for death in done.deaths]}"


# --- the checks themselves can fail -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended() -> Iterator[Path]:
    """The state directory of a run that ended by itself."""
    with workplace() as work:
        config = work / "campaign.toml"
        config.write_text(VARIANTS["layers"].config(work / "state", None))
        life = live(config, work / "points", None, 0.0)
        assert life.code == 0, life.log
        yield work / "state"


@pytest.fixture
def state(ended: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(ended, tmp_path / "state"))


def found(state: Path) -> list[str]:
    """What the checks say."""
    return list(check_ended(read_ours(state / "books.db", "a"), read_theirs(state / "paper-a.db")))


def damage(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            assert db.execute(statement).rowcount, f"changes nothing: {statement}"
        db.commit()


COPY_AN_ORDER = """
INSERT INTO orders (venue_order_id, client_order_id, open, payload, crc)
SELECT 'again', client_order_id, 0, payload, crc FROM orders WHERE id = 1
"""


def test_an_honest_run_is_found_in_order(state: Path) -> None:
    assert found(state) == []


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DELETE FROM fills WHERE id = 3", "is missing in our books"),
        ("UPDATE fills SET price = '1.2' WHERE id = 3", "is not the venue's"),
        ("UPDATE fills SET fee = '7' WHERE id = 3", "in fees"),
        ("UPDATE fills SET side = 'sell' WHERE id = 1", "positions from our fills"),
        ("DELETE FROM journal WHERE sequence = 9", "journal record 10 stands where 9 should"),
        ("UPDATE journal SET payload = substr(payload, 2) WHERE sequence = 9", "the checksum is off"),
        ("DELETE FROM orders WHERE status = 'filled' AND purpose = 'exit'", "and our books do not"),
        ("UPDATE orders SET status = 'unknown' WHERE type = 'market'", "ended as unknown"),
        ("UPDATE orders SET status = 'not_sent' WHERE type = 'market'", "is not_sent and known to the venue"),
        ("UPDATE trades SET exited_quantity = '0' WHERE status = 'CLOSED'", "is CLOSED with"),
        ("UPDATE executions SET latch = 'halted'", "is not closed as it should be"),
        ("UPDATE strategies SET status = 'paused'", "is paused"),
        ("UPDATE executions SET paused = 1", "strategy floor is active"),
        ("UPDATE venue_cursors SET sequence = 100000", "and its record ends at"),
    ],
)
def test_damage_in_our_books_is_found(state: Path, statement: str, complaint: str) -> None:
    damage(state / "books.db", statement)
    assert any(complaint in text for text in found(state)), found(state)


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DELETE FROM transactions WHERE sequence = 7", "the venue's record has a gap"),
        ("UPDATE transactions SET crc = crc + 1 WHERE sequence = 7", "entry 7 is damaged"),
        (COPY_AN_ORDER, "stands 2 times among the venue's orders"),
        ("DELETE FROM orders WHERE id = 1", "and not known to the venue"),
    ],
)
def test_damage_at_the_venue_is_found(state: Path, statement: str, complaint: str) -> None:
    damage(state / "paper-a.db", statement)
    assert any(complaint in text for text in found(state)), found(state)


def test_another_story_is_told_from_the_same_one(state: Path) -> None:
    before = story_of(read_ours(state / "books.db", "a"))
    assert list(differences(before, before)) == []
    damage(state / "books.db", "UPDATE trades SET exit_reason = 'manual' WHERE exit_reason = 'take_profit'")
    after = story_of(read_ours(state / "books.db", "a"))
    assert any("exit_reason is manual, not take_profit" in text for text in differences(before, after))


def test_they_find_what_people_were_told_and_what_is_not_so(state: Path) -> None:
    damage(
        state / "books.db",
        "UPDATE executions SET status = 'running', closed_ns = NULL, close_reason = '', paused = 1",
    )
    steering = Steering(state, state / "none.toml", ("a",), "0")
    steering.sure["a"] = {"pause": "not paused", "latch": "halted"}

    assert list(steering.wrong("a", read_ours(state / "books.db", "a"))) == [
        "a resume was answered, and is not in the books",
        "a kill was answered, and the books say open",
    ]


def test_they_find_an_entry_that_was_taken_in_spite_of_a_pause(state: Path) -> None:
    ours = read_ours(state / "books.db", "a")
    assert list(entries_in_spite(ours)) == []
    paused = {
        "type": "latch_changed",
        "sequence": 1,
        "payload": msgspec.msgpack.encode({"paused": True, "latch": "open"}),
    }
    ours.journal.insert(0, paused)

    found = list(entries_in_spite(ours))

    assert len(found) > 5
    assert all("while paused" in text for text in found)
