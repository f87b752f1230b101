"""Around the runs of an analysis: where it cuts, what it hears of a strategy's code, and how it tells what was asked for."""

from __future__ import annotations

import types
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.unit.backtest.scene import buy, leave
from tradekeel.backtest.analysing.asked import Asked, Run
from tradekeel.bootstrap.analysing import cut_places
from tradekeel.bootstrap.analysisruns import TOUCHED_MAX, Watch, named_in
from tradekeel.bootstrap.analysistexts import asked_for
from tradekeel.domain.messages import Emit, Exit, Request, Stamp
from tradekeel.strategies.registry import MODULE_PREFIX

# --- where it cuts ----------------------------------------------------------------------------------------------------


def run(*decisions: tuple[int, Request], marks: tuple[int, ...] = (50, 150, 250, 350)) -> Run:
    asked = tuple(Asked("s", Stamp.after(tick), tick * 10, True, (request,)) for tick, request in decisions)
    times = tuple((tick, tick * 10) for tick in marks)
    return Run(asked=asked, held={}, ticks=400, first_ns=0, last_ns=0, warm_at={}, marks=times)


def test_most_cuts_are_right_at_entries_and_the_others_anywhere() -> None:
    whole = run(*((tick, buy("1")) for tick in range(10, 400, 10)), (33, leave()))
    places = [position for position, _ in cut_places(whole, 4)]
    assert len(places) == 4
    assert sum(position % 10 == 0 and position not in (50, 150, 250, 350) for position in places) == 3
    assert cut_places(whole, 4) == [(position, position * 10) for position in places]


def test_without_entries_other_decisions_do_and_without_any_the_data() -> None:
    assert {33, 350} <= {position for position, _ in cut_places(run((33, leave()), (350, leave())), 4)}
    assert [position for position, _ in cut_places(run(), 4)] == [50, 150, 250, 350]


def test_nothing_is_cut_off_behind_the_last_tick() -> None:
    assert cut_places(run((400, buy("1")), marks=(400,)), 8) == []


# --- what it hears ----------------------------------------------------------------------------------------------------


def strategy(code: str, watch: Watch, **known: Any) -> Callable[[], object]:
    """A function of a strategy's file. Whatever it does is told the watch by whoever is asked for it, as Python's audit is."""
    module = types.ModuleType(f"{MODULE_PREFIX}mine_1")
    module.__dict__.update(known, hear=watch.hear, __file__="/home/me/mine.py")
    exec(compile(f"def act():\n    {code}", "mine.py", "exec"), module.__dict__)
    act: Callable[[], object] = module.__dict__["act"]
    return act


def test_what_a_strategy_opens_is_heard_of_with_the_whole_path(tmp_path: Path) -> None:
    watch = Watch()
    strategy(f"hear('open', ({str(tmp_path)!r} + '/../x.csv', 'r', 0))", watch)()
    path = str(tmp_path.parent / "x.csv")
    assert (watch.opened, watch.touched) == ([path], [f"mine.py opens {path}"])


def test_also_by_way_of_others() -> None:
    watch = Watch()
    strategy("read(hear)", watch, read=lambda hear: hear("sqlite3.connect", ("/x.db",)))()
    strategy("hear('socket.connect', (None, ('localhost', 1)))", watch)()
    assert watch.touched == ["mine.py opens /x.db", "mine.py connects to a server"]
    assert watch.opened == ["/x.db"]


def test_nobody_else_is_heard_of_and_code_is_no_data() -> None:
    watch = Watch()
    watch.hear("open", ("/x.csv", "r", 0))
    strategy("hear('open', ('/x.py', 'r', 0)); hear('open', (3, 'r', 0)); hear('compile', ('x', 'y'))", watch)()
    importing = types.ModuleType("importlib._bootstrap_external")
    exec("def load(hear): hear('open', ('/data', 'r', 0))", importing.__dict__)
    strategy("load(hear)", watch, load=importing.load)()
    assert watch.touched == []


def test_what_is_heard_has_an_end() -> None:
    watch = Watch()
    strategy(f"for n in range({2 * TOUCHED_MAX}): hear('open', (f'/{{n}}', 'r', 0))", watch)()
    assert len(watch.touched) == TOUCHED_MAX


class Params(Struct, frozen=True):
    path: str = ""
    other: str = "x"
    number: int = 7


def test_parameters_that_name_the_data_are_known(tmp_path: Path) -> None:
    paths = ["ticks/a.csv", "/b.csv"]
    assert named_in(Params(path="ticks/a.csv"), tmp_path, paths) == {"path": "ticks/a.csv"}
    assert named_in(Params(path=str(tmp_path / "ticks" / "a.csv"), other="/b.csv"), tmp_path, paths) == {
        "path": "ticks/a.csv",
        "other": "/b.csv",
    }
    assert named_in(Params(path="a\0.csv"), tmp_path, paths) == {}


# --- how it tells -----------------------------------------------------------------------------------------------------


def test_what_was_asked_for_is_told_without_what_was_left_as_it_is() -> None:
    exits = Exit(instrument="EUR_USD", trade_id="t4xk2abcdefghij", quantity=Decimal("1E+3"))
    asked = (buy("1000", stop_loss="1.10"), exits, Emit(type="seen", data={"at": 3}))
    assert asked_for(asked).splitlines() == [
        "enter EUR_USD buy 1000 stop_loss=1.10",
        "exit EUR_USD trade_id=…efghij quantity=1000",
        "emit seen data={'at': 3}",
    ]
    assert asked_for(None) == "nothing"
    assert asked_for([leave()]) == "exit EUR_USD"
