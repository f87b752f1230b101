"""Loss limits: what the gate asks before an entry, and what the monitor watches on every tick.

Loss is measured on equity. The *daily loss* counts from the equity at the start of the trading day (17:00 New York), the
*drawdown* from the highest equity seen. Reaching a limit is exceeding it. A limit that is exceeded **trips**: the account
becomes reduce-only or halted (``on_trip``), once, until a person releases it; the release measures anew from the equity
it was given at.

Equity is piecewise linear in prices, so the worst and the best that it can have been over many ticks follow from the range
that bid and ask covered (:meth:`Marks.equity_range`). As long as even the worst case trips nothing, the ticks in
between need not be valued one by one (:meth:`RiskMonitor.quiet`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.money import LEDGER, WORKING, ZERO, Rounding, divide
from tradekeel.domain.positions import Leg, Position, Quote, conversion_path, convert, rate_along
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.risk_view import Denial, DenialCode
from tradekeel.domain.rows import Latch
from tradekeel.domain.sessions import trading_day, trading_day_start_ns
from tradekeel.domain.ticks import Extremes

PERCENT_STEP = Decimal("0.01")
_HUNDRED = Decimal(100)


def find_loss(limits: RiskLimits, equity: Decimal, day_start: Decimal | None, peak: Decimal | None) -> Denial | None:
    """The first loss limit that ``equity`` has reached, or that cannot be measured. Reaching a limit is exceeding it."""
    if limits.daily_loss_max is not None:
        if day_start is None:
            return Denial(DenialCode.EQUITY_MISSING, "the equity at the start of the trading day is not known")
        loss = WORKING.subtract(day_start, equity)
        if loss >= limits.daily_loss_max:
            return Denial.exceeded(
                DenialCode.DAILY_LOSS_MAX, "the loss of this trading day is", loss, limits.daily_loss_max
            )
    if limits.drawdown_max is None and limits.drawdown_max_percent is None:
        return None
    if peak is None:
        return Denial(DenialCode.EQUITY_MISSING, "the account's peak equity is not known")
    fall = WORKING.subtract(peak, equity)
    if limits.drawdown_max is not None and fall >= limits.drawdown_max:
        return Denial.exceeded(DenialCode.DRAWDOWN_MAX, "equity is below its peak by", fall, limits.drawdown_max)
    percent = limits.drawdown_max_percent
    if percent is not None and fall > ZERO and WORKING.multiply(fall, _HUNDRED) >= WORKING.multiply(percent, peak):
        found = _percent(fall, peak)
        return Denial.exceeded(
            DenialCode.DRAWDOWN_MAX_PERCENT, "equity is below its peak by", found, percent, "percent"
        )
    return None


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    if whole <= ZERO:
        return _HUNDRED  # everything is gone
    return divide(WORKING.multiply(part, _HUNDRED), whole, PERCENT_STEP, Rounding.DISPLAY)


# --- equity, now and over a range of prices ---------------------------------------------------------------------------


class EquityRange(Struct, frozen=True, gc=False):
    """Bounds of the equity over some ticks, and what it was before the first of them.

    ``attained``: both bounds really occurred, so ``high`` may become the peak.
    """

    low: Decimal
    high: Decimal
    attained: bool
    standing: Decimal | None


class Marks:
    """Values an account's positions in its currency. Pairs that lead from a currency to the account's are found once.

    Unrealised profit is converted position by position at mid rates and rounded as it would be booked. That rounding is
    monotonic, so the bounds of :meth:`equity_range` hold to the last digit.
    """

    def __init__(self, instruments: Mapping[str, Instrument], account_currency: str) -> None:
        self.instruments = instruments
        self.account_currency = account_currency
        self._paths: dict[str, tuple[Leg, ...] | None] = {
            currency: conversion_path(currency, account_currency, instruments)
            for currency in {instrument.quote for instrument in instruments.values()}
        }

    def equity(self, balance: Decimal, positions: Iterable[Position], quotes: Mapping[str, Quote]) -> Decimal | None:
        """Balance and unrealised profit at ``quotes``; None where a price or a conversion rate is missing."""
        total = balance
        for position in positions:
            quote, path = quotes.get(position.instrument), self._path(position)
            rate = rate_along(path, quotes) if path is not None else None
            if quote is None or rate is None:
                return None
            profit = position.unrealised(quote.bid, quote.ask)
            total = LEDGER.add(total, convert(profit, rate.value, self.account_currency))
        return total

    def equity_range(
        self,
        balance: Decimal,
        positions: Iterable[Position],
        quotes: Mapping[str, Quote],
        extremes: Mapping[str, Extremes],
    ) -> EquityRange | None:
        """Bounds of the equity while prices went from ``quotes``, which stood before, through ``extremes``."""
        held = tuple(positions)
        low = high = balance
        moved: set[tuple[str, bool]] = set()  # (instrument, whether it is the bid): what the equity moved with
        for position in held:
            path = self._path(position)
            covered = _covered(position.instrument, quotes, extremes)
            rates = _rate_range(path, quotes, extremes) if path is not None else None
            if covered is None or rates is None:
                return None
            at_bid = position.quantity > ZERO
            worst, best = (covered.bid_low, covered.bid_high) if at_bid else (covered.ask_high, covered.ask_low)
            least, most = position.unrealised(worst, worst), position.unrealised(best, best)
            low = LEDGER.add(low, min(convert(least, rate, self.account_currency) for rate in rates))
            high = LEDGER.add(high, max(convert(most, rate, self.account_currency) for rate in rates))
            if worst != best:
                moved.add((position.instrument, at_bid))
            if rates[0] != rates[1]:
                moved.add(("rate", position.quantity > ZERO))
                moved.add(("rate", position.quantity <= ZERO))
        return EquityRange(low, high, len(moved) <= 1, self.equity(balance, held, quotes))

    def _path(self, position: Position) -> tuple[Leg, ...] | None:
        instrument = self.instruments.get(position.instrument)
        return None if instrument is None else self._paths[instrument.quote]


def _covered(symbol: str, quotes: Mapping[str, Quote], extremes: Mapping[str, Extremes]) -> Extremes | None:
    quote, known = quotes.get(symbol), extremes.get(symbol)
    if quote is None:
        return known
    if known is None:
        return Extremes(quote.bid, quote.bid, quote.ask, quote.ask)
    # The standing quote counts until the instrument's first tick, while others have moved already.
    return Extremes(
        min(known.bid_low, quote.bid),
        max(known.bid_high, quote.bid),
        min(known.ask_low, quote.ask),
        max(known.ask_high, quote.ask),
    )


def _rate_range(
    path: tuple[Leg, ...], quotes: Mapping[str, Quote], extremes: Mapping[str, Extremes]
) -> tuple[Decimal, Decimal] | None:
    """The lowest and highest rate along ``path``: each leg at the end of its range that makes the product so."""
    low: dict[str, Quote] = {}
    high: dict[str, Quote] = {}
    for leg in path:
        covered = _covered(leg.symbol, quotes, extremes)
        if covered is None:
            return None
        bottom, top = Quote(covered.bid_low, covered.ask_low), Quote(covered.bid_high, covered.ask_high)
        low[leg.symbol], high[leg.symbol] = (top, bottom) if leg.inverse else (bottom, top)
    least, most = rate_along(path, low), rate_along(path, high)
    return None if least is None or most is None else (least.value, most.value)


# --- the monitor ------------------------------------------------------------------------------------------------------


class RiskState(Struct):
    """What the monitor remembers; saved with the account's checkpoint."""

    day: date | None = None
    day_ends_ns: int = 0
    day_start_equity: Decimal | None = None
    peak_equity: Decimal | None = None
    last_equity: Decimal | None = None
    tripped: list[DenialCode] = []


class Trip(Struct, frozen=True):
    """A loss limit was reached: what the account becomes, and why."""

    code: DenialCode
    latch: Latch
    sentence: str
    found: str
    allowed: str
    ts_ns: int


class RiskMonitor:
    """Watches equity against the loss limits. Its state is data: save it, and give it to the next monitor."""

    def __init__(self, limits: RiskLimits, state: RiskState | None = None) -> None:
        self.limits = limits
        self.state = state if state is not None else RiskState()
        self._latch = Latch.HALTED if limits.on_trip == "halt" else Latch.REDUCE_ONLY
        self._watched = self._untripped()

    def observe(self, equity: Decimal, ts_ns: int) -> Trip | None:
        """Equity at a time, ascending. Returns a trip when a limit is reached for the first time."""
        state = self.state
        if ts_ns >= state.day_ends_ns:
            self._begin_day(equity, ts_ns)
        if state.peak_equity is None or equity > state.peak_equity:
            state.peak_equity = equity
        state.last_equity = equity
        if not self.limits.needs_equity:
            return None
        return self._first_trip(equity, ts_ns)

    def quiet(self, bounds: EquityRange, last_ns: int) -> bool:
        """Whether no tick up to ``last_ns`` can have changed anything but the last equity: then only :meth:`skip` them.

        Never right after a booking: the equity that stands then was not observed at any tick, and must not become a peak
        or not depending on how ticks are batched. The next tick is observed by itself.
        """
        state = self.state
        if not self.limits.needs_equity:
            return last_ns < state.day_ends_ns
        peak = state.peak_equity
        if last_ns >= state.day_ends_ns or peak is None or bounds.standing != state.last_equity:
            return False
        if bounds.high > peak and not bounds.attained:
            return False
        denial = find_loss(self._watched, bounds.low, state.day_start_equity, max(peak, bounds.high))
        return denial is None

    def skip(self, bounds: EquityRange, last_equity: Decimal) -> None:
        """The ticks that :meth:`quiet` vouched for have passed; ``last_equity`` is that of the last of them."""
        state = self.state
        if bounds.attained and (state.peak_equity is None or bounds.high > state.peak_equity):
            state.peak_equity = bounds.high
        state.last_equity = last_equity

    def moved_funds(self, amount: Decimal) -> None:
        """A deposit (or with a minus a withdrawal) is neither profit nor loss: the marks move with it."""
        state = self.state
        for name in ("day_start_equity", "peak_equity", "last_equity"):
            before: Decimal | None = getattr(state, name)
            if before is not None:
                setattr(state, name, LEDGER.add(before, amount))

    def rearm(self, equity: Decimal, ts_ns: int) -> None:
        """A person released the account: loss and drawdown are measured anew from here."""
        self.state = RiskState()
        self._begin_day(equity, ts_ns)
        self.state.peak_equity = self.state.last_equity = equity

    def _begin_day(self, equity: Decimal, ts_ns: int) -> None:
        state = self.state
        state.day = trading_day(ts_ns)
        state.day_ends_ns = trading_day_start_ns(state.day + timedelta(days=1))
        # The day begins with what the last one ended on, so that a gap over the weekend counts as a loss of the new day.
        state.day_start_equity = state.last_equity if state.last_equity is not None else equity
        if DenialCode.DAILY_LOSS_MAX in state.tripped:
            state.tripped.remove(DenialCode.DAILY_LOSS_MAX)
        self._watched = self._untripped()

    def _first_trip(self, equity: Decimal, ts_ns: int) -> Trip | None:
        state = self.state
        denial = find_loss(self._watched, equity, state.day_start_equity, state.peak_equity)
        if denial is None:
            return None
        state.tripped.append(denial.code)
        self._watched = self._untripped()
        return Trip(denial.code, self._latch, denial.sentence, denial.found or "", denial.allowed or "", ts_ns)

    def _untripped(self) -> RiskLimits:
        """The limits without those that have tripped already: each says so once."""
        tripped = self.state.tripped
        if not tripped:
            return self.limits
        limits = self.limits
        return RiskLimits(
            daily_loss_max=None if DenialCode.DAILY_LOSS_MAX in tripped else limits.daily_loss_max,
            drawdown_max=None if DenialCode.DRAWDOWN_MAX in tripped else limits.drawdown_max,
            drawdown_max_percent=None if DenialCode.DRAWDOWN_MAX_PERCENT in tripped else limits.drawdown_max_percent,
        )
