"""Random days on which one order after the other turns what is held: killed, lost, cut short, both sides agree to the last digit.

The gamblers of the other days, who want two market entries in three to close what they hold the other way.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.domain.days import costs, story
from tests.unit.domain.gambler import GamblerParams, Reckless
from tests.unit.domain.markets import walk
from tests.unit.domain.test_execution_property import Operator
from tests.unit.domain.world import Unlucky, World
from tradekeel.domain import records as r
from tradekeel.domain.matching import PaperSettings
from tradekeel.domain.matching.chance import draw
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters

pytestmark = pytest.mark.untraced
"""The lines of a day are those that the cores' own tests run."""

D = Decimal
seeds = st.integers(0, 10**6)
few = settings(max_examples=settings().max_examples // 10)
"""Whole days, of which each takes a fifth of a second; the campaign's profile has hundreds of them."""


def turning(seed: int, unlucky: Unlucky | None = None, **more: Any) -> World:
    """One gambler whose exits the venue keeps, or two who share an instrument; a thin market on every other day."""
    at_venue = more.pop("exits_at_venue", bool(seed & 1))
    names = ("a",) if at_venue and not more.get("hedging") else ("a", "b")
    params = (GamblerParams(seed=seed * 3 + n, answers=bool(seed & 2), one_in=3, turns=True) for n in range(len(names)))
    gamblers = {name: Reckless(one) for name, one in zip(names, params, strict=True)}
    ticks = more.pop("ticks", None) or walk(seed, sizes=seed % 4 < 2)
    return World(ticks, gamblers, exits_at_venue=at_venue, unlucky=unlucky, **more)


def killed(seed: int, times: int, **more: Any) -> tuple[World, World]:
    """The day as it is, and the same day with so many kills."""
    plain = turning(seed, **more).run()
    at = random.Random(seed).sample(range(1, plain.unlucky.passed + 20), times)
    return plain, turning(seed, Unlucky(at), **more).run()


@few
@given(seeds)
def test_a_day_without_accidents_balances(seed: int) -> None:
    done = turning(seed, after_window=World.check).run()

    done.check()
    assert not [o for o in done.book.orders.values() if o.status is OrderStatus.UNKNOWN]


@few
@given(seeds, st.integers(1, 4))
def test_killed_anywhere_the_day_ends_as_if_it_had_not_been(seed: int, kills: int) -> None:
    plain, again = killed(seed, kills)

    again.check()
    assert story(again) == story(plain)


@few
@given(seeds)
def test_so_it_does_with_costs_and_latency_and_rejections(seed: int) -> None:
    plain, again = killed(seed, 2, settings=costs)

    again.check()
    assert story(again) == story(plain)


@few
@given(seeds, st.booleans())
def test_so_it_does_on_a_hedging_account_where_two_orders_do_it(seed: int, at_venue: bool) -> None:
    plain, again = killed(seed, 2, hedging=True, exits_at_venue=at_venue)

    again.check()
    assert story(again) == story(plain)
    assert not any(o.closes for o in (plain.book.orders | plain.book.ended).values())


@few
@given(seeds)
def test_so_it_does_within_limits(seed: int) -> None:
    limits = RiskLimits(position_max=D(2500), quantity_max=D(1500), open_orders_max=12)
    plain, again = killed(seed, 2, limits=limits)

    again.check()
    assert story(again) == story(plain)


@few
@given(seeds, st.integers(0, 3))
def test_requests_that_are_lost_and_answers_that_are_do_no_harm(seed: int, kills: int) -> None:
    def wire(client_order_id: str, number: int) -> str:
        fates = ("ok", "ok", "ok", "ok", "ok", "drop", "timeout", "held")
        return fates[draw(seed, client_order_id) % len(fates)]

    at = random.Random(seed).sample(range(1, 900), kills)

    turning(seed, Unlucky(at, wire), after_window=lambda w: w.check() if w.arrived_there else None).run().check()


@few
@given(seeds)
def test_a_margin_call_in_the_middle_of_everything_balances(seed: int) -> None:
    ticks = walk(seed, jump=(-1) ** seed * 4000)
    poor: dict[str, Any] = {"deposit": "160", "settings": PaperSettings(margin_call_level=D("0.9"))}
    plain, again = killed(seed, 1, ticks=ticks, **poor)

    plain.check()
    again.check()
    assert story(again)["fills"] == story(plain)["fills"]


@few
@given(seeds, st.integers(0, 3))
def test_where_time_does_not_wait_the_books_hold(seed: int, kills: int) -> None:
    def wire(client_order_id: str, number: int) -> str:
        return ("ok", "ok", "ok", "drop", "timeout")[draw(seed, client_order_id) % 5]

    at = random.Random(seed).sample(range(1, 900), kills)

    turning(seed, Unlucky(at, wire), replayable=False).run().check()


@few
@given(seeds, st.integers(0, 2))
def test_what_people_do_in_between_leaves_the_books_whole(seed: int, kills: int) -> None:
    at = random.Random(seed).sample(range(1, 900), kills)

    turning(seed, Unlucky(at), after_window=Operator(seed)).run().check()


@few
@given(seeds, st.booleans())
def test_one_order_makes_the_trades_that_two_make_where_orders_cost_nothing(seed: int, stopped: bool) -> None:
    def followed(one_order: bool) -> World:
        levels: dict[str, Any] = {"stop_loss_pips": D(2), "take_profit_pips": D(3)} if stopped else {}
        params = EmaCrossParameters(fast=2, slow=5, one_order=one_order, **levels)
        return World(walk(seed, 200), {"a": EmaCross(params)}, exits_at_venue=False).run()

    def trades(done: World) -> list[tuple[Any, ...]]:
        every = (*done.book.closed.values(), *done.book.trades.values())
        return [(t.side, t.created_ns, t.quantity, t.entry_price, t.exit_price, t.exit_reason, t.pnl) for t in every]

    two, one = followed(False), followed(True)

    one.check()
    assert sorted(trades(one), key=repr) == sorted(trades(two), key=repr)
    assert one.book.money == two.book.money
    turns = sum(bool(o.closes) for o in (one.book.ended | one.book.orders).values())
    assert len(one.arrived) == len(two.arrived) - turns


def test_the_days_turn_often_enough_to_mean_something() -> None:
    """In one order and in parts, waiting for protective orders, made smaller by them, denied and renewed."""
    seen: dict[str, int] = {}
    for seed in range(40):
        _, done = killed(seed, 3)
        for _, rec in done.decoded():
            orders = rec.orders if isinstance(rec, r.DecisionTaken | r.OrdersIntended) else ()
            for order in orders:
                if order.closes:
                    seen["turns"] = seen.get("turns", 0) + 1
                    for what in ("after_cancel_of", "renews"):
                        seen[what] = seen.get(what, 0) + bool(getattr(order, what))
                    seen["several"] = seen.get("several", 0) + (len(order.closes) > 1)
                if order.renews is not None and "left of the trades" in getattr(rec, "reason", ""):
                    seen["smaller"] = seen.get("smaller", 0) + 1
            if isinstance(rec, r.VenueReported) and len(rec.allocations) > 1:
                seen["split"] = seen.get("split", 0) + 1

    assert set(seen) >= {"turns", "after_cancel_of", "renews", "several", "split"}, seen
    assert all(seen.values()), seen
