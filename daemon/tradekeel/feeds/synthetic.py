"""The synthetic feed: a made-up market from a seed, the same tick for tick in every process and on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tradekeel.domain.bars import Origin, enough_history
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_MS, NS_PER_S, SPANS_S
from tradekeel.errors import InputError
from tradekeel.feeds.context import FeedContext, FeedSurroundings, Keys, Problem
from tradekeel.feeds.market import PRICES, SLOTS, Market, MarketSettings, Moment, Timeline
from tradekeel.feeds.pace import MAX, Pacer, Sleeper, Speed, parse_speed
from tradekeel.feeds.replay import ReplayFeed, Start
from tradekeel.feeds.zones import Instant, parse_instant
from tradekeel.ports import FeedInfo

GENERATOR = 1  # raised whenever the same settings would give other ticks: it is part of the fingerprint
DAY_NS = 86_400 * NS_PER_S
WEEKEND_NS = 3 * DAY_NS  # with room for the clock's change
END_MAX_NS = parse_instant("2200-01-01")
KEEP_EVERY = 64  # blocks: a moment kept every so often, to begin again from

_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])")


class SyntheticFeedSettings(MarketSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set for ``kind = "synthetic"``, beside the market's own settings."""

    instruments: Annotated[tuple[str, ...], Meta(min_length=1)]
    markets: dict[str, MarketSettings] = msgspec.field(
        default_factory=dict
    )  # an instrument's own market instead of the one described here
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    ticks: Annotated[int, Meta(ge=1)] | None = None  # how many in all
    duration: str | None = None  # or how long the market is open, "90s" to "52w"
    start: Instant = "2024-01-01T22:00:00Z"
    interval_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 250  # between two ticks of an instrument, on average
    weekends: bool = False  # whether the market trades on weekends
    live: bool = False  # ticks are stamped with the clock's time and cannot be replayed
    speed: Speed = MAX
    wait_max_s: Annotated[float, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ticks is not None and self.duration is not None:
            raise ValueError("give ticks or duration, not both")
        if self.ticks is None and self.duration is None and not self.live:
            raise ValueError('say how long the market lasts: ticks = 100000, or duration = "5d", or live = true')
        if self.duration is not None and _DURATION.fullmatch(self.duration) is None:
            raise ValueError(f'duration {self.duration!r}: write a number and one of s, m, h, d, w, such as "5d"')
        if len(set(self.instruments)) != len(self.instruments):
            raise ValueError("an instrument is listed twice")
        unused = sorted(set(self.markets) - set(self.instruments))
        if unused:
            raise ValueError(f"markets has {', '.join(unused)}, which instruments does not list")
        if not self.live:  # whose times are the clock's
            self._check_times()

    def _check_times(self) -> None:
        """Times are told from 1970 on, and before 2200; a weekend, in which no slot is, may come behind any five days."""
        total = self.ticks_total
        try:
            start_ns = parse_instant(self.start)
        except InputError:
            return  # that is told by itself
        if total is None:
            return
        open_ns = -(-total // len(self.instruments)) * self.interval_ms * NS_PER_MS
        end_ns = start_ns + (open_ns if self.weekends else open_ns * 7 // 5 + WEEKEND_NS)
        if start_ns < 0 or end_ns > END_MAX_NS:
            raise ValueError(
                f"the market would begin at {self.start} and last {open_ns // DAY_NS:,} trading days; it must begin in 1970 or "
                "later, and be over before 2200"
            )

    @property
    def ticks_total(self) -> int | None:
        """How many ticks there will be; None where the market never ends."""
        if self.duration is None:
            return self.ticks
        match = _DURATION.fullmatch(self.duration)
        assert match is not None
        slots = int(match[1]) * SPANS_S[match[2]] * 1_000 // self.interval_ms
        return max(1, slots) * len(self.instruments)


def synthetic_symbols(options: Mapping[str, Any]) -> dict[str, Keys]:
    """Each instrument that a table names, and the key where it does."""
    symbols = options.get("instruments")
    if not isinstance(symbols, list):
        return {}
    return {symbol: ("instruments",) for symbol in symbols if isinstance(symbol, str)}


def look_at_prices(options: Mapping[str, Any], around: FeedSurroundings) -> Iterator[Problem]:
    """Instruments whose market would not know at which price to begin."""
    markets = options.get("markets")
    for symbol in synthetic_symbols(options):
        own = markets.get(symbol) if isinstance(markets, dict) else None
        market: Mapping[str, Any] = own if isinstance(own, dict) else options
        key: Keys = ("markets", symbol, "price") if isinstance(own, dict) else ("price",)
        if symbol in around.known and symbol not in PRICES and "price" not in market:
            yield key, f"is missing, allowed: the price at which the synthetic market of {symbol} begins"


def synthetic_feed(settings: SyntheticFeedSettings, context: FeedContext) -> ReplayFeed:
    """Build the feed. Raises :class:`InputError` where an instrument or its price is not known."""
    markets = [_market(settings, symbol, context) for symbol in settings.instruments]
    weekends = settings.weekends or settings.live
    timeline = Timeline(parse_instant(settings.start), settings.interval_ms * NS_PER_MS, weekends)
    speed = 1.0 if settings.live else parse_speed(settings.speed)
    total = settings.ticks_total
    info = FeedInfo(
        name=context.name,
        instruments=settings.instruments,
        replayable=not settings.live,
        live=settings.live,
        fingerprint="" if settings.live else _fingerprint(settings, markets),
        total=total,
    )
    return ReplayFeed(
        info,
        SyntheticSource(timeline, markets, total, context.sleeper if settings.live else None),
        timeframes=context.timeframes,
        sleeper=context.sleeper,
        pacer=None if speed is None else Pacer(speed, context.sleeper, settings.wait_max_s),
    )


def _market(settings: SyntheticFeedSettings, symbol: str, context: FeedContext) -> Market:
    instrument = context.instruments.get(symbol) or CATALOGUE.get(symbol)
    if instrument is None:
        raise InputError(
            f"instrument {symbol!r} is not known: define it under [instruments.{symbol}], or use one of the catalogue"
        )
    return Market(settings.seed, instrument, settings.markets.get(symbol, settings), settings.interval_ms)


def _fingerprint(settings: SyntheticFeedSettings, markets: Sequence[Market]) -> str:
    ignored = {"speed", "wait_max_s", "live"}
    options = {name: value for name, value in msgspec.to_builtins(settings).items() if name not in ignored}
    grids = [[str(m.instrument.tick_size), str(m.instrument.pip_size), str(m.instrument.lot_step)] for m in markets]
    return hashlib.blake2b(msgspec.json.encode([GENERATOR, options, grids], order="sorted"), digest_size=16).hexdigest()


class _Place(Struct, frozen=True):
    """Where a block begins: its time, and the state of each market."""

    start_ns: int
    moments: tuple[Moment, ...]


class SyntheticSource:
    """The ticks of some markets, taking turns. A :class:`~tradekeel.feeds.replay.Source`.

    Each instrument has one tick a slot, in the order of the config, so position p is instrument ``(p - 1) % n`` in slot ``(p - 1)
    // n``: any position can be found without the ticks before it. Only the state at the start of its block is needed, and
    blocks are folded some hundred times faster than ticks are made.
    """

    def __init__(
        self, timeline: Timeline, markets: Sequence[Market], total: int | None, live_clock: Sleeper | None = None
    ) -> None:
        self._timeline = timeline
        self._markets = markets
        self._total = total
        self._live_clock = live_clock
        self._block_ticks = SLOTS * len(markets)
        self._kept = [_Place(timeline.first_ns, tuple(market.begin() for market in markets))]
        self._block = 0
        self._place = self._kept[0]
        self._skip = 0  # ticks at the start of the next block that are not wanted
        self._shift_ns = 0
        self._position = 0

    def seek(self, after: int, timeframes: Mapping[str, Sequence[str]]) -> Start:
        """Begin at the block that holds ``after``, or as many before it as bars need."""
        block = after // self._block_ticks
        if self._live_clock is not None:
            self._go(block)
            self._skip = after - block * self._block_ticks
            self._position = after
            ahead_ns = self._skip // len(self._markets) * self._timeline.interval_ns
            # The spread follows the session, so the market is made for about now; the feed stamps what it delivers.
            self._shift_ns = self._live_clock.now_ns() - self._place.start_ns - ahead_ns
            return Start(after, {})
        if timeframes:
            block = self._early_enough(block, timeframes)
        self._go(block)
        self._skip, self._position = 0, block * self._block_ticks
        origin = Origin(block * SLOTS, max(0, self._place.start_ns - 1) if block else 0)
        return Start(self._position, {market.instrument.symbol: origin for market in self._markets})

    def _early_enough(self, block: int, timeframes: Mapping[str, Sequence[str]]) -> int:
        # A tick of the block before is the last one that surely has passed; its block's start is a lower bound of its time.
        later = Origin(block * SLOTS, self._at(max(0, block - 1)).start_ns)
        while block > 0:
            block = (block - 1) // KEEP_EVERY * KEEP_EVERY
            origin = Origin(block * SLOTS, self._at(block).start_ns - 1)
            if all(enough_history(texts, origin, later) for texts in timeframes.values()):
                break
        return block

    def read(self) -> list[Tick] | None:
        """The ticks of the next block; None at the end."""
        first = self._block * self._block_ticks + 1
        if self._total is not None and first > self._total:
            return None
        slots = self._timeline.slots(self._place.start_ns)
        columns = [
            market.ticks(self._block, moment, slots, first, self._shift_ns, turn, len(self._markets))
            for turn, (market, moment) in enumerate(zip(self._markets, self._place.moments, strict=True))
        ]
        ticks = columns[0] if len(columns) == 1 else [tick for slot in zip(*columns, strict=True) for tick in slot]
        stop = None if self._total is None else self._total - first + 1
        ticks = ticks[self._skip : stop]
        self._skip = 0
        self._place = self._next(self._block, self._place)
        self._block += 1
        self._keep(self._block, self._place)
        if ticks:
            self._position = ticks[-1].position
        return ticks

    def close(self) -> None:
        """There is nothing to let go of."""

    def counts(self) -> dict[str, int]:
        """Every row is a tick."""
        return {"rows": self._position}

    def progress(self) -> float | None:
        """Unknown: a market that ends knows its length, and the feed then needs no help."""
        return None

    def _go(self, block: int) -> None:
        self._block, self._place = block, self._at(block)

    def _at(self, block: int) -> _Place:
        """The state where ``block`` begins, folded from the last one kept before it."""
        number = min(block // KEEP_EVERY, len(self._kept) - 1) * KEEP_EVERY
        place = self._kept[number // KEEP_EVERY]
        for passed in range(number, block):
            place = self._next(passed, place)
            self._keep(passed + 1, place)
        return place

    def _keep(self, block: int, place: _Place) -> None:
        if block == len(self._kept) * KEEP_EVERY:
            self._kept.append(place)

    def _next(self, block: int, place: _Place) -> _Place:
        moments = tuple(m.after(block, moment) for m, moment in zip(self._markets, place.moments, strict=True))
        return _Place(self._timeline.block_after(place.start_ns), moments)
