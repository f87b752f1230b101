"""Which decisions differ between two runs, and which entries do."""

from __future__ import annotations

from msgspec import structs

from tests.unit.backtest.scene import buy, leave, sell
from tradekeel.backtest.analysing.asked import Asked, Held, Run
from tradekeel.backtest.analysing.comparing import behind, changes, entry_changes, up_to
from tradekeel.domain.messages import Request, Stamp


def asked(tick: int, *requests: Request, strategy: str = "s", warm: bool = True) -> Asked:
    return Asked(strategy, Stamp.after(tick), tick * 1_000, warm, requests)


def run(*decisions: Asked, held: tuple[Held, ...] = ()) -> Run:
    return Run(asked=decisions, held={"s": list(held)}, ticks=100, first_ns=0, last_ns=0, warm_at={"s": 1})


ONE, TWO, THREE = asked(3, buy("1000")), asked(5, leave()), asked(9, sell("1000"))


def test_the_same_is_no_change() -> None:
    assert changes([ONE, TWO], [ONE, TWO]) == []


def test_the_first_change_is_shown_with_what_both_asked_for() -> None:
    (found,) = changes([ONE, TWO, THREE], [ONE, asked(5, leave("500")), THREE])
    assert (found.strategy, found.position, found.ts_ns, found.count) == ("s", 5, 5_000, 1)
    assert (found.before, found.after) == ((leave(),), (leave("500"),))


def test_what_only_one_has_is_shown_beside_nothing() -> None:
    (found,) = changes([ONE, THREE], [ONE, TWO, THREE])
    assert (found.position, found.before, found.after) == (5, None, (leave(),))
    (found,) = changes([ONE, TWO, THREE], [ONE, THREE])
    assert (found.position, found.before, found.after, found.count) == (5, (leave(),), None, 1)
    (found,) = changes([ONE, TWO, THREE], [ONE])
    assert (found.position, found.after, found.count) == (5, None, 2)


def test_each_strategy_is_compared_by_itself_the_earliest_change_first() -> None:
    other = [structs.replace(each, strategy="t") for each in (ONE, TWO)]
    found = changes([ONE, THREE, *other], [ONE, *other[1:]])
    assert [(each.strategy, each.position) for each in found] == [("t", 3), ("s", 9)]


def test_what_is_decided_on_the_news_of_a_tick_belongs_before_it() -> None:
    news = Asked("s", Stamp.before(4), 4_000, True, (leave(),))
    assert up_to(3, [ONE, news, TWO]) == [ONE]
    assert behind(3, [ONE, news, TWO]) == [news, TWO]


def test_entries_are_compared_behind_a_tick_where_they_stand_in_the_whole_data() -> None:
    whole = run(asked(30, buy("1")), asked(60, buy("1000"), sell("7")), asked(80, buy("5")))
    other = run(asked(10, buy("1000"), sell("7")), asked(20, sell("5")))
    found = entry_changes("s", whole, other, 50, 40)
    assert (found.entries, found.missing, found.extra, found.values) == (3, 1, 1, 0)
    assert found.first is not None
    assert (found.first.position, found.first.count) == (70, 2)
    assert (found.first.before, found.first.after) == (None, (sell("5"),))


def test_another_stop_is_another_value_and_another_note_is_none() -> None:
    noted = structs.replace(buy("1"), tags=("x",), metadata={"attempt": 7})
    assert entry_changes("s", run(asked(9, buy("1"))), run(asked(9, noted)), 0, 0).differing == 0
    found = entry_changes("s", run(asked(9, buy("1"))), run(asked(9, buy("1", stop_loss="1.1"))), 0, 0)
    assert (found.values, found.missing, found.extra) == (1, 0, 0)


def test_exits_and_entries_that_were_denied_for_the_cold_are_not_compared() -> None:
    other = run(asked(9, leave()), asked(11, buy("1"), warm=False))
    assert entry_changes("s", run(), other, 0, 0).differing == 0


def test_a_second_entry_at_a_tick_is_compared_with_the_second() -> None:
    found = entry_changes("s", run(asked(9, buy("1"), buy("2"))), run(asked(9, buy("1"), buy("3"))), 0, 0)
    assert (found.entries, found.values) == (2, 1)


def test_it_is_told_what_came_while_something_else_was_held() -> None:
    long = Held(Stamp.before(8), ("EUR_USD LONG 1 for 1.1",))
    flat = Held(Stamp.before(20), ())
    whole = run(asked(9, buy("1")), asked(30, buy("2")), held=(long, flat))
    found = entry_changes("s", whole, run(), 0, 0)
    assert (found.missing, found.holding, found.first_holding) == (2, 1, True)
    assert found.first is not None
    assert found.first.before == (buy("1"),)
