"""What holds for every day at the matching core, whatever is traded and however the market runs."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise

from hypothesis import event, example, given

from tests.unit.domain.matching_desk import D
from tests.unit.domain.matching_scripts import (
    Move,
    Play,
    Wish,
    accounts,
    busy_day,
    by_tick,
    by_window,
    saved_and_restored,
    scripts,
    settings,
)
from tradekeel.domain.matching import FinancingRate, Matcher, PaperAccount, PaperSettings
from tradekeel.domain.messages import Fill, OrderRequest, TransactionKind, VenueTransaction
from tradekeel.domain.orders import Side
from tradekeel.domain.ticks import Tick


@given(accounts, settings, scripts)
def test_quiet_ticks_are_really_quiet(account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]):
    """Looking at every tick, passing quiet ones at once, and looking ahead over windows give the same record and state."""
    plays = [Play(account, terms), Play(account, terms, by_tick), Play(account, terms, by_window)]
    looked, passed, ahead = (play.run(script) for play in plays)
    for entry in looked:
        event(entry.kind.value)
    assert passed == looked
    assert ahead == looked
    assert plays[1].matcher.state() == plays[0].matcher.state()
    assert plays[2].matcher.state() == plays[0].matcher.state()


@given(accounts, settings, scripts)
def test_a_matcher_that_is_saved_and_restored_goes_on_as_if_nothing_had_happened(
    account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]
):
    without = Play(account, terms)
    killed = Play(account, terms, by_tick, saved_and_restored(account, terms))
    assert killed.run(script) == without.run(script)
    assert killed.matcher.state() == without.matcher.state()


@given(accounts, settings, scripts)
def test_the_books_are_what_the_record_says(account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]):
    play = Play(account, terms)
    record = play.run(script)
    assert [entry.sequence for entry in record] == list(range(1, len(record) + 1))
    assert all(b.ts_ns >= a.ts_ns and b.position >= a.position for a, b in pairwise(record))
    deposits = realised = financing = fees = D(0)
    for entry in record:
        if entry.kind is TransactionKind.DEPOSITED:
            deposits += entry.amount
        elif entry.kind is TransactionKind.FINANCED:
            financing += entry.amount
        elif entry.fill is not None:
            realised += entry.fill.realised
            fees += entry.fill.fee
        assert entry.balance == deposits + realised + financing - fees
    balance = play.matcher.balance()
    assert (balance.deposits, balance.realised, balance.financing, balance.fees) == (
        deposits,
        realised,
        financing,
        fees,
    )
    assert balance.balance == deposits + realised + financing - fees
    assert balance.last_sequence == len(record)


@given(accounts, settings, scripts)
def test_positions_are_what_the_fills_say(account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]):
    """A dumb recomputation with exact fractions: the same quantities, costs and profits."""
    play = Play(account, terms)
    held: defaultdict[tuple[str, str | None], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for fill in fills(play.run(script)):
        position = held[fill.instrument, fill.position_ref]
        quantity, cost = position
        signed = Fraction(fill.quantity) * fill.side.sign
        profit = Fraction(0)
        if quantity * signed < 0:
            closing = min(abs(signed), abs(quantity)) * fill.side.sign
            released = cost * -closing / quantity
            profit = -closing * Fraction(fill.price) - released
            quantity, cost, signed = quantity + closing, cost - released, signed - closing
        position[:] = [quantity + signed, cost + signed * Fraction(fill.price)]
        # Released cost is rounded to 1e-12 and what is booked to 0.0001: closer than the two together.
        assert abs(Fraction(fill.realised) - profit * Fraction(fill.rate)) <= Fraction(1, 19_000)
    found = {(p.instrument, p.ref): p for p in play.matcher.positions()}
    assert {key for key, (quantity, _) in held.items() if quantity} == set(found)
    for key, kept in found.items():
        assert Fraction(kept.quantity) == held[key][0]
        assert abs(Fraction(kept.cost) - held[key][1]) < Fraction(1, 10**9)
    if not account.hedging:
        assert all(ref is None for _, ref in found)


@given(accounts, settings, scripts)
def test_no_order_breaks_its_own_terms(account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]):
    play = Play(account, terms)
    record = play.run(script)
    accepted: dict[str, VenueTransaction] = {}
    size: dict[str, D] = {}
    filled: defaultdict[str, D] = defaultdict(D)
    ended: set[str] = set()
    for entry in record:
        name = entry.venue_order_id or ""
        match entry.kind:
            case TransactionKind.ORDER_ACCEPTED:
                assert name not in accepted
                accepted[name] = entry
                assert entry.quantity is not None
                size[name] = entry.quantity
            case TransactionKind.ORDER_AMENDED if entry.quantity is not None:
                size[name] = entry.quantity
                assert filled[name] < size[name]
            case TransactionKind.ORDER_CANCELED | TransactionKind.ORDER_EXPIRED:
                assert name not in ended
                ended.add(name)
            case TransactionKind.ORDER_FILLED if entry.client_order_id is not None:
                assert name not in ended
                assert entry.position > accepted[name].position
                assert entry.fill is not None
                filled[name] += entry.fill.quantity
                assert filled[name] <= size[name]
    for name, fill_sum in filled.items():
        exits = sum((q for child, q in filled.items() if child.startswith(f"{name}-")), D(0))
        assert exits <= fill_sum  # siblings never sell the same units twice
    open_now = {order.venue_order_id for order in play.matcher.state().orders if order.state == "working"}
    complete = {name for name in accepted if filled[name] == size[name]}
    assert open_now == set(accepted) - ended - complete


@given(accounts, settings, scripts)
def test_what_may_only_reduce_never_adds(account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]):
    play = Play(account, terms)
    reducing: set[str] = set()
    place = play.matcher.place

    def watched(request: OrderRequest) -> list[VenueTransaction]:
        if request.reduce_only or request.position_ref is not None:
            reducing.add(request.client_order_id)
        reducing.update(exit_.client_order_id for exit_ in request.attached)
        return place(request)

    play.matcher.place = watched  # type: ignore[method-assign]
    held: defaultdict[tuple[str, str | None], D] = defaultdict(D)
    for fill in fills(play.run(script)):
        key = (fill.instrument, fill.position_ref)
        before = held[key]
        held[key] += fill.quantity * fill.side.sign
        if fill.client_order_id in reducing or fill.client_order_id is None:
            assert abs(held[key]) < abs(before)
            assert held[key] * before >= 0


@given(accounts, settings, scripts)
@example(
    PaperAccount(account="a", currency="USD", deposit=D(300), leverage=D(10)),
    PaperSettings(margin_call_level=D("0.5")),
    [Wish(9, 0, 0, 0, 0, 1, 0, 0, 0), *[Move(0, -3000, 1, 0, 0, 1)] * 12],
)
def test_after_every_tick_the_margin_level_holds_or_nothing_is_held(
    account: PaperAccount, terms: PaperSettings, script: list[Move | Wish]
):
    level = terms.margin_call_level

    def show(matcher: Matcher, ticks: list[Tick]) -> list[VenueTransaction]:
        told = []
        for tick in ticks:
            told += matcher.on_tick(tick)
            balance = matcher.balance()
            assert level is None or not matcher.positions() or balance.equity > level * balance.margin_used
        return told

    play = Play(account, terms, show)
    play.run(script)


def fills(record: list[VenueTransaction]) -> list[Fill]:
    """The fills of a record, in order."""
    return [entry.fill for entry in record if entry.fill is not None]


def test_the_scripts_reach_everything():
    """The properties would hold for scripts that never trade as well: these see every kind of entry and every ending."""
    account = PaperAccount(account="a", currency="USD", deposit=D(500), leverage=D(10))
    terms = PaperSettings(financing={"EUR_USD": FinancingRate(long=D(-3), short=D(2))})
    seen: set[str] = set()
    for seed in range(60):
        for entry in Play(account, terms, by_tick).run(busy_day(seed)):
            seen.add(f"{entry.kind.value} {entry.reason}".split(" equity")[0].strip())
            if entry.fill is not None:
                seen.add(f"{entry.fill.side.value} {entry.fill.liquidity.value}")
    assert seen >= {
        "deposited",
        "order_accepted",
        "order_filled",
        "order_filled margin_call",
        "order_amended",
        "order_expired gtd",
        "margin_called",
        "financed 1 night",
        "financed 3 nights",
        "cancel_refused TYPE_INVALID",
        "order_canceled client_request",
        "order_canceled oco",
        "order_canceled parent_ended",
        "order_canceled exit_filled",
        "order_canceled ioc_remainder",
        "order_canceled fok_unfilled",
        "order_canceled nothing_to_reduce",
        "order_canceled INSUFFICIENT_MARGIN",
        "order_rejected INSUFFICIENT_MARGIN",
        "order_rejected REDUCE_ONLY_NOTHING",
        *(f"{side.value} {liquidity}" for side in Side for liquidity in ("maker", "taker")),
    }
