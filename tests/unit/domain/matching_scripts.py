"""Random days at a matching core: scripts of ticks and requests that Hypothesis draws and shrinks, and ways to play them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

from tests.unit.domain.matching_desk import NS, START_S, D
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import (
    Commission,
    FinancingRate,
    Matcher,
    MatcherState,
    PaperAccount,
    PaperSettings,
    Slippage,
)
from tradekeel.domain.messages import OrderRequest, VenueTransaction
from tradekeel.domain.orders import AttachedExit, OrderType, Side, TimeInForce
from tradekeel.domain.ticks import Tick, TickWindow

SYMBOLS = ("EUR_USD", "USD_JPY", "EUR_GBP")
MIDS = {"EUR_USD": 110_000, "USD_JPY": 100_000, "EUR_GBP": 80_000}  # in steps of the price grid
SIZES = (None, None, 0, 700, 2500)
QUANTITIES = (500, 1000, 3000, 20_000)
DISTANCES = (-40, -10, -1, 0, 1, 10, 40)
GAPS_S = (0, 1, 1, 5, 3600, 90_000)
TYPES = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT)


class Move(NamedTuple):
    """A tick: which instrument, how far its mid runs, its spread, its sizes, and how long after the last."""

    symbol: int
    steps: int
    spread: int
    bid_size: int
    ask_size: int
    gap: int


class Wish(NamedTuple):
    """A request: what it does depends on the market and the open orders at the time."""

    what: int  # place mostly; cancel or amend an open order
    symbol: int
    side: int
    type: int
    tif: int
    quantity: int
    near: int
    far: int
    exits: int


moves = st.builds(
    Move,
    st.integers(0, 2),
    st.integers(-40, 40) | st.integers(-4, 4) | st.sampled_from([-12_000, 12_000]),
    st.integers(0, 15),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(0, 5),
)
wishes = st.builds(
    Wish,
    st.integers(0, 9),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 7),
)


def busy_day(seed: int) -> list[Move | Wish]:
    """A long script in which much happens: orders of every kind, and markets that run, jump and sleep."""
    chance = random.Random(seed)
    wild = chance.random() < 0.5
    script: list[Move | Wish] = []
    for _ in range(chance.choice([60, 150])):
        if chance.random() < 0.75:
            jumps = wild and chance.random() < 0.03
            steps = chance.choice([-12_000, 12_000]) if jumps else chance.randint(-30, 30)
            gap = chance.choice([0, 1, 1, 1, 1, 2, 2, 3, 4, 5])
            script.append(
                Move(chance.randrange(3), steps, chance.randrange(12), chance.randrange(5), chance.randrange(5), gap)
            )
        else:
            sizes = (10, 3, 2, 4, 4, 4, 7, 7, 8)
            script.append(Wish(*(chance.randrange(size) for size in sizes)))
    return script


# Drawn move by move, a script shrinks to its essence; drawn as a whole, it is full of life. Both are wanted.
scripts = st.lists(moves | wishes, max_size=70) | st.integers(0, 10**9).map(busy_day)

settings = st.builds(
    PaperSettings,
    slippage=st.sampled_from(
        [Slippage(), Slippage(model="random", pips=D("0.4")), Slippage(model="spread", share=D("0.3"))]
    ),
    latency_ms=st.sampled_from([0, 1500]),
    latency_jitter_ms=st.sampled_from([0, 4000]),
    commission=st.sampled_from(
        [Commission(), Commission(model="percent", taker=D("0.003"), maker=D("0.001"), minimum=D("0.01"))]
    ),
    margin_call_level=st.sampled_from([None, D("0.5"), D("0.95")]),
    financing=st.sampled_from(
        [{}, {s: FinancingRate(long=D("-3.1"), short=D("1.7")) for s in SYMBOLS[:2]}]  # one instrument stays free
    ),
    seed=st.integers(0, 3),
)
accounts = st.builds(
    PaperAccount,
    account=st.just("random"),
    currency=st.sampled_from(["USD", "EUR"]),
    deposit=st.sampled_from([D(500), D(2000), D(100_000)]),
    leverage=st.sampled_from([None, D(10)]),
    hedging=st.booleans(),
)

Ticks = Callable[[Matcher, list[Tick]], list[VenueTransaction]]
"""A way of showing consecutive ticks to a matcher."""


def by_step(matcher: Matcher, ticks: list[Tick]) -> list[VenueTransaction]:
    """The dumb way: everything is looked at, at every tick."""
    return [entry for tick in ticks for entry in matcher.step(tick)]


def by_tick(matcher: Matcher, ticks: list[Tick]) -> list[VenueTransaction]:
    """The backtest's way: quiet ticks pass at once."""
    return [entry for tick in ticks for entry in matcher.on_tick(tick)]


def by_window(matcher: Matcher, ticks: list[Tick]) -> list[VenueTransaction]:
    """The conductor's way: look ahead, let the quiet ticks pass, act on one."""
    if not ticks:
        return []
    window, index, told = TickWindow(tuple(ticks)), 0, []
    while index < len(ticks):
        before = matcher.state()
        quiet = matcher.quiet_until(window, index)
        assert index <= quiet <= len(ticks)
        assert matcher.quiet_until(window, index) == quiet
        assert matcher.state() == before
        matcher.advance(window, quiet)
        if quiet < len(ticks):
            told += matcher.on_tick(ticks[quiet])
        index = quiet + 1
    return told


class Play:
    """Plays a script on a matcher. ``show`` is the way of the ticks; ``between`` may replace the matcher after each act."""

    def __init__(
        self,
        account: PaperAccount,
        settings_: PaperSettings,
        show: Ticks = by_step,
        between: Callable[[Matcher], Matcher] = lambda matcher: matcher,
    ) -> None:
        self.matcher = Matcher(account, CATALOGUE, settings_)
        self.record = list(self.matcher.open(START_S * NS))
        self._show = show
        self._between = between
        self._mids = dict(MIDS)
        self._ts_ns = START_S * NS
        self._position = 0
        self._waiting: list[Tick] = []
        self._orders = 0

    def run(self, script: list[Move | Wish]) -> list[VenueTransaction]:
        """Play it all; returns the record."""
        for symbol in range(3):
            self._move(Move(symbol, 0, 10, 0, 0, 1))
        for act in script:
            if isinstance(act, Move):
                self._move(act)
            else:
                self._pass()
                self._wish(act)
                self.matcher = self._between(self.matcher)
        self._pass()
        self.matcher = self._between(self.matcher)
        return self.record

    def _pass(self) -> None:
        ticks, self._waiting = self._waiting, []
        self.record += self._show(self.matcher, ticks)

    def _move(self, move: Move) -> None:
        symbol = SYMBOLS[move.symbol]
        step = CATALOGUE[symbol].tick_size
        self._mids[symbol] = max(self._mids[symbol] + move.steps, 1000)
        self._ts_ns += GAPS_S[move.gap] * NS
        self._position += 1
        sizes = [None if size is None else D(size) for size in (SIZES[move.bid_size], SIZES[move.ask_size])]
        bid = step * self._mids[symbol]
        self._waiting.append(
            Tick(symbol, self._ts_ns, bid, bid + step * move.spread, self._position, sizes[0], sizes[1])
        )

    def _wish(self, wish: Wish) -> None:
        open_ = self.matcher.state().orders
        if wish.what < 2 and open_:
            order = open_[(wish.near * 7 + wish.far) % len(open_)]
            if wish.what == 0:
                self.record += self.matcher.cancel(order.client_order_id)
            else:
                price = self._price(order.instrument, DISTANCES[wish.far])
                self.record += self.matcher.amend(order.client_order_id, price)
            return
        self._orders += 1
        self.record += self.matcher.place(self._request(wish))

    def _price(self, symbol: str, steps: int) -> D:
        return CATALOGUE[symbol].tick_size * (self._mids[symbol] + steps)

    def _request(self, wish: Wish) -> OrderRequest:
        symbol, side = SYMBOLS[wish.symbol], list(Side)[wish.side]
        type_, tif = TYPES[wish.type], list(TimeInForce)[wish.tif]
        held = [p for p in self.matcher.positions() if p.instrument == symbol]
        limits = type_ in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        stops = type_ in (OrderType.STOP, OrderType.STOP_LIMIT)
        reduces = wish.what >= 8 and bool(held)
        name = f"o{self._orders}"
        return OrderRequest(
            client_order_id=name,
            instrument=symbol,
            side=side,
            type=type_,
            quantity=D(QUANTITIES[wish.quantity]),
            time_in_force=tif,
            price=self._price(symbol, DISTANCES[wish.far]) if limits else None,
            stop_price=self._price(symbol, DISTANCES[wish.near]) if stops else None,
            expire_at_ns=self._ts_ns + 30 * NS if tif is TimeInForce.GTD else None,
            reduce_only=reduces and held[0].ref is None,
            position_ref=held[-1].ref if reduces else None,
            attached=() if reduces else self._exits(name, symbol, side, wish),
        )

    def _exits(self, name: str, symbol: str, side: Side, wish: Wish) -> tuple[AttachedExit, ...]:
        step = CATALOGUE[symbol].tick_size
        sign = side.sign
        stop = AttachedExit(
            client_order_id=f"{name}s", type=OrderType.STOP, stop_price=self._price(symbol, -sign * (45 + wish.near))
        )
        target = AttachedExit(
            client_order_id=f"{name}t", type=OrderType.LIMIT, price=self._price(symbol, sign * (45 + wish.far))
        )
        trail = AttachedExit(
            client_order_id=f"{name}r", type=OrderType.TRAILING_STOP, trail_distance=step * (10 + 5 * wish.near)
        )
        return ((), (stop,), (target,), (stop, target), (target, stop), (trail,), (trail, target), ())[wish.exits]


def saved_and_restored(account: PaperAccount, settings_: PaperSettings) -> Callable[[Matcher], Matcher]:
    """A kill between any two acts: the state goes through bytes into a new matcher."""
    import msgspec

    encoder = msgspec.msgpack.Encoder(decimal_format="string")
    decoder = msgspec.msgpack.Decoder(MatcherState)

    def between(matcher: Matcher) -> Matcher:
        payload = encoder.encode(matcher.state())
        again = Matcher(account, CATALOGUE, settings_, decoder.decode(payload))
        assert encoder.encode(again.state()) == payload
        return again

    return between
