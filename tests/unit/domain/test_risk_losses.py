"""Loss limits: the trading day, the peak, trips, and the bounds that let quiet ticks pass unseen."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.make import NOON_NS, SECOND_NS, dec, quote
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.money import ZERO
from tradekeel.domain.positions import Position, Quote
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.risk_losses import EquityRange, Marks, RiskMonitor, RiskState, Trip, find_loss
from tradekeel.domain.risk_view import DenialCode
from tradekeel.domain.rows import Latch
from tradekeel.domain.ticks import Extremes, Tick, TickWindow

HOUR_NS = 3_600 * SECOND_NS
ROLL_NS = NOON_NS + 9 * HOUR_NS  # 17:00 in New York, in summer
DAILY = RiskLimits(daily_loss_max=dec(500))
PEAK = RiskLimits(drawdown_max=dec(500))
PERCENT = RiskLimits(drawdown_max_percent=dec(10))


def watch(limits: RiskLimits, *observations: tuple[int | str, int]) -> tuple[RiskMonitor, list[DenialCode | None]]:
    monitor = RiskMonitor(limits)
    trips = [monitor.observe(dec(equity), ts_ns) for equity, ts_ns in observations]
    return monitor, [None if trip is None else trip.code for trip in trips]


class TestTheDailyLoss:
    def test_trips_when_it_is_reached(self):
        _, trips = watch(DAILY, (10_000, NOON_NS), ("9500.01", NOON_NS + 1), (9_500, NOON_NS + 2))
        assert trips == [None, None, DenialCode.DAILY_LOSS_MAX]

    def test_says_what_becomes_of_the_account(self):
        monitor = RiskMonitor(RiskLimits(daily_loss_max=dec(500), on_trip="halt"))
        monitor.observe(dec(10_000), NOON_NS)
        assert monitor.observe(dec(9_400), NOON_NS + 1) == Trip(
            DenialCode.DAILY_LOSS_MAX,
            Latch.HALTED,
            "the loss of this trading day is 600, allowed are 500",
            "600",
            "500",
            NOON_NS + 1,
        )
        assert RiskMonitor(DAILY)._latch is Latch.REDUCE_ONLY

    def test_trips_once_a_day(self):
        observed = [(10_000, NOON_NS), (9_400, NOON_NS + 1), (9_300, NOON_NS + 2), (9_300, ROLL_NS)]
        _, trips = watch(DAILY, *observed, (8_800, ROLL_NS + 1))
        assert trips == [None, DenialCode.DAILY_LOSS_MAX, None, None, DenialCode.DAILY_LOSS_MAX]

    def test_begins_anew_at_five_in_new_york(self):
        monitor, trips = watch(DAILY, (10_000, NOON_NS), (9_600, ROLL_NS - 1), (9_200, ROLL_NS))
        assert trips == [None, None, None]
        assert (monitor.state.day, monitor.state.day_start_equity) == (date(2014, 5, 9), dec(9_600))

    def test_counts_a_gap_over_the_roll_as_a_loss_of_the_new_day(self):
        _, trips = watch(DAILY, (10_000, NOON_NS), (9_400, ROLL_NS + 50 * HOUR_NS))
        assert trips == [None, DenialCode.DAILY_LOSS_MAX]

    def test_does_not_begin_a_day_again_when_the_clock_steps_back(self):
        monitor, _ = watch(DAILY, (10_000, ROLL_NS), (9_900, ROLL_NS - HOUR_NS), (9_800, ROLL_NS + 1))
        assert monitor.state.day_start_equity == dec(10_000)


class TestTheDrawdown:
    def test_counts_from_the_highest_equity(self):
        _, trips = watch(PEAK, (10_000, NOON_NS), (10_400, NOON_NS), (9_901, NOON_NS), (9_900, NOON_NS))
        assert trips == [None, None, None, DenialCode.DRAWDOWN_MAX]

    def test_counts_over_days(self):
        _, trips = watch(PEAK, (10_000, NOON_NS), (9_700, ROLL_NS), (9_500, ROLL_NS + 1))
        assert trips == [None, None, DenialCode.DRAWDOWN_MAX]

    def test_in_percent_of_the_peak(self):
        _, trips = watch(PERCENT, (10_000, NOON_NS), ("9000.01", NOON_NS), (9_000, NOON_NS))
        assert trips == [None, None, DenialCode.DRAWDOWN_MAX_PERCENT]

    def test_in_percent_of_any_digits_is_compared_exactly(self):
        percent = dec("33." + "3" * 28)
        peak = dec("12345678901234567890.1234")
        limits = RiskLimits(drawdown_max_percent=percent)
        assert find_loss(limits, dec("8230452600823045260.0823"), None, peak) is None
        denial = find_loss(limits, dec("8230452600823045260.0822"), None, peak)
        assert str(denial) == f"equity is below its peak by 33.33 percent, allowed are {percent}"

    def test_each_limit_trips_once(self):
        limits = RiskLimits(daily_loss_max=dec(500), drawdown_max=dec(600), drawdown_max_percent=dec(7))
        observed = [(10_000, NOON_NS), (9_000, NOON_NS), (9_000, NOON_NS), (9_000, NOON_NS), (1, NOON_NS)]
        _, trips = watch(limits, *observed)
        assert trips == [
            None,
            DenialCode.DAILY_LOSS_MAX,
            DenialCode.DRAWDOWN_MAX,
            DenialCode.DRAWDOWN_MAX_PERCENT,
            None,
        ]


class TestTheMonitor:
    def test_without_limits_only_keeps_the_marks(self):
        monitor, trips = watch(RiskLimits(), (10_000, NOON_NS), (1, NOON_NS))
        assert trips == [None, None]
        assert (monitor.state.peak_equity, monitor.state.last_equity) == (dec(10_000), dec(1))

    def test_measures_anew_after_a_release(self):
        monitor, _ = watch(PEAK, (10_000, NOON_NS), (9_400, NOON_NS))
        monitor.rearm(dec(9_400), NOON_NS)
        assert monitor.observe(dec(9_000), NOON_NS) is None
        trip = monitor.observe(dec(8_900), NOON_NS)
        assert trip is not None
        assert trip.found == "500"

    def test_takes_a_deposit_for_neither_profit_nor_loss(self):
        monitor, _ = watch(PEAK, (10_000, NOON_NS))
        monitor.moved_funds(dec(-3_000))
        assert monitor.observe(dec("6500.01"), NOON_NS) is None
        assert monitor.observe(dec(6_500), NOON_NS) is not None
        assert monitor.state.day_start_equity == dec(7_000)

    def test_a_deposit_before_anything_was_seen_is_the_beginning(self):
        monitor = RiskMonitor(PEAK)
        monitor.moved_funds(dec(10_000))
        assert monitor.state == RiskState()

    def test_goes_on_from_its_saved_state(self):
        monitor, _ = watch(DAILY, (10_000, NOON_NS), (9_400, NOON_NS))
        saved = msgspec.msgpack.encode(monitor.state)
        again = RiskMonitor(DAILY, msgspec.msgpack.decode(saved, type=RiskState))
        assert again.state == monitor.state
        assert again.observe(dec(9_300), NOON_NS + 1) is None  # it has tripped already
        assert again.observe(dec(8_800), ROLL_NS) is not None


class TestQuietTicks:
    def started(self, limits: RiskLimits) -> RiskMonitor:
        return watch(limits, (10_000, NOON_NS))[0]

    @pytest.mark.parametrize(
        ("low", "high", "attained", "quiet"),
        [
            (9_501, 10_000, False, True),
            (9_500, 10_000, False, False),  # the low may trip
            (9_600, 10_001, False, False),  # a new peak that may never have been: look at each tick
            (9_600, 10_001, True, True),
            (9_600, 10_100, True, False),  # from the new peak the low would trip
        ],
    )
    def test_are_those_in_which_even_the_worst_case_trips_nothing(self, low, high, attained, quiet):
        bounds = EquityRange(dec(low), dec(high), attained, dec(10_000))
        assert self.started(PEAK).quiet(bounds, NOON_NS + 1) is quiet

    @pytest.mark.parametrize("limits", [RiskLimits(), DAILY])
    def test_end_with_the_day(self, limits):
        monitor = self.started(limits)
        bounds = EquityRange(dec(9_999), dec(10_000), attained=True, standing=dec(10_000))
        assert monitor.quiet(bounds, ROLL_NS - 1)
        assert not monitor.quiet(bounds, ROLL_NS)

    @pytest.mark.parametrize("standing", [None, dec(9_999)])
    def test_do_not_begin_before_what_was_booked_is_observed_once(self, standing):
        bounds = EquityRange(dec(9_990), dec(9_999), attained=True, standing=standing)
        assert not self.started(PEAK).quiet(bounds, NOON_NS + 1)

    def test_are_none_before_the_first_observation(self):
        assert not RiskMonitor(PEAK, RiskState(day_ends_ns=ROLL_NS)).quiet(
            EquityRange(ZERO, ZERO, attained=True, standing=None), NOON_NS
        )

    def test_leave_the_peak_and_the_last_equity_behind(self):
        monitor = self.started(PEAK)
        monitor.skip(EquityRange(dec(9_900), dec(10_050), attained=True, standing=dec(10_000)), dec(9_950))
        assert (monitor.state.peak_equity, monitor.state.last_equity) == (dec(10_050), dec(9_950))
        monitor.skip(EquityRange(dec(9_900), dec(10_060), attained=False, standing=dec(9_950)), dec(9_950))
        assert monitor.state.peak_equity == dec(10_050)

    def test_of_an_account_that_was_never_seen_begin_with_their_peak(self):
        monitor = RiskMonitor(PEAK)
        monitor.skip(EquityRange(dec(1), dec(2), attained=True, standing=None), dec(1))
        assert monitor.state.peak_equity == dec(2)


SYMBOLS = ("EUR_USD", "USD_JPY", "EUR_JPY")
INSTRUMENTS = {symbol: CATALOGUE[symbol] for symbol in SYMBOLS}
bases = {"EUR_USD": 110_000, "USD_JPY": 100_000, "EUR_JPY": 110_000}
ticks = st.lists(
    st.tuples(st.sampled_from(SYMBOLS), st.integers(-300, 300), st.integers(1, 30)), min_size=1, max_size=25
)
holdings = st.one_of(
    st.dictionaries(st.sampled_from(SYMBOLS), st.integers(-50_000, 50_000).filter(bool), max_size=3),
    st.fixed_dictionaries({"EUR_USD": st.integers(1, 50_000)}),  # whose best equity is really reached
)


def priced(symbol: str, offset: int, spread: int) -> tuple[Decimal, Decimal]:
    grid = CATALOGUE[symbol].tick_size
    return (bases[symbol] + offset) * grid, (bases[symbol] + offset + spread) * grid


def around(symbol: str) -> Extremes:
    (bid_low, ask_low), (bid_high, ask_high) = priced(symbol, -5, 10), priced(symbol, 5, 10)
    return Extremes(bid_low, bid_high, ask_low, ask_high)


class TestMarks:
    marks = Marks(INSTRUMENTS, "USD")

    def test_are_balance_and_profit_in_the_accounts_currency(self):
        quotes = {"EUR_USD": quote("1.2", "1.3"), "USD_JPY": quote("99", "101")}
        held = [Position("EUR_USD", dec(10), dec(11)), Position("USD_JPY", dec(-10), dec(-1000))]
        assert self.marks.equity(dec(100), held, quotes) == dec("100.9")  # +1 dollar, -10 yen at 0.01

    def test_of_nothing_are_the_balance(self):
        assert self.marks.equity(dec(100), [], {}) == dec(100)
        assert self.marks.equity_range(dec(100), [], {}, {}) == EquityRange(
            dec(100), dec(100), attained=True, standing=dec(100)
        )

    @pytest.mark.parametrize(
        ("position", "quotes"),
        [
            (Position("EUR_USD", dec(1), dec(1)), {}),
            (Position("USD_JPY", dec(1), dec(1)), {}),
            (Position("EUR_JPY", dec(1), dec(1)), {"EUR_JPY": quote("110", "110")}),
            (Position("AUD_NZD", dec(1), dec(1)), {"AUD_NZD": quote("1", "1")}),
        ],
    )
    def test_are_none_where_a_price_or_a_rate_is_missing(self, position, quotes):
        assert self.marks.equity(dec(100), [position], quotes) is None
        assert self.marks.equity_range(dec(100), [position], quotes, {}) is None

    def test_are_none_where_no_pair_leads_to_the_accounts_currency(self):
        marks = Marks({"AUD_NZD": CATALOGUE["AUD_NZD"]}, "USD")
        assert marks.equity(dec(1), [Position("AUD_NZD", dec(1), dec(1))], {"AUD_NZD": quote("1", "1")}) is None

    @pytest.mark.parametrize(
        ("held", "moved", "attained"),
        [
            ({"EUR_USD": 10}, ["EUR_USD"], True),
            ({"EUR_USD": 10}, ["USD_JPY"], True),
            ({"EUR_USD": 10, "USD_JPY": 10}, ["EUR_USD"], True),
            ({"EUR_USD": 10, "USD_JPY": 10}, ["EUR_USD", "USD_JPY"], False),
            ({"USD_JPY": 10}, ["USD_JPY"], False),  # its profit in yen moves, and so does the yen
            ({"EUR_JPY": 10}, ["USD_JPY"], False),
        ],
    )
    def test_are_known_to_have_been_reached_only_if_one_price_moved(self, held, moved, attained):
        positions = [Position(s, dec(q), ZERO) for s, q in held.items()]
        quotes = {symbol: Quote(*priced(symbol, 0, 10)) for symbol in SYMBOLS}
        extremes = {symbol: around(symbol) for symbol in moved}
        bounds = self.marks.equity_range(ZERO, positions, quotes, extremes)
        assert bounds is not None
        assert bounds.attained is attained

    def test_of_a_long_and_a_short_in_one_instrument_are_never_both_reached(self):
        held = [Position("EUR_USD", dec(10), ZERO, "p1"), Position("EUR_USD", dec(-5), ZERO, "p2")]
        extremes = {"EUR_USD": Extremes(dec("1.0"), dec("1.2"), dec("1.1"), dec("1.3"))}
        bounds = self.marks.equity_range(ZERO, held, {}, extremes)
        assert bounds == EquityRange(dec("3.5"), dec("6.5"), attained=False, standing=None)

    def test_take_the_worse_end_of_every_pair_on_the_way_to_the_accounts_currency(self):
        gold = structs.replace(CATALOGUE["EUR_GBP"], symbol="XAU_GBP", base="XAU")
        pairs = {"XAU_GBP": gold, "GBP_USD": CATALOGUE["GBP_USD"], "EUR_USD": CATALOGUE["EUR_USD"]}
        extremes = {s: Extremes(dec(1), dec(2), dec(1), dec(2)) for s in ("GBP_USD", "EUR_USD")}
        bounds = Marks(pairs, "EUR").equity_range(
            ZERO, [Position("XAU_GBP", dec(1), ZERO)], {"XAU_GBP": quote("10", "10")}, extremes
        )
        assert bounds == EquityRange(dec(5), dec(20), attained=False, standing=None)  # 10 pounds at 1/2 and at 2/1

    @given(holdings, ticks)
    def test_bounds_hold_at_every_tick_to_the_last_digit(self, held, moves):
        positions = [Position(s, dec(q), dec(q) * priced(s, 0, 10)[0]) for s, q in held.items()]
        quotes = {symbol: Quote(*priced(symbol, 0, 10)) for symbol in SYMBOLS}
        all_ticks = [Tick(s, n, *priced(s, offset, spread), n) for n, (s, offset, spread) in enumerate(moves, start=1)]
        before = dict(quotes)
        bounds = self.marks.equity_range(dec(10_000), positions, before, TickWindow(all_ticks).extremes())
        assert bounds is not None
        seen = []
        for tick in all_ticks:
            quotes[tick.instrument] = Quote(tick.bid, tick.ask)
            equity = self.marks.equity(dec(10_000), positions, quotes)
            assert equity is not None
            assert bounds.low <= equity <= bounds.high
            seen.append(equity)
        if bounds.attained:
            opening = self.marks.equity(dec(10_000), positions, before)
            assert opening is not None
            assert (bounds.low, bounds.high) == (min(*seen, opening), max(*seen, opening))

    @given(holdings, ticks, st.integers(50, 400), st.integers(1, 12), st.lists(st.integers(-40, 40), max_size=25))
    def test_ticks_skipped_in_whatever_windows_leave_what_watching_each_would(self, held, moves, limit, size, bookings):
        """Bookings change the balance between two ticks: ``bookings[n]`` after the n-th."""
        limits = RiskLimits(drawdown_max=dec(limit), daily_loss_max=dec(limit))
        positions = [Position(s, dec(q), dec(q) * priced(s, 0, 10)[0]) for s, q in held.items()]
        all_ticks = [Tick(s, NOON_NS + n, *priced(s, o, w), n) for n, (s, o, w) in enumerate(moves, start=1)]
        booked = [*bookings, *[0] * len(all_ticks)][: len(all_ticks)]
        each = Watch(self.marks, limits, positions)
        for tick, amount in zip(all_ticks, booked, strict=True):
            each.at(tick)
            each.balance += amount
        leaping = Watch(self.marks, limits, positions)
        index = 0
        while index < len(all_ticks):
            stop = min(index + size, len(all_ticks))
            # a window ends where something is booked, as the conductor ends it
            stop = next((n + 1 for n in range(index, stop) if booked[n]), stop)
            if not leaping.leap(all_ticks[index:stop]):
                stop = index + 1
                leaping.at(all_ticks[index])
            leaping.balance += booked[stop - 1]
            index = stop
        assert leaping.trips == each.trips
        assert leaping.monitor.state == each.monitor.state


class Watch:
    """A monitor with quotes and a balance, told of ticks one by one or by the window."""

    def __init__(self, marks: Marks, limits: RiskLimits, positions: list[Position]) -> None:
        self.marks, self.positions, self.balance = marks, positions, dec(10_000)
        self.quotes = {symbol: Quote(*priced(symbol, 0, 10)) for symbol in SYMBOLS}
        self.monitor = RiskMonitor(limits)
        self.trips: list[Trip] = []
        self.monitor.observe(self.equity(), NOON_NS)

    def equity(self) -> Decimal:
        equity = self.marks.equity(self.balance, self.positions, self.quotes)
        assert equity is not None
        return equity

    def at(self, tick: Tick) -> None:
        self.quotes[tick.instrument] = Quote(tick.bid, tick.ask)
        trip = self.monitor.observe(self.equity(), tick.ts_ns)
        if trip is not None:
            self.trips.append(trip)

    def leap(self, ticks: list[Tick]) -> bool:
        bounds = self.marks.equity_range(self.balance, self.positions, self.quotes, TickWindow(ticks).extremes())
        assert bounds is not None
        if not self.monitor.quiet(bounds, ticks[-1].ts_ns):
            return False
        self.quotes.update({tick.instrument: Quote(tick.bid, tick.ask) for tick in ticks})
        self.monitor.skip(bounds, self.equity())
        return True
