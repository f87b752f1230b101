"""One made-up market: a price that drifts, jumps, and is calm and wild by turns, and a spread that knows the session.

Chances are drawn from a hash of seed, instrument and block, never from a generator with a state, so any block can be made
without those before it. Only additions, multiplications, divisions and square roots touch a float, which every machine
computes alike; no logarithm or sine, whose last digit is the library's own.

A block is 256 slots. Its return over all slots is one draw, so the state at any block is a short fold over block draws; within
the block the path is a random walk bent so that it ends where the draw says (a bridge). Volatility moves between five regimes
from block to block; their mean square is 1, so that over time it is as wild as the setting says.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from decimal import Decimal
from math import sqrt
from typing import NamedTuple

from msgspec import Struct

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.sessions import Session, next_change_ns, session_at, weekend_of
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_MS
from tradekeel.errors import InputError

SLOTS = 256
REGIMES = (0.4, 0.6, 0.8, 1.2, 1.55)
REGIME_FIRST = 2
SECONDS_PER_YEAR = 365.25 * 86_400 * 5 / 7  # of open market
SECONDS_PER_DAY = 86_400
WORD = 65_536
WORDS_PER_TICK = 7  # four for the step, one each for time, spread and size
_STEP_MEAN, _STEP_SCALE = 4 * (WORD - 1) / 2, sqrt(4 * (WORD * WORD - 1) / 12)
_BLOCK_MEAN, _BLOCK_SCALE = 12 * (WORD - 1) / 2, sqrt(12 * (WORD * WORD - 1) / 12)
_BLOCK_WORDS = struct.Struct("<32H")
_TICK_WORDS = struct.Struct(f"<{SLOTS * WORDS_PER_TICK}H")
_RETURN_MIN, _RETURN_MAX = -0.5, 1.0  # of one block: however wild the settings, a price stays above zero
_PRICE_TICKS_MIN = 100
_CACHE_MAX = 50_000

PRICES = {
    "EUR_USD": "1.1", "GBP_USD": "1.27", "AUD_USD": "0.66", "NZD_USD": "0.61", "USD_CAD": "1.36", "USD_CHF": "0.88",
    "USD_JPY": "150", "EUR_GBP": "0.86", "EUR_JPY": "163", "EUR_CHF": "0.96", "GBP_JPY": "190", "AUD_JPY": "98",
    "BTC_USDT": "60000", "ETH_USDT": "3000",
}  # fmt: skip
CLOSED = "CLOSED"  # in session_spread: hours in which no office is open
_SPREADS = {"SYDNEY": "1.8", "TOKYO": "1.3", "LONDON": "1", "NY": "1.1", "OVERLAP": "0.8", CLOSED: "2.5"}


class MarketSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a market moves. Rates are relative and per year of open market (0.1 is ten percent)."""

    price: Decimal | None = None  # the mid at the start; the usual pairs have one
    drift: Decimal = Decimal(0)
    volatility: Decimal = Decimal("0.1")
    clustering: Decimal = Decimal("0.95")  # how likely calm stays calm and wild stays wild for 256 more ticks, 0 to 1
    jumps_per_day: Decimal = Decimal(2)
    jump_pips: Decimal = Decimal(15)  # half to one and a half times this, up or down
    spread_pips: Decimal = Decimal(1)
    session_spread: dict[str, Decimal] = {}  # times spread_pips, by session or "CLOSED"
    size: Decimal | None = None  # units available at each quote, half to one and a half times this; None: unlimited

    def __post_init__(self) -> None:
        for name, least, most in (
            ("drift", -10, 10),
            ("volatility", 0, 10),
            ("clustering", 0, 1),
            ("jumps_per_day", 0, 100_000),
            ("jump_pips", 0, 100_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be between {least} and {most:,}, found {getattr(self, name)}")
        for name in ("price", "spread_pips", "size"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1_000_000_000:
                raise ValueError(f"{name} must be above 0 and at most a billion, found {value}")
        for session, factor in self.session_spread.items():
            if session not in _SPREADS:
                raise ValueError(f"session_spread has {session!r}; allowed are {', '.join(_SPREADS)}")
            if not 0 < factor <= 1_000:
                raise ValueError(f"session_spread.{session} must be above 0 and at most 1,000, found {factor}")


class Timeline:
    """When slots are: ``interval_ns`` apart while the market is open."""

    def __init__(self, start_ns: int, interval_ns: int, weekends: bool) -> None:
        self.interval_ns = interval_ns
        self._weekends = weekends
        self.first_ns = self._open_from(start_ns)

    def slots(self, start_ns: int) -> list[int]:
        """The begin of each slot of the block that starts at ``start_ns``."""
        plain = [start_ns + slot * self.interval_ns for slot in range(SLOTS)]
        if self._weekends:
            return plain
        closes_ns, opens_ns = weekend_of(start_ns)
        if plain[-1] + self.interval_ns <= closes_ns:
            return plain
        moved, shift_ns = [], 0
        for begin_ns in plain:
            while begin_ns + shift_ns + self.interval_ns > closes_ns:
                shift_ns = opens_ns - begin_ns  # a slot that the close would cut begins when the market opens
                closes_ns, opens_ns = weekend_of(opens_ns)
            moved.append(begin_ns + shift_ns)
        return moved

    def block_after(self, start_ns: int) -> int:
        """The start of the block that follows the one at ``start_ns``."""
        return self._open_from(self.slots(start_ns)[-1] + self.interval_ns)

    def _open_from(self, ts_ns: int) -> int:
        if self._weekends:
            return ts_ns
        closes_ns, opens_ns = weekend_of(ts_ns)
        return opens_ns if closes_ns <= ts_ns else ts_ns


class Moment(NamedTuple):
    """The state of a market where a block begins."""

    price: float
    regime: int


class _Draw(NamedTuple):
    """What the block as a whole does."""

    regime: int
    share: float  # its return, relative to the price at its start
    jump: float  # in price, added from ``jump_slot`` on
    jump_slot: int


class Market:
    """The ticks of one instrument."""

    def __init__(self, seed: int, instrument: Instrument, settings: MarketSettings, interval_ms: int) -> None:
        self.instrument = instrument
        price = settings.price or Decimal(PRICES.get(instrument.symbol, 0))
        if not price:
            raise InputError(
                f"instrument {instrument.symbol}: say at which price its synthetic market begins (price = …)"
            )
        slot_s = interval_ms / 1_000
        self._interval_ns = interval_ms * NS_PER_MS
        self._price = float(price)
        self._drift = float(settings.drift) * slot_s / SECONDS_PER_YEAR
        self._step = float(settings.volatility) * sqrt(slot_s / SECONDS_PER_YEAR)
        self._stay = float(settings.clustering)
        self._jump_chance = min(1.0, float(settings.jumps_per_day) * slot_s * SLOTS / SECONDS_PER_DAY)
        self._jump = float(settings.jump_pips * instrument.pip_size)
        self._size_steps = 0.0 if settings.size is None else float(settings.size / instrument.lot_step)
        self._tick = float(instrument.tick_size)
        self._least = self._tick * _PRICE_TICKS_MIN
        in_ticks = float(settings.spread_pips * instrument.pip_size / instrument.tick_size)
        factors = {name: float(settings.session_spread.get(name, Decimal(text))) for name, text in _SPREADS.items()}
        self._spreads: dict[Session | None, float] = {s: in_ticks * factors[s] for s in Session}
        self._spreads[None] = in_ticks * factors[CLOSED]
        self._key = f"{seed}/{instrument.symbol}/".encode()
        self._decimals: dict[int, Decimal] = {}

    def begin(self) -> Moment:
        """The state at the very start."""
        return Moment(self._price, REGIME_FIRST)

    def after(self, block: int, moment: Moment) -> Moment:
        """The state behind a block."""
        draw = self._draw(block, moment)
        return Moment(max(self._least, moment.price * (1.0 + draw.share) + draw.jump), draw.regime)

    def _draw(self, block: int, moment: Moment) -> _Draw:
        digest = hashlib.blake2b(self._key + b"block/%d" % block).digest()
        words = _BLOCK_WORDS.unpack(digest)
        regime = moment.regime
        if words[12] >= self._stay * WORD:
            regime = min(len(REGIMES) - 1, regime + 1) if words[13] & 1 else max(0, regime - 1)
        z = (sum(words[:12]) - _BLOCK_MEAN) / _BLOCK_SCALE
        share = self._drift * SLOTS + self._step * REGIMES[regime] * sqrt(SLOTS) * z
        jump = 0.0
        if words[14] < self._jump_chance * WORD:
            jump = self._jump * (0.5 + words[15] / WORD) * (1.0 if words[16] & 1 else -1.0)
        return _Draw(regime, min(_RETURN_MAX, max(_RETURN_MIN, share)), jump, words[17] % SLOTS)

    def ticks(
        self, block: int, moment: Moment, slots: Sequence[int], first: int, shift_ns: int, turn: int, turns: int
    ) -> list[Tick]:
        """The ticks of one block. ``slots`` are the begins of its slots, ``first`` the position of the block's first tick;
        this instrument is number ``turn`` of ``turns`` in each slot. ``shift_ns`` moves all times (a live market).
        """
        draw = self._draw(block, moment)
        words = _TICK_WORDS.unpack(hashlib.shake_128(self._key + b"ticks/%d" % block).digest(_TICK_WORDS.size))
        mids = self._path(moment.price, draw, words)
        room_ns = self._interval_ns // turns
        offset_ns = shift_ns + turn * room_ns
        symbol, wild = self.instrument.symbol, max(1.0, REGIMES[draw.regime])
        found: list[Tick] = []
        change_ns, spread = 0, 0.0
        price = self._decimal
        for slot, (begin_ns, mid) in enumerate(zip(slots, mids, strict=True)):
            word = slot * WORDS_PER_TICK
            ts_ns = begin_ns + offset_ns + words[word + 4] * room_ns // WORD
            if ts_ns >= change_ns:
                change_ns, spread = next_change_ns(ts_ns), self._spreads[session_at(ts_ns)] * wild
            spread_ticks = int(spread * (0.8 + 0.4 * words[word + 5] / WORD) + 0.5) or 1
            bid_ticks = int(mid / self._tick - spread_ticks / 2 + 0.5)
            size = self._size(words[word + 6]) if self._size_steps else None
            position = first + slot * turns + turn
            found.append(Tick(symbol, ts_ns, price(bid_ticks), price(bid_ticks + spread_ticks), position, size, size))
        return found

    def _path(self, start: float, draw: _Draw, words: Sequence[int]) -> list[float]:
        """The mid in each slot: a random walk, bent to end where the block's draw says."""
        scale = self._step * REGIMES[draw.regime] / _STEP_SCALE
        walk, at = [], 0.0
        for word in range(0, SLOTS * WORDS_PER_TICK, WORDS_PER_TICK):
            at += (words[word] + words[word + 1] + words[word + 2] + words[word + 3] - _STEP_MEAN) * scale
            walk.append(at)
        bend = (draw.share - at) / SLOTS
        least, jump_slot, jump = self._least, draw.jump_slot, draw.jump
        return [
            max(least, start * (1.0 + step + bend * slot) + (jump if slot > jump_slot else 0.0))
            for slot, step in enumerate(walk, start=1)
        ]

    def _size(self, word: int) -> Decimal:
        return max(1, int(self._size_steps * (0.5 + word / WORD))) * self.instrument.lot_step

    def _decimal(self, ticks: int) -> Decimal:
        """A price of so many tick sizes; at least one."""
        known = self._decimals.get(ticks)
        if known is None:
            if len(self._decimals) >= _CACHE_MAX:
                self._decimals.clear()
            known = self._decimals[ticks] = max(1, ticks) * self.instrument.tick_size
        return known
