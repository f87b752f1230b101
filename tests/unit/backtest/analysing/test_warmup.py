"""Whether a warm-up is long enough is seen from entries behind one tick."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct, structs

from tests.unit.backtest import bench
from tests.unit.backtest.scene import EUR
from tradekeel.backtest.analysing.asked import Asked, Held, Portions, Run, conduct
from tradekeel.backtest.analysing.portions import later, portioned
from tradekeel.backtest.analysing.warmup import PARTS, Verdict, WarmUp, compared_behind, leads_of, warm_up
from tradekeel.backtest.setup import Setup
from tradekeel.domain.messages import Enter, Request, Stamp
from tradekeel.domain.orders import Side
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.strategies.base import AnyStrategy, Strategy, StrategyContext

TICKS = 1_200


class Looking(Struct, frozen=True):
    window: int = 20  # prices that it looks back on
    warm: int = 20  # and those after which it says that it is warm
    recursive: bool = False  # an average that is carried on, instead of one over the window
    chain: bool = False  # each entry is measured from the one before


class Seen(Struct, frozen=True):
    prices: tuple[Decimal, ...] = ()
    seen: int = 0
    mean: float = 0.0
    anchor: Decimal | None = None


class Crossing(Strategy[Looking, Seen]):
    """Buys for a moment where the price crosses its mean upwards."""

    kind = "crossing"
    Params = Looking
    State = Seen

    def is_warm(self, state: Seen) -> bool:
        return state.seen >= self.params.warm

    def on_tick(self, tick: Tick, state: Seen, context: StrategyContext) -> tuple[Seen, Sequence[Request]]:
        prices = (*state.prices, tick.mid)[-self.params.window :]
        carried = state.mean + (float(tick.mid) - state.mean) * 2 / (self.params.window + 1)
        if not state.seen:
            carried = float(tick.mid)
        mean = carried if self.params.recursive else float(sum(prices) / len(prices))
        anchor = tick.mid if state.anchor is None else state.anchor
        crosses = bool(state.prices) and state.prices[-1] < Decimal(state.mean) and tick.mid >= Decimal(mean)
        if self.params.chain:
            crosses = abs(tick.mid - anchor) >= Decimal("0.0003")
        after = Seen(prices, state.seen + 1, mean, tick.mid if crosses else anchor)
        if not crosses:
            return after, ()
        kept_s = 400 if self.params.chain else 2
        return after, (
            Enter(instrument=EUR, side=Side.BUY, quantity=Decimal(1000), exit_at_ns=tick.ts_ns + kept_s * NS_PER_S),
        )


class Never(Crossing):
    """Is never warm."""

    def is_warm(self, state: Seen) -> bool:
        return False


class Idle(Crossing):
    """Wants nothing."""

    def on_tick(self, tick: Tick, state: Seen, context: StrategyContext) -> tuple[Seen, Sequence[Request]]:
        return Seen(seen=state.seen + 1), ()


def judged(strategy: AnyStrategy) -> WarmUp:
    setup = bench.setup({"s": strategy}, hedging=True)
    whole = ran(setup, 0)
    at = compared_behind(whole, "s") or 0
    runs = [(ticks, multiple, ran(setup, at - ticks)) for ticks, multiple in leads_of(whole, "s")]
    return warm_up(whole, "s", runs)


def ran(setup: Setup, start: int) -> Run:
    portions = Portions(fine=True)
    windows = later(bench.market(TICKS).windows(), start, {})
    return conduct(setup, portioned(windows, portions.size), portions=portions)


def differing(found: WarmUp) -> list[int]:
    return [-1 if lead.changes is None else lead.changes.differing for lead in found.leads]


def test_a_window_that_is_full_is_enough() -> None:
    found = judged(Crossing(Looking(warm=21)))
    assert (found.verdict, found.declared, found.enough) == (Verdict.ENOUGH, 21, 21)
    assert [lead.multiple for lead in found.leads] == [1, 2, 4, 8, 16]
    assert found.leads[0].changes is not None
    assert found.leads[0].changes.entries > 5


def test_a_window_that_is_half_full_is_too_short() -> None:
    found = judged(Crossing(Looking(window=80, warm=10)))
    assert (found.verdict, found.declared, found.enough) == (Verdict.TOO_SHORT, 10, 80)
    assert found.is_too_short
    assert differing(found)[0] > 0
    assert found.held_nothing


def test_an_average_that_is_carried_on_needs_more_than_its_length() -> None:
    found = judged(Crossing(Looking(window=80, warm=20, recursive=True)))
    assert found.verdict is Verdict.TOO_SHORT
    assert differing(found)[0] > differing(found)[-1]


def test_where_nothing_is_declared_the_past_is_measured_in_parts_of_the_data() -> None:
    found, part = judged(Crossing(Looking(warm=0))), TICKS // PARTS
    assert found.declared == 0
    assert [lead.multiple for lead in found.leads] == [None] * 6
    assert [lead.ticks for lead in found.leads[:3]] == [1, part, 2 * part]
    assert (found.verdict, found.enough) == (Verdict.TOO_SHORT, part), (
        "its window of 20 is full when the next entry comes"
    )


def test_whoever_enters_by_what_he_has_entered_before_is_not_judged() -> None:
    found = judged(Crossing(Looking(warm=0, chain=True)))
    assert found.verdict is Verdict.FOLLOWS
    assert not found.is_too_short


def test_it_is_said_where_nothing_can_be_compared() -> None:
    assert judged(Never(Looking())).verdict is Verdict.NEVER_WARM
    assert judged(Idle(Looking())).verdict is Verdict.NO_ENTRIES
    assert judged(Crossing(Looking(warm=TICKS - 5))).verdict is Verdict.TOO_LITTLE
    assert judged(Crossing(Looking(warm=TICKS))).verdict is Verdict.TOO_LITTLE


# --- what is held meanwhile -------------------------------------------------------------------------------------------

LONG = ("EUR_USD LONG 1 for 1.1",)


def made(*entries: int, held: Sequence[tuple[int, tuple[str, ...]]] = ()) -> Run:
    """A run over 100 ticks in which was entered at these, and held what is said from those on."""
    enter = Enter(instrument=EUR, side=Side.BUY, quantity=Decimal(1))
    asked = tuple(Asked("s", Stamp.after(tick), 0, True, (enter,)) for tick in entries)
    timeline = {"s": [Held(Stamp.before(tick), trades) for tick, trades in held]}
    return Run(asked=asked, held=timeline, ticks=100, first_ns=0, last_ns=0, warm_at={"s": 10})


def verdict(whole: Run, *others: Run) -> Verdict:
    """Of runs that begin 10, 20, … ticks before the tick that is compared behind, told by ticks of the whole data."""
    at = compared_behind(whole, "s") or 0
    runs = []
    for multiple, other in enumerate(others, start=1):
        shift = 2 * (at - 10 * multiple)
        asked = tuple(structs.replace(each, stamp=each.stamp - shift) for each in other.asked)
        held = {"s": [structs.replace(each, stamp=each.stamp - shift) for each in other.held["s"]]}
        runs.append((10 * multiple, multiple, structs.replace(other, asked=asked, held=held, warm_at={"s": 1})))
    return warm_up(whole, "s", runs).verdict


def test_entries_are_compared_behind_a_tick_at_which_nothing_is_held() -> None:
    assert compared_behind(made(), "s") == 50
    assert compared_behind(made(held=[(20, LONG), (30, ())]), "s") == 50
    assert compared_behind(made(held=[(20, LONG), (60, ())]), "s") == 60
    assert compared_behind(made(held=[(20, LONG), (90, ())]), "s") == 50, "there is too little behind that"


def test_an_entry_that_is_missed_while_something_is_held_is_no_matter_of_warm_up() -> None:
    busy = made(80, held=[(60, LONG)])
    assert verdict(made(70, 80), busy, made(70, 80)) is Verdict.FOLLOWS
    assert verdict(made(70, 80), busy, busy) is Verdict.FOLLOWS


def test_an_entry_that_is_missed_with_nothing_held_is() -> None:
    assert verdict(made(70, 80), made(80), made(70, 80)) is Verdict.TOO_SHORT
    assert verdict(made(70, 80), made(80, held=[(60, LONG)]), made(80)) is Verdict.TOO_SHORT


def test_where_they_begin_with_different_trades_the_longer_warm_up_is_the_safe_one() -> None:
    held = made(70, 80, held=[(20, LONG)])
    assert verdict(held, made(80), held) is Verdict.TOO_SHORT
    assert verdict(held, made(80), made(80)) is Verdict.FOLLOWS
