"""The exits that we keep: when a stop, a target, a trail or a time closes a trade, and no tick that would is skipped."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.make import order, trade
from tradekeel.domain.exits import ExitWatch
from tradekeel.domain.orders import OrderStatus, Purpose
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.domain.trades import CloseReason, Trade, TradeSide, TradeStatus

D = Decimal
LONG, SHORT = TradeSide.LONG, TradeSide.SHORT


def held(side: TradeSide = LONG, **more: Any) -> Trade:
    """An open trade, entered at tick 0."""
    fields = {k: D(v) if isinstance(v, str) and k in _LEVELS else v for k, v in more.items()}
    if "stop_loss" in fields:
        fields.setdefault("initial_stop_loss", fields["stop_loss"])
    return trade(side=side, status=TradeStatus.OPEN, entered_quantity=D(1000), **fields)


_LEVELS = ("stop_loss", "take_profit", "trailing_distance", "best_price", "initial_stop_loss")


def tick(bid: str, ask: str, position: int = 1, symbol: str = "EUR_USD", ts_ns: int | None = None) -> Tick:
    return Tick(symbol, position if ts_ns is None else ts_ns, D(bid), D(ask), position)


def watch(*trades: Trade) -> ExitWatch:
    found = ExitWatch()
    found.changed(trades)
    return found


def reason(trade_: Trade, *quotes: tuple[str, str]) -> CloseReason | None:
    """Why the trade is closed by the last of these quotes."""
    watched = watch(trade_)
    for position, (bid, ask) in enumerate(quotes, 1):
        exits, moves = watched.at(tick(bid, ask, position))
        for move in moves:
            trade_ = structs.replace(trade_, stop_loss=move.stop, best_price=move.best)
            watched.changed([trade_])
        if exits:
            assert position == len(quotes), "it was closed before"
            return exits[0].reason
    return None


# --- which price counts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "bid", "ask", "why"),
    [
        (held(stop_loss="1.10"), "1.10", "1.13", CloseReason.STOP_LOSS),
        (held(stop_loss="1.10"), "1.11", "1.12", None),
        (held(take_profit="1.20"), "1.20", "1.21", CloseReason.TAKE_PROFIT),
        (held(take_profit="1.20"), "1.19", "1.21", None),  # a long is closed at the bid, whatever the ask
        (held(SHORT, stop_loss="1.20"), "1.18", "1.20", CloseReason.STOP_LOSS),
        (held(SHORT, stop_loss="1.20"), "1.18", "1.19", None),
        (held(SHORT, take_profit="1.10"), "1.09", "1.10", CloseReason.TAKE_PROFIT),
        (held(SHORT, take_profit="1.10"), "1.09", "1.11", None),  # a short at the ask
        (held(exit_at_ns=1), "1.10", "1.11", CloseReason.TIME),
        (held(exit_at_ns=2), "1.10", "1.11", None),
    ],
)
def test_a_long_is_closed_at_the_bid_and_a_short_at_the_ask(
    kept: Trade, bid: str, ask: str, why: CloseReason | None
) -> None:
    assert reason(kept, (bid, ask)) is why


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_where_one_tick_touches_stop_and_target_the_stop_is_taken(side: TradeSide) -> None:
    crossed = held(side, stop_loss="1.15", take_profit="1.15", exit_at_ns=0)

    assert reason(crossed, ("1.15", "1.15")) is CloseReason.STOP_LOSS


def test_and_price_comes_before_time() -> None:
    assert reason(held(take_profit="1.15", exit_at_ns=0), ("1.15", "1.16")) is CloseReason.TAKE_PROFIT


def test_ticks_up_to_the_one_that_filled_it_say_nothing_about_a_trade() -> None:
    watched = watch(held(stop_loss="1.10", entry_position=5))

    assert watched.at(tick("1.00", "1.01", 5)) == ([], [])
    assert watched.at(tick("1.00", "1.01", 6))[0]


def test_other_instruments_say_nothing_about_it_either() -> None:
    watched = watch(held(stop_loss="1.10"))

    assert watched.at(tick("1.00", "1.01", symbol="GBP_USD")) == ([], [])


def test_trades_are_closed_in_the_order_they_were_opened_and_then_no_longer_watched() -> None:
    watched = watch(*(held(trade_id=f"t{n}", stop_loss="1.10") for n in range(3)))

    exits, _ = watched.at(tick("1.09", "1.10"))

    assert [exit_.trade_id for exit_ in exits] == ["t0", "t1", "t2"]
    assert watched.at(tick("1.08", "1.09", 2)) == ([], [])


def test_also_when_one_of_them_has_been_away() -> None:
    """A restart would know nothing of that, and close them in another order."""
    first, second = (
        held(trade_id="t1", stop_loss="1.10", created_ns=1),
        held(trade_id="t0", stop_loss="1.10", created_ns=2),
    )
    watched = watch(first, second)
    watched.changed([structs.replace(first, status=TradeStatus.CLOSING)])
    watched.changed([first])

    exits, _ = watched.at(tick("1.09", "1.10"))

    assert [exit_.trade_id for exit_ in exits] == ["t1", "t0"]


# --- who is watched ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [TradeStatus.PENDING, TradeStatus.CLOSED, TradeStatus.FAILED])
def test_only_trades_that_hold_something_are_watched(status: TradeStatus) -> None:
    watched = watch(held(stop_loss="1.10"))

    watched.changed([structs.replace(held(stop_loss="1.10"), status=status)])

    assert watched.at(tick("1.00", "1.01")) == ([], [])


def test_what_an_exit_has_claimed_is_not_watched_and_the_rest_is() -> None:
    kept = structs.replace(held(stop_loss="1.10"), status=TradeStatus.CLOSING)
    whole = order(purpose=Purpose.EXIT, trade_id=kept.trade_id, quantity=kept.open_quantity)
    watched = watch()
    watched.claimed(whole)
    watched.changed([kept])
    assert watched.at(tick("1.00", "1.01")) == ([], [])

    watched.claimed(structs.replace(whole, quantity=D(400)))
    watched.changed([kept])
    exits, _ = watched.at(tick("1.00", "1.01", 2))
    assert [exit_.reason for exit_ in exits] == [CloseReason.STOP_LOSS]


def test_what_an_entry_that_turns_is_to_close_is_not_watched_until_it_ends() -> None:
    kept = structs.replace(held(stop_loss="1.10"), status=TradeStatus.CLOSING)
    entry = order(trade_id="another", closes=(kept.trade_id,), quantity=kept.open_quantity + D(700))
    watched = watch()
    for part in (D(0), D(100)):
        watched.claimed(structs.replace(entry, filled_quantity=part))
        watched.changed([kept])
        assert watched.at(tick("1.00", "1.01")) == ([], [])

    watched.claimed(structs.replace(entry, status=OrderStatus.CANCELED))
    watched.changed([structs.replace(kept, status=TradeStatus.OPEN)])
    assert [exit_.reason for exit_ in watched.at(tick("1.00", "1.01", 2))[0]] == [CloseReason.STOP_LOSS]
    assert not watched.claims


def test_an_exit_that_ended_claims_nothing() -> None:
    kept = structs.replace(held(stop_loss="1.10"), status=TradeStatus.CLOSING)
    whole = order(purpose=Purpose.EXIT, trade_id=kept.trade_id, quantity=kept.open_quantity)
    watched = watch()
    for status in (OrderStatus.INTENDED, OrderStatus.REJECTED):
        watched.claimed(structs.replace(whole, status=status))
    watched.changed([kept])
    assert watched.at(tick("1.00", "1.01"))[0]
    assert not watched.claims


def test_what_the_venue_keeps_is_watched_for_time_alone() -> None:
    kept = held(stop_loss="1.10", take_profit="1.20", trailing_distance="0.01", exits_at_venue=True)
    assert reason(kept, ("1.00", "1.01")) is None
    assert reason(structs.replace(kept, exit_at_ns=1), ("1.00", "1.01")) is CloseReason.TIME


def test_a_trade_that_comes_back_from_a_failed_exit_is_watched_again() -> None:
    watched = watch(held(stop_loss="1.10"))
    watched.at(tick("1.09", "1.10", 1))

    watched.changed([held(stop_loss="1.10")])

    assert watched.at(tick("1.09", "1.10", 2))[0]


def test_an_exit_is_asked_for_once_a_tick() -> None:
    """What became of it is known already when a restart comes back to that tick."""
    watched = watch(held(stop_loss="1.10"))
    watched.asked["t1"] = 7

    assert watched.at(tick("1.09", "1.10", 7)) == ([], [])
    assert watched.at(tick("1.09", "1.10", 8))[0]
    watched.changed([structs.replace(held(), status=TradeStatus.CLOSED)])
    assert not watched.asked


def test_where_nothing_could_be_closed_only_trails_go_on() -> None:
    watched = watch(held(stop_loss="1.10", trade_id="s"), held(trailing_distance="0.01", trade_id="t", exit_at_ns=0))

    exits, moves = watched.at(tick("1.15", "1.16", 1), closing=False)
    assert not exits
    assert not moves, "what is due to be closed does not trail"

    watched = watch(held(trailing_distance="0.01", trade_id="t"), held(stop_loss="1.10", trade_id="s"))
    exits, moves = watched.at(tick("1.15", "1.16", 1), closing=False)
    assert [m.trade_id for m in moves] == ["t"]
    window = TickWindow((tick("1.09", "1.10", 2), tick("1.16", "1.17", 3)))
    assert watched.quiet_until(window, 0, 2, closing=False) == 1
    assert watched.quiet_until(window, 0, 2) == 0
    assert {e.trade_id for e in watched.at(tick("1.09", "1.10", 4))[0]} == {"s", "t"}, "after the release they act"


# --- trailing ---------------------------------------------------------------------------------------------------------


def test_a_trail_follows_the_best_price_and_closes_at_its_distance() -> None:
    trailing = held(trailing_distance="0.01")

    assert reason(trailing, ("1.10", "1.11"), ("1.12", "1.13"), ("1.115", "1.12")) is None
    assert reason(trailing, ("1.10", "1.11"), ("1.12", "1.13"), ("1.11", "1.12")) is CloseReason.TRAILING_STOP
    short = held(SHORT, trailing_distance="0.01")
    assert reason(short, ("1.10", "1.11"), ("1.08", "1.09"), ("1.09", "1.10")) is CloseReason.TRAILING_STOP


def test_a_stop_that_is_tighter_than_its_trail_is_a_stop_loss() -> None:
    kept = held(stop_loss="1.095", trailing_distance="0.02")

    assert reason(kept, ("1.10", "1.11"), ("1.095", "1.10")) is CloseReason.STOP_LOSS
    assert reason(kept, ("1.10", "1.11"), ("1.12", "1.13"), ("1.10", "1.11")) is CloseReason.TRAILING_STOP


def test_a_stop_that_a_strategy_tightened_is_a_stop_loss_too() -> None:
    moved = held(stop_loss="1.105", initial_stop_loss="1.09", trailing_distance="0.05")

    assert reason(moved, ("1.11", "1.12"), ("1.105", "1.11")) is CloseReason.STOP_LOSS


def test_a_trail_says_where_it_went_and_what_it_follows() -> None:
    watched = watch(held(trailing_distance="0.01"))

    _, moves = watched.at(tick("1.12", "1.13"))

    assert [(m.trade_id, m.stop, m.best) for m in moves] == [("t1", D("1.11"), D("1.12"))]


def test_a_trail_under_a_tighter_stop_moves_nothing_and_remembers_all_the_same() -> None:
    watched = watch(held(stop_loss="1.115", trailing_distance="0.01"))

    assert watched.at(tick("1.12", "1.13")) == ([], [])
    assert watched.best["t1"] == D("1.12")


def test_the_best_price_of_the_journal_is_taken_over_and_never_a_worse_one() -> None:
    watched = watch(held(trailing_distance="0.01", best_price="1.15"))
    watched.changed([held(trailing_distance="0.01", best_price="1.14")])

    assert watched.best == {"t1": D("1.15")}
    assert watched.at(tick("1.14", "1.15"))[0][0].reason is CloseReason.TRAILING_STOP
    short = watch(held(SHORT, trailing_distance="0.01", best_price="1.05"))
    short.changed([held(SHORT, trailing_distance="0.01", best_price="1.06")])
    assert short.best == {"t1": D("1.05")}


# --- properties -------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(st.sampled_from(["EUR_USD", "GBP_USD"]), st.integers(-5, 5), st.integers(1, 3), st.integers(0, 2))
)
levels = st.none() | st.integers(85, 115)
wishes: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        side=st.sampled_from(TradeSide),
        symbol=st.sampled_from(["EUR_USD", "GBP_USD"]),
        stop_loss=levels,
        take_profit=levels,
        trailing_distance=st.none() | st.integers(1, 9),
        exit_at_ns=st.none() | st.integers(0, 60),
        entry_position=st.integers(0, 20),
        exits_at_venue=st.booleans(),
    ),
    max_size=6,
)


def market(moves: list[tuple[str, int, int, int]]) -> list[Tick]:
    mids, ts_ns, found = {"EUR_USD": 100, "GBP_USD": 100}, 0, []
    for position, (symbol, move, spread, pause) in enumerate(moves, 1):
        mids[symbol] += move
        ts_ns += pause
        found.append(Tick(symbol, ts_ns, D(mids[symbol]), D(mids[symbol] + spread), position))
    return found


def trades_of(found: list[dict[str, Any]]) -> list[Trade]:
    """The stop that it has is the one it began with."""
    made = []
    for n, wish in enumerate(found):
        fields: dict[str, Any] = {k: D(v) if isinstance(v, int) and k in _LEVELS else v for k, v in wish.items()}
        made.append(held(trade_id=f"t{n}", initial_stop_loss=fields["stop_loss"], **fields))
    return made


def stepped(trades: list[Trade], ticks: list[Tick], window: int) -> list[tuple[int, str, str]]:
    """What happens, looking at ticks only where the watch says so; the journal's answers come back at once."""
    known = {t.trade_id: t for t in trades}
    watched, told = watch(*trades), []
    for start in range(0, len(ticks), window):
        part = TickWindow(tuple(ticks[start : start + window]))
        index = 0
        while (index := watched.quiet_until(part, index, len(part.ticks))) < len(part.ticks):
            at = part.ticks[index]
            exits, moves = watched.at(at)
            for exit_ in exits:
                told.append((at.position, exit_.trade_id, exit_.reason.value))
                known[exit_.trade_id] = closing = structs.replace(known[exit_.trade_id], status=TradeStatus.CLOSING)
                watched.claimed(order(purpose=Purpose.EXIT, trade_id=closing.trade_id, quantity=closing.open_quantity))
                watched.changed([closing])
            for move in moves:
                before = known[move.trade_id]
                told.append((at.position, move.trade_id, f"stop {move.stop}"))
                assert before.stop_loss is None or (move.stop - before.stop_loss) * before.side.sign > 0, "it loosened"
                known[move.trade_id] = structs.replace(before, stop_loss=move.stop, best_price=move.best)
                watched.changed([known[move.trade_id]])
            index += 1
    return told


def dumb(trades: list[Trade], ticks: list[Tick]) -> list[tuple[int, str, str]]:
    """The same, trade by trade and tick by tick, written down as plainly as the rules are told."""
    told = []
    for one in trades:
        sign, stop, best = one.side.sign, one.stop_loss, None
        trail = one.trailing_distance if not one.exits_at_venue else None
        for at in ticks:
            if at.instrument != one.symbol or at.position <= one.entry_position:
                continue
            price = at.bid if one.side is LONG else at.ask
            if not one.exits_at_venue:
                if stop is not None and (price - stop) * sign <= 0:
                    trailed = trail is not None and best is not None and stop == best - trail * sign
                    trailed = trailed and stop != one.initial_stop_loss
                    told.append((at.position, one.trade_id, "trailing_stop" if trailed else "stop_loss"))
                    break
                if one.take_profit is not None and (price - one.take_profit) * sign >= 0:
                    told.append((at.position, one.trade_id, "take_profit"))
                    break
            if one.exit_at_ns is not None and at.ts_ns >= one.exit_at_ns:
                told.append((at.position, one.trade_id, "time"))
                break
            if trail is not None and (best is None or (price - best) * sign > 0):
                best = price
                if stop is None or (best - trail * sign - stop) * sign > 0:
                    stop = best - trail * sign
                    told.append((at.position, one.trade_id, f"stop {stop}"))
    return told


@given(wishes, steps, st.integers(1, 50))
def test_no_tick_is_skipped_that_would_do_something(
    found: list[dict[str, Any]], moves: list[tuple[str, int, int, int]], window: int
) -> None:
    trades, ticks = trades_of(found), market(moves)

    assert sorted(stepped(trades, ticks, window)) == sorted(dumb(trades, ticks))


@given(wishes, steps, st.integers(0, 60), st.integers(0, 60))
def test_quiet_means_quiet_for_any_stretch(
    found: list[dict[str, Any]], moves: list[tuple[str, int, int, int]], start: int, stop: int
) -> None:
    ticks = market(moves)
    if not ticks:
        return
    start, stop = min(start, len(ticks)), min(stop, len(ticks))
    window, watched = TickWindow(tuple(ticks)), watch(*trades_of(found))

    until = watched.quiet_until(window, start, stop)

    assert start <= until <= stop or (start > stop and until == stop)
    for index in range(start, until):
        fresh = watch(*trades_of(found))
        assert fresh.at(ticks[index]) == ([], [])


def test_no_trades_are_quiet_for_ever() -> None:
    window = TickWindow((tick("1.1", "1.2"),))

    assert ExitWatch().quiet_until(window, 0, 1) == 1
    assert watch(held(stop_loss="1.0")).quiet_until(window, 1, 1) == 1


def test_a_tick_that_acts_for_one_trail_takes_nothing_from_another() -> None:
    """The newer one begins below the older one's best price: that is not lowered to it."""
    watched = watch(held(trade_id="old", trailing_distance="0.01", best_price="1.15"))
    watched.changed([held(trade_id="new", trailing_distance="0.02")])

    _, moves = watched.at(tick("1.145", "1.146"))

    assert [m.trade_id for m in moves] == ["new"]
    assert watched.best == {"old": D("1.15"), "new": D("1.145")}
