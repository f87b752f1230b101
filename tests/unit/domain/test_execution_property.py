"""Random days of a whole account: whatever is asked for, lost, or killed, both sides' books agree to the last digit.

The strategies are gamblers (tests/unit/domain/gambler.py) that ask for everything a strategy can ask for; the venue
is the real matching core; :func:`tests.unit.domain.world.check_books` says what must hold.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.domain.days import costs, story, world
from tests.unit.domain.gambler import Gambler, GamblerParams, Reckless
from tests.unit.domain.markets import tick_bars, walk
from tests.unit.domain.world import Unlucky, World
from tradekeel.domain import records as r
from tradekeel.domain.matching import PaperSettings
from tradekeel.domain.matching.chance import draw
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import TradeStatus

D = Decimal
seeds = st.integers(0, 10**6)


@given(seeds)
def test_a_day_without_accidents_balances(seed: int) -> None:
    done = world(seed, after_window=World.check).run()

    done.check()
    assert not [o for o in done.book.orders.values() if o.status is OrderStatus.UNKNOWN]


@given(seeds, st.integers(1, 4))
@example(
    3, 2
)  # between the requests of one decision: what came of the first made a strategy decide before the rest was out
def test_killed_anywhere_the_day_ends_as_if_it_had_not_been(seed: int, kills: int) -> None:
    plain = world(seed).run()
    chance = random.Random(seed)
    at = chance.sample(range(1, plain.unlucky.passed + 20), kills)

    killed = world(seed, Unlucky(at), after_window=lambda w: w.check() if w.arrived_there else None).run()

    killed.check()
    assert story(killed) == story(plain)


@given(seeds)
def test_so_it_does_where_something_is_recorded_at_a_tick_before_the_venue_meets_it(seed: int) -> None:
    plain = world(seed, notes=True).run()
    at = random.Random(seed).sample(range(1, plain.unlucky.passed + 20), 2)

    killed = world(seed, Unlucky(at), notes=True).run()

    killed.check()
    assert story(killed) == story(plain)


@given(seeds)
def test_so_it_does_with_costs_and_latency_and_rejections(seed: int) -> None:
    plain = world(seed, settings=costs).run()
    at = random.Random(seed).sample(range(1, plain.unlucky.passed + 20), 2)

    killed = world(seed, Unlucky(at), settings=costs).run()

    killed.check()
    assert story(killed) == story(plain)


@given(seeds, st.booleans(), st.booleans())
@settings(max_examples=settings().max_examples * 2)
def test_so_it_does_whatever_is_wanted_at_once(seed: int, hedging: bool, at_venue: bool) -> None:
    """Parts of trades, levels of trades that have not begun, the end of their own stops: all in one decision."""
    chance = random.Random(seed)
    names = "ab" if hedging or not at_venue else "a"
    ticks = walk(seed, chance.choice((60, 120)), sizes=chance.random() < 0.5)
    options: dict[str, Any] = {
        "hedging": hedging,
        "exits_at_venue": at_venue,
        "settings": chance.choice((None, costs)),
        "window": chance.choice((1, 4, 16)),
        "cut_every": chance.choice((0, 1, 3)),
    }

    def reckless(unlucky: Unlucky | None = None) -> World:
        params = (GamblerParams(seed=seed * 3 + n, answers=True, one_in=3) for n in range(len(names)))
        return World(
            ticks, {name: Reckless(one) for name, one in zip(names, params, strict=True)}, unlucky=unlucky, **options
        )

    plain = reckless().run()
    at = chance.sample(range(1, plain.unlucky.passed + 20), 2)

    killed = reckless(Unlucky(at)).run()

    killed.check()
    assert story(killed) == story(plain)


@given(seeds)
def test_so_it_does_on_a_hedging_account_with_two_instruments_and_bars(seed: int) -> None:
    symbols = ("EUR_USD", "GBP_USD")

    def hedged(unlucky: Unlucky | None = None) -> World:
        ticks = walk(seed, symbols=symbols)
        gamblers = {"a": Gambler(GamblerParams(seed=seed, bars=True)), "b": Gambler(GamblerParams(seed=seed + 1))}
        more: dict[str, Any] = {"symbols": symbols, "hedging": True, "exits_at_venue": bool(seed & 1)}
        return World(ticks, gamblers, bars=tick_bars(ticks), unlucky=unlucky, **more).run()

    plain = hedged()
    killed = hedged(Unlucky(random.Random(seed).sample(range(1, plain.unlucky.passed + 20), 2)))

    plain.check()
    killed.check()
    assert story(killed) == story(plain)


@given(seeds)
def test_equity_limits_trip_at_the_same_tick_after_a_kill(seed: int) -> None:
    limits = RiskLimits(daily_loss_max=D(2), drawdown_max=D(3), on_trip="halt" if seed % 2 else "reduce_only")
    plain = world(seed, limits=limits).run()
    at = random.Random(seed).sample(range(1, plain.unlucky.passed + 20), 2)

    killed = world(seed, Unlucky(at), limits=limits).run()

    killed.check()
    assert _latches(killed) == _latches(plain)
    assert story(killed) == story(plain)
    assert _denials(killed) == _denials(plain)
    assert not any("equity_missing" in why for *_, why in _denials(plain)), "from the first tick on the equity is known"


def _denials(done: World) -> list[tuple[int, str | None, str]]:
    decisions = [rec for _, rec in done.decoded() if isinstance(rec, r.DecisionTaken)]
    denied = [o for rec in decisions for o in rec.orders if o.status is OrderStatus.DENIED]
    return [(o.stamp, o.strategy, o.status_reason) for o in denied]


def _latches(done: World) -> list[tuple[int, str, str]]:
    return [(rec.stamp, rec.latch, rec.reason) for _, rec in done.decoded() if isinstance(rec, r.LatchChanged)]


@given(seeds, st.integers(0, 3))
def test_requests_that_are_lost_and_answers_that_are_do_no_harm(seed: int, kills: int) -> None:
    """Every fourth request or so is lost on the way, or its answer is, or our last check holds it back."""

    def wire(client_order_id: str, number: int) -> str:
        fates = ("ok", "ok", "ok", "ok", "ok", "drop", "timeout", "held")
        return fates[draw(seed, client_order_id) % len(fates)]

    at = random.Random(seed).sample(range(1, 900), kills)

    done = world(seed, Unlucky(at, wire), after_window=lambda w: w.check() if w.arrived_there else None).run()

    done.check()


@given(seeds)
def test_a_margin_call_in_the_middle_of_everything_balances(seed: int) -> None:
    ticks = walk(seed, jump=(-1) ** seed * 4000)
    poor: dict[str, Any] = {"deposit": "160", "settings": PaperSettings(margin_call_level=D("0.9"))}
    plain = world(seed, ticks=ticks, **poor).run()
    at = random.Random(seed).sample(range(1, plain.unlucky.passed + 20), 1)

    killed = world(seed, Unlucky(at), ticks=ticks, **poor).run()

    plain.check()
    killed.check()
    assert story(killed)["fills"] == story(plain)["fills"]


@given(seeds, st.integers(0, 3))
def test_where_time_does_not_wait_nothing_is_taken_again_and_the_books_hold(seed: int, kills: int) -> None:
    def wire(client_order_id: str, number: int) -> str:
        return ("ok", "ok", "ok", "drop", "timeout")[draw(seed, client_order_id) % 5]

    at = random.Random(seed).sample(range(1, 900), kills)

    done = world(seed, Unlucky(at, wire), replayable=False).run()

    done.check()
    assert not [o for o in (done.book.orders | done.book.ended).values() if o.renews and o.renews in done.arrived]
    assert all(o.after_cancel_of == () for o in (done.book.orders | done.book.ended).values() if o.attempt)


class Operator:
    """A person who does something to the account every other window."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.did: list[str] = []

    def __call__(self, account: World) -> None:
        if not account.arrived_there:
            return
        what = self.chance.choice(["nothing", "nothing", "pause", "resume", "kill", "release", "flatten", "everything"])
        self.did.append(what)
        core, now_ns = account.core, account.now_ns
        match what:
            case "pause" | "resume":
                account.take(core.pause(what == "pause", "wished", "operator", now_ns))
            case "kill":
                account.take(core.latch(Latch.HALTED, "wished", "operator", now_ns))
            case "release":
                account.take(core.release("wished", "operator", now_ns))
            case "flatten":
                account.take(core.flatten("operator", now_ns))
            case "everything":
                account.take(core.end("wished", now_ns))
        account.settle()
        account.check()
        if what in ("kill", "flatten"):
            entries = [o for o in account.book.orders.values() if o.purpose == "entry"]
            assert not entries, f"after {what} an entry still works"


@given(seeds, st.integers(0, 2))
def test_what_people_do_in_between_leaves_the_books_whole(seed: int, kills: int) -> None:
    at = random.Random(seed).sample(range(1, 900), kills)

    done = world(seed, Unlucky(at), after_window=Operator(seed)).run()

    done.check()


@pytest.mark.campaign
@settings(max_examples=300)
@given(seeds, st.integers(1, 5), st.booleans())
def test_long_days(seed: int, kills: int, dear: bool) -> None:
    more: dict[str, Any] = {"settings": costs} if dear else {}
    more["ticks"] = walk(seed, 600, sizes=seed % 3 == 0)
    plain = world(seed, **more).run()
    at = random.Random(seed).sample(range(1, plain.unlucky.passed + 20), kills)

    killed = world(seed, Unlucky(at), **more).run()

    killed.check()
    assert story(killed) == story(plain)


def test_the_days_are_busy_enough_to_mean_something() -> None:
    """A property over days on which nothing happens would hold, too: every kind of event occurs, every kill point is passed."""
    kinds: set[str] = set()
    points: dict[str, int] = {}
    reasons: set[str] = set()
    for seed in range(40):
        plain = world(seed, settings=costs if seed % 4 == 0 else None).run()
        at = random.Random(seed).sample(range(1, plain.unlucky.passed), 3)
        done = world(seed, Unlucky(at), settings=costs if seed % 4 == 0 else None).run()
        for _, rec in done.decoded():
            kinds.add(type(rec).__name__)
            if isinstance(rec, r.OrderChanged):
                kinds.add(rec.event)
            if isinstance(rec, r.VenueReported):
                kinds.add(rec.transaction.kind.value)
        reasons |= {t.exit_reason.value for t in done.book.closed.values() if t.exit_reason is not None}
        for name, count in done.unlucky.seen.items():
            points[name] = points.get(name, 0) + count
        assert any(t.status is TradeStatus.CLOSED for t in done.book.closed.values())

    wanted = {
        "DecisionTaken",
        "OrdersIntended",
        "OrderChanged",
        "StopMoved",
        "ExcursionSeen",
        "lose",
        "prove_not_sent",
        "submit",
    }
    wanted |= {"request_cancel", "order_filled", "order_rejected", "order_canceled", "order_expired", "order_amended"}
    assert wanted <= kinds
    assert reasons >= {"stop_loss", "take_profit", "trailing_stop", "signal", "time"}
    assert {"before LookUpOrder", "before AmendOrder", "after match", "reconciled", "before booking"} <= set(points)
