"""The synthetic market: the same from the same seed in every process, on the instrument's grid, and shaped as it was told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.feeds.reading import build, read, ticks_of
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.sessions import Session, market_open, session_at
from tradekeel.domain.ticks import Tick
from tradekeel.errors import InputError
from tradekeel.feeds import SyntheticFeedSettings
from tradekeel.feeds.zones import parse_instant

SCRIPT = """
import asyncio, hashlib
from tests.unit.feeds.reading import build, ticks_of
feed = build("synthetic", {"instruments": ["EUR_USD", "USD_JPY"], "ticks": 3000, "seed": 42, "size": 100000})
print(hashlib.blake2b(repr(asyncio.run(ticks_of(feed))).encode()).hexdigest())
"""


def feed(**settings: Any) -> Any:
    return build("synthetic", {"instruments": ["EUR_USD"], **settings})


def digest(ticks: list[Tick]) -> str:
    return hashlib.blake2b(repr(ticks).encode()).hexdigest()


class TestSeeds:
    def test_the_same_seed_is_the_same_market_in_another_process(self):
        mine = build("synthetic", {"instruments": ["EUR_USD", "USD_JPY"], "ticks": 3000, "seed": 42, "size": 100000})
        environment = {**os.environ, "PYTHONHASHSEED": "12345"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=True
        )
        assert done.stdout.strip() == digest(asyncio.run(ticks_of(mine)))

    async def test_these_very_ticks_are_a_promise(self):
        """If this changes, resumed runs would see another market: raise GENERATOR in feeds/synthetic.py with it."""
        ticks = await ticks_of(feed(ticks=3, seed=1))
        assert [(t.ts_ns, str(t.bid), str(t.ask)) for t in ticks] == PROMISED

    async def test_another_seed_or_instrument_is_another_market(self):
        one, two = await ticks_of(feed(ticks=100, seed=1)), await ticks_of(feed(ticks=100, seed=2))
        assert [t.bid for t in one] != [t.bid for t in two]
        pair = await ticks_of(build("synthetic", {"instruments": ["EUR_USD", "GBP_USD"], "ticks": 200}))
        moves = [[t.bid - part[0].bid for t in part] for part in (pair[0::2], pair[1::2])]
        assert moves[0] != moves[1]

    def test_the_fingerprint_tells_markets_apart_but_not_speeds(self):
        prints = {
            feed(ticks=10).info.fingerprint,
            feed(ticks=10, seed=2).info.fingerprint,
            feed(ticks=10, volatility="0.2").info.fingerprint,
            feed(ticks=11).info.fingerprint,
            feed(ticks=10, markets={"EUR_USD": {"drift": "0.1"}}).info.fingerprint,
        }
        assert len(prints) == 5
        assert feed(ticks=10, speed=5).info.fingerprint in prints


PROMISED = [
    (1704146400073364257, "1.09991", "1.10010"),
    (1704146400419479370, "1.09992", "1.10008"),
    (1704146400707790374, "1.09991", "1.10011"),
]


class TestLength:
    @pytest.mark.parametrize("ticks", [1, 255, 256, 257, 1000])
    async def test_so_many_ticks(self, ticks):
        market = feed(ticks=ticks)
        assert market.info.total == ticks
        assert len(await ticks_of(market)) == ticks
        assert (market.progress(), market.quality()) == (1.0, {"ticks": ticks, "rows": ticks})

    async def test_so_long(self):
        market = build("synthetic", {"instruments": ["EUR_USD", "GBP_USD"], "duration": "10m", "interval_ms": 500})
        ticks = await ticks_of(market)
        assert len(ticks) == market.info.total == 2 * 1_200
        assert ticks[-1].ts_ns - ticks[0].ts_ns <= 600 * 10**9

    async def test_a_position_ten_million_ticks_away_is_reached_at_once(self):
        market = build(
            "synthetic",
            {"instruments": ["EUR_USD", "USD_JPY"], "ticks": 10_000_003, "interval_ms": 50},
            timeframes={"EUR_USD": ("1m", "1000t")},
        )
        start = market._source.seek(10_000_000, {"EUR_USD": ("1m", "1000t")})  # type: ignore[attr-defined]
        assert 10_000_000 - 100_000 < start.position <= 10_000_000
        await market.open(10_000_000)
        window = await market.next_window(10)
        assert window is not None
        assert [t.position for t in window.ticks] == [10_000_001, 10_000_002, 10_000_003]


class TestShape:
    @given(st.sampled_from(["EUR_USD", "USD_JPY", "BTC_USDT"]), st.integers(0, 2**63 - 1), st.integers(1, 5_000))
    async def test_prices_are_on_the_grid_bid_is_below_ask_and_time_goes_on(self, symbol, seed, interval_ms):
        ticks = await ticks_of(
            build("synthetic", {"instruments": [symbol], "seed": seed, "ticks": 600, "interval_ms": interval_ms})
        )
        step = CATALOGUE[symbol].tick_size
        assert all(t.bid % step == 0 and t.ask % step == 0 and 0 < t.bid < t.ask for t in ticks)
        assert all(t.bid.as_tuple().exponent == step.as_tuple().exponent for t in ticks)
        assert all(a.ts_ns < b.ts_ns for a, b in pairwise(ticks))

    async def test_several_instruments_take_turns(self):
        ticks = await ticks_of(build("synthetic", {"instruments": ["USD_JPY", "EUR_USD", "GBP_USD"], "ticks": 1000}))
        assert [t.instrument for t in ticks[:4]] == ["USD_JPY", "EUR_USD", "GBP_USD", "USD_JPY"]
        assert all(a.ts_ns < b.ts_ns for a, b in pairwise(ticks))

    async def test_the_market_is_closed_on_weekends_unless_told_otherwise(self):
        friday = {"start": "2024-01-05T21:00:00Z", "interval_ms": 10_000, "duration": "3h"}
        ticks = await ticks_of(feed(**friday))
        assert all(market_open(t.ts_ns) for t in ticks)
        assert (
            ticks[0].ts_ns
            < parse_instant("2024-01-05T22:00:00Z")
            < parse_instant("2024-01-07T22:00:00Z")
            < ticks[-1].ts_ns
        )
        always = await ticks_of(feed(**friday, weekends=True))
        assert always[-1].ts_ns < parse_instant("2024-01-06T00:00:01Z")

    async def test_a_start_on_a_weekend_waits_for_the_opening(self):
        ticks = await ticks_of(feed(start="2024-01-06T12:00:00Z", ticks=1))
        assert 0 <= ticks[0].ts_ns - parse_instant("2024-01-07T22:00:00Z") < 250_000_000

    async def test_blocks_longer_than_a_week_keep_out_of_every_weekend(self):
        ticks = await ticks_of(feed(ticks=600, interval_ms=3_600_000))
        assert all(market_open(t.ts_ns) for t in ticks)
        assert all(a.ts_ns < b.ts_ns for a, b in pairwise(ticks))

    async def test_spreads_follow_the_session(self):
        ticks = await ticks_of(
            feed(duration="1d", interval_ms=5_000, session_spread={"TOKYO": "4", "OVERLAP": "1"}, clustering=1)
        )
        mean = {
            session: float(sum(t.spread for t in part)) / len(part)
            for session in (Session.TOKYO, Session.OVERLAP)
            if (part := [t for t in ticks if session_at(t.ts_ns) is session])
        }
        assert 3.9 < mean[Session.TOKYO] / mean[Session.OVERLAP] < 4.1

    async def test_over_time_it_is_as_wild_as_it_was_told(self):
        wanted = 0.2
        ticks = await ticks_of(
            feed(
                ticks=60_000,
                interval_ms=60_000,
                volatility=str(wanted),
                jumps_per_day=0,
                clustering=0,
                spread_pips="0.1",
            )
        )
        mids = [float(t.mid) for t in ticks]
        steps = [b / a - 1 for a, b in zip(mids[::60], mids[60::60], strict=False)]
        per_hour = (sum(step * step for step in steps) / len(steps)) ** 0.5
        yearly = per_hour * (365.25 * 24 * 5 / 7) ** 0.5
        assert wanted * 0.9 < yearly < wanted * 1.1

    async def test_wild_times_come_in_clusters(self):
        ticks = await ticks_of(feed(ticks=100_000, jumps_per_day=0, volatility="1"))
        mids = [float(t.mid) for t in ticks[::16]]
        sizes = [abs(b - a) for a, b in pairwise(mids)]
        mean = sum(sizes) / len(sizes)
        near = sum((a - mean) * (b - mean) for a, b in zip(sizes, sizes[8:], strict=False))
        assert near / sum((a - mean) ** 2 for a in sizes) > 0.05

    async def test_jumps_are_jumps(self):
        largest = []
        for per_day in (0, 100_000):
            ticks = await ticks_of(feed(ticks=5_000, volatility=0, jumps_per_day=per_day, jump_pips=100))
            largest.append(max(abs(b.mid - a.mid) for a, b in pairwise(ticks)))
        assert largest[0] < Decimal("0.0002")
        assert Decimal("0.004") < largest[1] < Decimal("0.016")

    async def test_drift_moves_the_price_as_far_as_it_says(self):
        ticks = await ticks_of(
            feed(duration="5w", interval_ms=60_000, drift=1, volatility=0, jumps_per_day=0, spread_pips="0.1")
        )
        growth = float(ticks[-1].mid / ticks[0].mid)
        assert growth == pytest.approx(2.718281828 ** (35 / (365.25 * 5 / 7)), rel=0.01)

    async def test_however_wild_a_price_stays_above_zero(self):
        ticks = await ticks_of(feed(ticks=5_000, volatility=10, drift=-10, interval_ms=86_400_000, price="0.002"))
        assert min(t.bid for t in ticks) > 0

    async def test_sizes_come_where_they_are_asked_for(self):
        assert {t.bid_size for t in await ticks_of(feed(ticks=10))} == {None}
        sizes = [t.ask_size for t in await ticks_of(feed(ticks=500, size=1000))]
        assert all(size is not None and 500 <= size <= 1500 and size % 1 == 0 for size in sizes)


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({}, "how long the market lasts"),
            ({"ticks": 5, "duration": "1d"}, "not both"),
            ({"duration": "forever"}, "write a number and one of"),
            ({"ticks": 0}, ">= 1"),
            ({"ticks": 5, "instruments": []}, "length >= 1"),
            ({"ticks": 5, "instruments": ["EUR_USD", "EUR_USD"]}, "listed twice"),
            ({"ticks": 5, "markets": {"USD_JPY": {}}}, "markets has USD_JPY"),
            (
                {"ticks": 5, "start": "9999-12-31"},
                "would begin at 9999-12-31 and last 0 trading days; it must begin in",
            ),
            ({"ticks": 5, "start": "1969-12-31"}, "must begin in 1970 or later"),
            ({"ticks": 5, "start": "0001-01-01"}, "must begin in 1970 or later"),
            ({"ticks": 10**18}, "be over before 2200"),
            ({"duration": "900000w"}, "last 6,300,000 trading days"),
            ({"ticks": 5, "volatility": -1}, "volatility must be between"),
            ({"ticks": 5, "clustering": 2}, "clustering must be between"),
            ({"ticks": 5, "spread_pips": 0}, "spread_pips must be above 0"),
            ({"ticks": 5, "session_spread": {"PARIS": 1}}, "session_spread has 'PARIS'"),
            ({"ticks": 5, "session_spread": {"NY": 0}}, r"session_spread\.NY must be above 0"),
            ({"ticks": 5, "volatilty": 1}, "unknown field `volatilty`"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, settings, problem):
        with pytest.raises(msgspec.ValidationError, match=problem):
            msgspec.convert({"instruments": ["EUR_USD"], **settings}, SyntheticFeedSettings)

    @pytest.mark.parametrize(
        "settings",
        [{"start": "2199-12-20"}, {"start": "2199-12-29", "weekends": True}, {"start": "1970-01-01"}],
    )
    async def test_a_market_at_the_end_of_all_times_is_told(self, settings):
        ticks = await ticks_of(feed(duration="2d", interval_ms=3_600_000, **settings))
        assert len(ticks) == 48

    def test_a_live_market_has_the_clocks_times(self):
        msgspec.convert({"instruments": ["EUR_USD"], "live": True, "start": "9999-12-31"}, SyntheticFeedSettings)

    def test_an_instrument_must_be_known_and_have_a_price(self):
        with pytest.raises(InputError, match="instrument 'EUR_XXX' is not known"):
            build("synthetic", {"instruments": ["EUR_XXX"], "ticks": 1})
        with pytest.raises(InputError, match="USD_SEK: say at which price"):
            build("synthetic", {"instruments": ["USD_SEK"], "ticks": 1})

    async def test_an_instrument_can_have_a_market_of_its_own(self):
        market = build(
            "synthetic",
            {
                "instruments": ["EUR_USD", "USD_SEK"],
                "ticks": 2,
                "price": "1.5",
                "markets": {"USD_SEK": {"price": "10.5"}},
            },
        )
        ticks, _ = await read(market)
        assert [round(float(t.mid), 1) for t in ticks] == [1.5, 10.5]
