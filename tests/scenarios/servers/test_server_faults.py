"""A short round of the campaign of server faults: each fault once, under load, and both sides' books agree afterwards.

A hundred rounds of each, at random moments, are `python -m tests.campaigns.servers`; see docs/campaigns.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.campaigns.servers.campaign import Campaign, campaign
from tests.campaigns.servers.faults import FAULTS, POSTGRES, REDIS
from tests.campaigns.servers.plan import Blow, Plan, plan_of
from tests.campaigns.servers.report import missing, table
from tests.campaigns.servers.trial import said_again
from tests.campaigns.servers.watching import Seen, too_eager
from tests.campaigns.workplace import workplace

TICKS = 400
LASTS_MAX_S = 0.6


@pytest.fixture(scope="module")
def short() -> Iterator[Campaign]:
    """A campaign with two servers of each kind at most, and a short load."""
    with workplace() as work, campaign(work, 2, TICKS) as running:
        yield running


def rounds(seed: int, kind: str) -> list[Plan]:
    """One round of each fault of a server, in which it strikes once and not for long."""
    plans = [plan_of(seed, fault, 0) for fault in FAULTS.values() if fault.kind == kind]
    return [replace(plan, blows=(shorter(plan.blows[0]),), in_the_start=False) for plan in plans]


def shorter(blow: Blow) -> Blow:
    """The same, over sooner."""
    killed_s = None if blow.kill_after_s is None else min(blow.kill_after_s, LASTS_MAX_S)
    return replace(blow, lasts_s=min(blow.lasts_s, LASTS_MAX_S), kill_after_s=killed_s)


def all_is_well(short: Campaign, plans: list[Plan]) -> None:
    """Run them, and nothing is wrong."""
    trials = short.run(plans, lambda trial: None)
    assert [(trial.plan.name, str(trial.plan), trial.wrong) for trial in trials if trial.wrong] == []
    assert missing(trials, [plan.fault.name for plan in plans]) == []
    assert len(table(trials)) == len(plans) + 2


@pytest.mark.postgres
def test_whatever_befalls_the_books_server_no_order_is_lost_or_doubled_and_the_spool_is_empty(
    short: Campaign, seed: int
) -> None:
    all_is_well(short, rounds(seed, POSTGRES))


@pytest.mark.redis
def test_whatever_befalls_redis_trading_goes_on_and_the_streams_carry_each_event_once(
    short: Campaign, seed: int
) -> None:
    all_is_well(short, rounds(seed, REDIS))


# --- the checks themselves can fail -----------------------------------------------------------------------------------


def test_a_round_can_be_had_again_by_its_name() -> None:
    plan = plan_of(7, FAULTS["postgres-cut"], 12)
    seed, name, number = plan.name.split("/")
    assert plan_of(int(seed), FAULTS[name], int(number)) == plan


def test_a_breaker_that_is_not_as_documented_is_found() -> None:
    seen = Seen([("direct", "closed", 0), ("away", "open", 3), ("away", "half_open", 3), ("draining", "closed", 2)])
    assert list(seen.wrong()) == []
    seen.stands += [("draining", "open", 2), ("direct", "closed", 1)]
    assert list(seen.wrong()) == [
        "the status says mode draining with a breaker that is open",
        "the status says direct, and that 1 batches wait",
    ]


def test_a_server_that_is_asked_without_pause_while_it_is_away_is_found() -> None:
    assert list(too_eager([0.1, 0.2, 0.55, 0.9], 0.0, 1.0, lives=1)) == []
    assert list(too_eager([0.01 * n for n in range(100)], 0.0, 1.0, lives=1)) != []


def test_what_is_said_of_redis_again_and_again_is_found() -> None:
    first = "Redis at x fails us (events), and trading goes on without: it is full"
    other = "Redis at x fails us (events, open trades), and trading goes on without: it is full"
    back = "Redis at x is back: what was to be published meanwhile is made up for"
    assert list(said_again("\n".join([first, other, back, first]))) == []
    assert len(list(said_again("\n".join([first, other, first])))) == 1
