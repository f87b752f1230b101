"""The risk gate: the last word of ours before an order becomes an intent.

Three rules carry it. **Missing or stale input denies**: a limit that cannot be measured is taken as exceeded.
**The worst case counts**: an order is measured against the position that would be there if everything that may still
fill on its side did, orders in doubt included. **Exits are let out**: an exit faces the size that can be closed, the
halt latch and the hard message rate, and never the loss limit, staleness, the collar or a pause, because nothing is
riskier than a position that one is not allowed to close.

The gate is pure: it takes the order, a view of the account and the time, and answers with a :class:`Denial` or None.
What it remembers are the sliding windows of its rates (:mod:`tradekeel.domain.risk_rates`), which are data and are
saved with the account. Only limits that are set are looked at, so an account without limits pays for none.

``docs/risk.md`` explains every limit with examples.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Context, Decimal

from tradekeel.domain.money import LEDGER, ONE, PRECISION, WORKING, ZERO, Rounding, divide, on_grid, round_to
from tradekeel.domain.orders import Order, Side
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.risk_losses import find_loss
from tradekeel.domain.risk_rates import RateState, SlidingWindow
from tradekeel.domain.risk_signals import SignalFilter, SignalRule, risk_reward
from tradekeel.domain.risk_view import NOTHING_PENDING, Denial, DenialCode, Pending, RiskView, pending_of
from tradekeel.domain.rows import Latch

__all__ = [
    "Denial",
    "DenialCode",
    "Pending",
    "RiskGate",
    "RiskLimits",
    "RiskView",
    "SignalFilter",
    "pending_of",
    "risk_reward",
]

NS_PER_S = Decimal(1_000_000_000)
PIPS_STEP = Decimal("0.1")
"""Grid of the distance that a denial names."""

# A limit is compared, never booked: products are rounded away from zero, so that rounding can only deny.
_CAUTIOUS = Context(
    prec=PRECISION,
    rounding=decimal.ROUND_UP,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
_times, _plus, _minus = _CAUTIOUS.multiply, _CAUTIOUS.add, _CAUTIOUS.subtract


Check = Callable[[Order, RiskView, int], Denial | None]


class RiskGate:
    """The gate of one account. Its limits do not change: a reload builds a new gate and carries the rates over."""

    def __init__(self, limits: RiskLimits, rates: RateState | None = None) -> None:
        self.limits = limits
        fresh = RateState.of(limits.orders_per_second, limits.orders_per_minute, limits.messages_per_second)
        self.rates = fresh if rates is None else rates.carried_to(fresh)
        self._allowed = None if limits.instruments is None else frozenset(limits.instruments)
        self._price_age_ns = _whole_ns(limits.price_age_max_s)
        self._rate_age_ns = _whole_ns(limits.rate_age_max_s)
        self._rules: dict[tuple[str | None, str | None], SignalRule] = {}
        self._checks = self._entry_checks()

    def _entry_checks(self) -> tuple[Check, ...]:
        limits = self.limits
        optional: list[tuple[bool, Check]] = [
            (limits.signal_filter.asks_anything, self._signal),
            (limits.price_collar_pips is not None, self._collar),
            (limits.position_max is not None, self._position),
            (limits.needs_value, self._values),
            (limits.open_orders_max is not None, self._open_orders),
            (limits.needs_equity, self._losses),
        ]
        return (
            self._latches,
            self._size,
            self._price,
            *(check for wanted, check in optional if wanted),
            self._order_rates,
        )

    # --- the questions ---------------------------------------------------------------------------------------------------

    def check_entry(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        """Why this entry must not be sent, or None. An entry that passes is counted in the rates."""
        for check in self._checks:
            denial = check(order, view, now_ns)
            if denial is not None:
                return denial
        self.rates.note_order(now_ns)
        return None

    def check_exit(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        """Why this exit must not be sent, or None. An exit that passes is counted in the rates."""
        if view.latch is Latch.HALTED:
            return _halted()
        if view.stopping:
            return _stopping()
        closable = view.closable
        if closable <= ZERO:
            return Denial(
                DenialCode.NOTHING_TO_CLOSE, "nothing of the trade is left that no other exit has claimed", "0"
            )
        if not ZERO < order.quantity <= closable:
            return Denial.exceeded(DenialCode.CLOSABLE_SIZE, "the exit asks for", order.quantity, closable, "units")
        denial = self._message_rate(now_ns)
        if denial is None:
            self.rates.note_order(now_ns)
        return denial

    def saved_rates(self) -> RateState:
        """The rates without what has left their windows, for a checkpoint; give it back to a new gate."""
        return self.rates.pruned()

    # --- entries: one method a limit -------------------------------------------------------------------------------------

    def _latches(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        if view.latch is Latch.HALTED:
            return _halted()
        if view.latch is Latch.REDUCE_ONLY:
            return Denial(
                DenialCode.REDUCE_ONLY, "the account is reduce-only: no new exposure until a person releases it"
            )
        if view.paused:
            return Denial(DenialCode.PAUSED, "trading is paused: no new entries until it is resumed")
        if view.stopping:
            return _stopping()
        if view.held:
            return Denial(DenialCode.STORE_AWAY, f"no new exposure for now: {view.held}")
        if not view.ready:
            return Denial(DenialCode.NOT_READY, "the account is not reconciled, or the strategy is not warm yet")
        return None

    def _size(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        symbol, quantity = order.instrument, _new(order, view)
        instrument = view.instruments.get(symbol)
        if instrument is None:
            return Denial(DenialCode.INSTRUMENT_UNKNOWN, f"the account does not know {symbol}", symbol)
        if self._allowed is not None and symbol not in self._allowed:
            allowed = ", ".join(sorted(self._allowed))
            return Denial(
                DenialCode.INSTRUMENT_NOT_ALLOWED, f"{symbol} is not among the allowed: {allowed}", symbol, allowed
            )
        least, most = instrument.quantity_min, instrument.quantity_max
        if not least <= quantity <= most:
            return Denial(
                DenialCode.QUANTITY_INVALID,
                f"{symbol} is traded from {least:f} to {most:f} units, found {quantity:f}",
                f"{quantity:f}",
                f"{least:f} to {most:f}",
            )
        step = instrument.lot_step
        if not on_grid(quantity, step):
            sentence = f"{symbol} is traded in steps of {step:f} units, found {quantity:f}"
            return Denial(DenialCode.QUANTITY_INVALID, sentence, f"{quantity:f}", f"{step:f}")
        limit = self.limits.quantity_max
        if limit is not None and quantity > limit:
            return Denial.exceeded(DenialCode.QUANTITY_MAX, f"the order in {symbol} is for", quantity, limit, "units")
        return None

    def _price(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        symbol = order.instrument
        quote = view.quotes.get(symbol)
        if quote is None:
            return Denial(DenialCode.PRICE_MISSING, f"there is no price of {symbol}")
        if not ZERO < quote.bid <= quote.ask:
            found = f"{quote.bid:f}/{quote.ask:f}"
            return Denial(DenialCode.PRICE_INVALID, f"the quote of {symbol} makes no sense: {found}", found)
        age_ns = abs(now_ns - quote.ts_ns)  # from the future is as wrong as from the past
        if age_ns > self._price_age_ns:
            return _stale(DenialCode.PRICE_STALE, f"the price of {symbol}", age_ns, self.limits.price_age_max_s)
        for price in (order.price, order.stop_price):
            if price is not None and price <= ZERO:
                return Denial(
                    DenialCode.PRICE_INVALID, f"an order's price is above zero, found {price:f}", f"{price:f}"
                )
        return None

    def _signal(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        key = (view.session, view.parameter_mode)
        rule = self._rules.get(key)
        if rule is None:
            rule = self._rules[key] = self.limits.signal_filter.rule(*key)
        for code, name, found, least in (
            (DenialCode.CONFIDENCE, "confidence", view.confidence, rule.confidence_threshold),
            (DenialCode.RISK_REWARD, "risk-reward", view.risk_reward, rule.min_risk_reward),
        ):
            if least is None or (found is not None and found >= least):
                continue
            seen = None if found is None else f"{found:f}"
            where = f"in session {view.session or 'none'}, mode {view.parameter_mode or 'none'}"
            sentence = f"the signal's {name} is {seen or 'not known'}, at least {least:f} is asked for {where}"
            return Denial(code, sentence, seen, f"{least:f}")
        return None

    def _collar(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        limit = self.limits.price_collar_pips
        assert limit is not None
        quote, pip = view.quotes[order.instrument], view.instruments[order.instrument].pip_size
        prices = [p for p in (order.price, order.stop_price, order.reference_price) if p is not None]
        if not prices:
            return Denial(
                DenialCode.PRICE_COLLAR, "the price that the decision saw is not known, so the collar cannot hold"
            )
        for price in prices:
            distance = max(_minus(quote.bid, price), _minus(price, quote.ask), ZERO)
            if distance > _times(limit, pip):
                pips = divide(distance, pip, PIPS_STEP, Rounding.EXCESS)
                return Denial.exceeded(
                    DenialCode.PRICE_COLLAR, f"{price:f} is away from the quote by", pips, limit, "pips"
                )
        return None

    def _position(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        limit = self.limits.position_max
        assert limit is not None
        projected = _projected(order, view)
        if projected > limit:
            what = f"{order.instrument} would come to"
            return Denial.exceeded(DenialCode.POSITION_MAX, what, projected, limit, "units with all open orders filled")
        return None

    def _values(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        """The limits that are amounts of money, all at the same value of one unit."""
        limits, symbol, currency = self.limits, order.instrument, view.account_currency
        unit = self._unit_value(symbol, order, view, now_ns)
        if isinstance(unit, Denial):
            return unit
        if limits.notional_max is not None:
            value = _times(_new(order, view), unit)
            if value > limits.notional_max:
                return Denial.exceeded(
                    DenialCode.NOTIONAL_MAX, "the order is worth", value, limits.notional_max, currency
                )
        if limits.position_notional_max is not None:
            value = _times(_projected(order, view), unit)
            if value > limits.position_notional_max:
                what, full = f"{symbol} would come to", f"{currency} with all open orders filled"
                return Denial.exceeded(
                    DenialCode.POSITION_NOTIONAL_MAX, what, value, limits.position_notional_max, full
                )
        return None if limits.exposure_max is None else self._exposure(order, unit, view, now_ns)

    def _exposure(self, order: Order, unit: Decimal, view: RiskView, now_ns: int) -> Denial | None:
        limit = self.limits.exposure_max
        assert limit is not None
        total = _times(_worst(order.instrument, view, order), unit)
        for symbol in sorted({*view.positions, *view.pending} - {order.instrument}):
            worst = _worst(symbol, view)
            if not worst:
                continue
            value = self._unit_value(symbol, None, view, now_ns)
            if isinstance(value, Denial):
                return value
            total = _plus(total, _times(worst, value))
        if total > limit:
            full = f"{view.account_currency} with all open orders filled"
            what = "the account's positions would come to"
            return Denial.exceeded(DenialCode.EXPOSURE_MAX, what, total, limit, full)
        return None

    def _open_orders(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        limit = self.limits.open_orders_max
        assert limit is not None
        count = view.open_orders + 1 + view.attached
        if count > limit:
            own = " with the entry's own exits" if view.attached else ""
            sentence = f"{count} orders would be open{own}, allowed are {limit}"
            return Denial(DenialCode.OPEN_ORDERS_MAX, sentence, str(count), str(limit))
        return None

    def _losses(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        equity = view.equity
        if equity is None:
            return Denial(DenialCode.EQUITY_MISSING, "the account's equity is not known, so no loss limit can hold")
        return find_loss(self.limits, equity, view.day_start_equity, view.peak_equity)

    def _order_rates(self, order: Order, view: RiskView, now_ns: int) -> Denial | None:
        rates = self.rates
        if rates.orders_second is not None and not rates.orders_second.has_room(now_ns):
            return _too_fast(DenialCode.ORDERS_PER_SECOND, "orders", "second", rates.orders_second)
        if rates.orders_minute is not None and not rates.orders_minute.has_room(now_ns):
            return _too_fast(DenialCode.ORDERS_PER_MINUTE, "orders", "minute", rates.orders_minute)
        return self._message_rate(now_ns)

    def _message_rate(self, now_ns: int) -> Denial | None:
        window = self.rates.messages_second
        if window is None or window.has_room(now_ns):
            return None
        return _too_fast(DenialCode.MESSAGES_PER_SECOND, "messages", "second", window)

    # --- values ----------------------------------------------------------------------------------------------------------

    def _unit_value(self, symbol: str, order: Order | None, view: RiskView, now_ns: int) -> Decimal | Denial:
        """Account-currency value of one unit at the dearest price in play: the ask, or the order's own if higher.

        The quote of another instrument than the order's need not be as fresh: it is held to the age of a conversion rate.
        """
        quote, instrument = view.quotes.get(symbol), view.instruments.get(symbol)
        if quote is None or instrument is None:
            return Denial(
                DenialCode.PRICE_MISSING, f"there is no price of {symbol}, which the account holds or has ordered"
            )
        price = quote.ask
        if order is None:
            age_ns = abs(now_ns - quote.ts_ns)
            if age_ns > self._rate_age_ns:
                return _stale(DenialCode.PRICE_STALE, f"the price of {symbol}", age_ns, self.limits.rate_age_max_s)
        else:
            if order.price is not None:
                price = max(price, order.price)
            if order.stop_price is not None:
                price = max(price, order.stop_price)
        if instrument.quote == view.account_currency:
            return price
        rate = view.rates.get(instrument.quote)
        pair = f"{instrument.quote} to {view.account_currency}"
        if rate is None:
            return Denial(DenialCode.RATE_MISSING, f"there is no conversion rate from {pair}")
        age_ns = abs(now_ns - rate.ts_ns)
        if age_ns > self._rate_age_ns:
            return _stale(DenialCode.RATE_STALE, f"the conversion rate from {pair}", age_ns, self.limits.rate_age_max_s)
        return _times(price, rate.value)


def _worst(symbol: str, view: RiskView, order: Order | None = None) -> Decimal:
    """The largest position, either way, that what is held and what may still fill can come to."""
    net = view.positions.get(symbol, ZERO)
    pending = view.pending.get(symbol, NOTHING_PENDING)
    buy, sell = pending.buy, pending.sell
    if order is not None and order.side is Side.BUY:
        buy = _plus(buy, order.quantity)
    elif order is not None:
        sell = _plus(sell, order.quantity)
    return max(_plus(net, buy), _minus(sell, net))


def _projected(order: Order, view: RiskView) -> Decimal:
    """Units in the order's direction if everything that may still fill on its side does. Negative: still the other way."""
    net = view.positions.get(order.instrument, ZERO)
    pending = view.pending.get(order.instrument, NOTHING_PENDING)
    if order.side is Side.BUY:
        return _plus(_plus(net, pending.buy), order.quantity)
    return _plus(_minus(pending.sell, net), order.quantity)


def _new(order: Order, view: RiskView) -> Decimal:
    """Units of an entry that open something: what an entry that turns closes is no new exposure."""
    return LEDGER.subtract(order.quantity, view.closing) if view.closing else order.quantity


def _stopping() -> Denial:
    return Denial(DenialCode.STOPPING, "the run is being stopped, or is over: nothing new is begun")


def _halted() -> Denial:
    return Denial(DenialCode.HALTED, "the account is halted: no orders until a person releases it")


def _whole_ns(seconds: Decimal) -> int:
    return int(round_to(WORKING.multiply(seconds, NS_PER_S), ONE, Rounding.LIMIT))


def _stale(code: DenialCode, what: str, age_ns: int, allowed_s: Decimal) -> Denial:
    seen = f"{LEDGER.divide(Decimal(age_ns), NS_PER_S):f}"
    return Denial(code, f"{what} is {seen} s away from now, allowed are {allowed_s:f} s", seen, f"{allowed_s:f}")


def _too_fast(code: DenialCode, what: str, per: str, window: SlidingWindow) -> Denial:
    sentence = f"{window.limit} {what} have gone out within this {per}, which is all that is allowed"
    return Denial(code, sentence, str(window.limit), str(window.limit))
