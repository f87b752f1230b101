"""One account, several runs of a feed: each run counts its ticks and its time anew, the account goes on."""

from __future__ import annotations

from tests.unit.domain.matching_desk import EUR, NS, START_S, D, Desk, stop, target
from tradekeel.domain.matching import FinancingRate
from tradekeel.domain.ticks import Tick


def again(desk: Desk, run: str = "second") -> list[str]:
    """The feed begins once more from its first tick."""
    told = desk._told(desk.matcher.begin(run))
    desk.now_s = float(START_S)
    return told


def first_run(**settings: object) -> Desk:
    """A desk in its first run."""
    desk = Desk(quote=None, **settings)  # type: ignore[arg-type]
    assert desk.matcher.begin("first") == []
    desk.tick("1.10000/1.10010")
    return desk


def test_the_first_run_begins_where_the_account_was_opened():
    desk = Desk(quote=None)
    desk.matcher.begin("first")
    assert desk.matcher.state().standing.ts_ns == START_S * NS


def test_a_run_that_goes_on_changes_nothing():
    desk = first_run()
    desk.place("a", "buy", 1000)
    before = desk.matcher.state()
    assert again(desk, "first") == []
    assert desk.matcher.state() == before


def test_another_run_cancels_what_still_works_and_counts_anew():
    desk = first_run()
    desk.place("a", "buy", 1000, "limit", price="1.0", attached=(stop("s", "0.9"), target("t", "1.2")))
    assert again(desk) == [
        "a canceled 1000 (run_ended)",
        "s canceled 1000 (parent_ended)",
        "t canceled 1000 (parent_ended)",
    ]
    assert desk.matcher.position == 0
    assert desk.matcher.state().orders == ()
    desk.tick("1.10000/1.10010")
    assert desk.matcher.position == 1
    assert desk.record[-1].sequence == len(desk.record)


def test_quotes_of_the_last_run_are_no_quotes_of_this_one():
    desk = first_run()
    again(desk)
    assert desk.place("a", "buy", 1000) == ["a rejected (NO_PRICE)"]


def test_positions_are_carried_over_and_worth_what_they_were():
    desk = first_run()
    desk.place("a", "buy", 1000)
    desk.tick("1.10000/1.10010")
    desk.tick("1.10100/1.10110")
    worth = desk.matcher.balance()
    again(desk)
    assert desk.held() == 1000
    assert desk.matcher.balance() == worth
    assert desk.tick("1.00000/1.00010") == []
    assert desk.matcher.balance().unrealised == D("-100.1")


def test_pairs_that_convert_a_carried_position_are_kept():
    desk = first_run()
    desk.tick("0.80000/0.80020", "EUR_GBP")
    desk.place("a", "buy", 1000, instrument="EUR_GBP")
    desk.tick("0.80000/0.80020", "EUR_GBP")
    desk.tick("101.000/101.010", "USD_JPY")
    worth = desk.matcher.balance()
    again(desk)
    assert desk.matcher.balance() == worth
    assert [mark.instrument for mark in desk.matcher.state().standing.marks] == ["EUR_GBP", EUR]


def test_a_limit_has_not_rested_through_ticks_of_another_run():
    desk = first_run()
    desk.place("a", "buy", 1000)
    for _ in range(5):
        desk.tick("1.10000/1.10010")
    again(desk)
    desk.tick("101.000/101.010", "USD_JPY")
    desk.place("b", "sell", 1000, "limit", price="1.09000")  # EUR_USD is still marked: there is a position
    assert desk.tick("1.10000/1.10010") == ["b sell 1000 at 1.10000 taker"]


def test_no_night_is_financed_between_two_runs():
    desk = first_run(financing={EUR: FinancingRate(long=D("-3.65"), short=D(1))})
    desk.place("a", "buy", 1000)
    desk.tick("1.10000/1.10010")
    again(desk)
    assert desk.tick("1.10000/1.10010") == []
    assert desk.tick("1.10000/1.10010", after_s=4 * 3600 + 10 * 60) == ["EUR_USD financed -0.1100 (1 night)"]


def test_the_next_rollover_is_that_of_the_time_it_is_now():
    """After a run that ended in May a run begins in March: its nights are not those after May."""
    desk = first_run(financing={EUR: FinancingRate(long=D("-3.65"), short=D(1))})
    desk.place("a", "buy", 1000)
    desk.tick("1.10000/1.10010")
    again(desk)
    march_s = 1_394_000_000  # Wednesday 2014-03-05 06:13:20 UTC
    told = []
    for position, hours in ((1, 0), (2, 15), (3, 17)):
        ts_ns = (march_s + hours * 3600) * NS
        told += desk._told(desk.matcher.on_tick(Tick(EUR, ts_ns, D("1.1"), D("1.1001"), position)))
    assert told == ["EUR_USD financed -0.3300 (3 nights)"]


def test_a_run_is_remembered_by_the_state():
    desk = first_run()
    later = Desk(state=desk.matcher.state())
    assert later.matcher.begin("first") == []
    assert not later.matcher.has_changes
    later.matcher.begin("second")
    assert later.matcher.has_changes


def test_a_margin_that_was_watched_in_another_run_has_nothing_to_do_with_this_one():
    desk = Desk()
    desk.matcher.begin("monday")
    desk.place("in", "buy", 1000)
    desk.tick("1.10000/1.10010")
    desk.place("out", "sell", 1000)
    desk.tick("1.10000/1.10010")
    desk.matcher.begin("tuesday")
    desk.tick("101.000/101.010", "USD_JPY")
    desk.place("yen", "buy", 1000, instrument="USD_JPY")
    assert desk.tick("101.000/101.010", "USD_JPY") == ["yen buy 1000 at 101.010 taker"]
    assert desk.matcher.is_quiet(desk.next_tick("101.000/101.010", "USD_JPY"))
