"""The account at the venue: what it holds, what it is worth, and its gap-free record.

Everything that changes the account passes through :meth:`VenueAccount.note`, which numbers the entry and writes the
balance after it. So the balance is at every entry what the entries say: deposits + realised + financing - fees, to
the last digit.

Methods that compute money are called inside the ledger's decimal context by the matcher.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct, structs

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.matching.costs import commission_due, commission_raw, financing
from tradekeel.domain.matching.margin import Margin
from tradekeel.domain.matching.rates import Converter, Range
from tradekeel.domain.matching.terms import Commission, PaperAccount, PaperSettings
from tradekeel.domain.matching.working import WorkingOrder
from tradekeel.domain.messages import Fill, Liquidity, TransactionKind, VenueTransaction
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Side
from tradekeel.domain.positions import Position, booked, convert
from tradekeel.domain.sessions import Rollover
from tradekeel.domain.ticks import Tick

PositionKey = tuple[str, str | None]

_BUY = Side.BUY  # looked up once: going through an enum's class costs as much as two sums
_FILLED = TransactionKind.ORDER_FILLED


def by_age(key: PositionKey) -> tuple[str, int, str]:
    """Sorts positions by instrument and age: ids are numbers as text, so the shorter is the older."""
    symbol, ref = key
    return symbol, len(ref or ""), ref or ""


class Sums(Struct, frozen=True):
    """The account's booked amounts in its currency."""

    deposits: Decimal = ZERO
    realised: Decimal = ZERO
    financing: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        """Deposits + realised + financing - fees. Exact inside the ledger's context."""
        return self.deposits + self.realised + self.financing - self.fees


class Execution(Struct, frozen=True):
    """One execution about to be booked."""

    instrument: Instrument
    side: Side
    quantity: Decimal
    price: Decimal
    liquidity: Liquidity
    ref: str | None  # hedging: the position that it opens or reduces


class VenueAccount:
    """Positions, sums, quotes and the record. Positions without quantity do not exist."""

    def __init__(self, terms: PaperAccount, instruments: Mapping[str, Instrument], settings: PaperSettings) -> None:
        self.terms = terms
        self.instruments = instruments
        self.settings = settings
        self.sums = Sums()
        self.balance = ZERO  # of the sums: asked for with every entry and every look at the margin
        self.positions: dict[PositionKey, Position] = {}
        self.marks: dict[str, Tick] = {}
        self.sequence = 0
        self.position = 0  # of the last tick seen
        self.ts_ns = 0  # event time: never runs backwards
        self.converter = Converter(terms.currency, settings.conversion_rates)
        self.margin = Margin(instruments, self.converter, terms.leverage, settings.margin_call_level)
        self.entries: list[VenueTransaction] = []  # of the call that is going on
        self.changed_positions: set[PositionKey] = set()  # since they were last asked for
        self.version = 0  # of everything that the margin level depends on, the quotes apart
        self._guard: dict[str, Range] = {}
        self._guard_version = -1
        self._guarded: frozenset[str] = frozenset()  # the pairs that the guard was made for
        self._guarded_at = (-1, -1)  # the version and the tick that it was last looked at with
        self._has_room = False  # whether there is anything inside it

    # --- the record
    # ----------------------------------------------------------------------------------------------------

    def note(
        self,
        kind: TransactionKind,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        instrument: str | None = None,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
        fill: Fill | None = None,
        amount: Decimal = ZERO,
        reason: str = "",
    ) -> None:
        """Write the next entry of the record."""
        self.sequence += 1
        self.entries.append(
            VenueTransaction(
                sequence=self.sequence,
                kind=kind,
                ts_ns=self.ts_ns,
                position=self.position,
                client_order_id=client_order_id,
                venue_order_id=venue_order_id,
                instrument=instrument,
                quantity=quantity,
                price=price,
                fill=fill,
                amount=amount,
                reason=reason,
                balance=self.balance,
            )
        )

    def note_order(
        self,
        kind: TransactionKind,
        order: WorkingOrder,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
        reason: str = "",
    ) -> None:
        """Write the next entry of the record: what became of an order, its fills apart."""
        self.note(
            kind,
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            instrument=order.instrument,
            quantity=quantity,
            price=price,
            reason=reason,
        )

    def take_entries(self) -> list[VenueTransaction]:
        """The entries written since this was last called."""
        entries, self.entries = self.entries, []
        return entries

    @property
    def next_id(self) -> str:
        """The venue's id for an order that the next entry creates: the entry's number, as at many venues."""
        return str(self.sequence + 1)

    # --- quotes
    # --------------------------------------------------------------------------------------------------------

    def reach(self, tick: Tick) -> None:
        """Be at a tick's place in the feed and time; its quote is not known yet."""
        self.position = tick.position
        if tick.ts_ns > self.ts_ns:
            self.ts_ns = tick.ts_ns

    def see(self, tick: Tick) -> None:
        """Take a tick as its instrument's mark, and be at its place and time."""
        if tick.instrument not in self.marks:
            self.margin.learn(tick.instrument)
            self.version += 1
        self.marks[tick.instrument] = tick
        self.position = tick.position
        if tick.ts_ns > self.ts_ns:
            self.ts_ns = tick.ts_ns

    def start_over(self) -> None:
        """Another run of a feed: places and times count anew. Marks that open positions need are kept, as if from before it."""
        needed = self.margin.symbols()
        self.position = self.ts_ns = 0
        self.marks = {
            symbol: structs.replace(mark, position=0) for symbol, mark in self.marks.items() if symbol in needed
        }
        self.margin.forget(self.marks)
        self.version += 1

    def has_rate(self, instrument: Instrument) -> bool:
        """Whether amounts of the instrument can be converted into the account's currency."""
        return instrument.quote == self.terms.currency or self.converter.path(instrument.quote) is not None

    # --- money
    # ---------------------------------------------------------------------------------------------------------

    def deposit(self, amount: Decimal) -> None:
        """Money comes in (or leaves, below zero)."""
        sums = self.sums
        self._set(Sums(sums.deposits + amount, sums.realised, sums.financing, sums.fees))
        self.note(TransactionKind.DEPOSITED, amount=amount)

    def held(self, symbol: str, ref: str | None) -> Decimal:
        """The signed quantity of a position, zero where there is none."""
        position = self.positions.get((symbol, ref))
        return ZERO if position is None else position.quantity

    def closable(self, side: Side, symbol: str, ref: str | None) -> Decimal:
        """How much an order on ``side`` can take off a position; zero if it would add to it."""
        held = self.held(symbol, ref)
        return abs(held) if held and (held > ZERO) != (side is _BUY) else ZERO

    def figures(self) -> tuple[Decimal, Decimal]:
        """Unrealised profit and margin used at the last marks, in account currency."""
        return self.margin.figures(self.marks)

    def affords(self, execution: Execution) -> bool:
        """Whether equity, less the commission, covers the margin that the account would use after an execution.

        What reduces a position is always affordable.
        """
        symbol = execution.instrument.symbol
        position = self.positions.get((symbol, execution.ref))
        held = ZERO if position is None else position.quantity
        after = held + (execution.quantity if execution.side is _BUY else -execution.quantity)
        more = abs(after) - abs(held)
        if more <= ZERO and held * after >= ZERO:
            return True
        equity_spare = self.balance + self.margin.spare(symbol, more, self.marks)
        model = self.settings.commission
        if model.model == "none":
            return equity_spare >= ZERO
        raw = _commission_of(model, execution, self.margin.rate_of(symbol, self.marks))
        return equity_spare >= commission_due(model, raw, self.terms.currency)

    def is_called(self) -> bool:
        """Whether the margin level is too low at the last marks. While the guard has room that needs no figures."""
        self.guard()
        return not self._has_room and self.margin.is_called(self.balance, self.marks)

    def guard(self) -> dict[str, Range]:
        """The quotes inside which no margin call can come as long as nothing else changes; see :meth:`Margin.guard`."""
        if self._guarded_at != (self.version, self.position):
            holds = self._guard_version == self.version or self._still_guards()
            if not (holds and self._is_inside(self._guard)):
                self._guard = self.margin.guard(self.balance, self.marks)
                self._guarded = self.margin.symbols()
                self._has_room = self._is_inside(self._guard)
            self._guard_version = self.version
            self._guarded_at = (self.version, self.position)
        return self._guard

    @property
    def known_guard(self) -> dict[str, Range] | None:
        """The guard where it needs no computing, for those outside the ledger's context; None where it does."""
        if not self.margin.is_watched:
            return {}
        return self._guard if self._guarded_at == (self.version, self.position) else None

    def _still_guards(self) -> bool:
        """Whether the guard holds for the positions and the balance as they have become: it seldom does not."""
        return self._guarded is self.margin.symbols() and self.margin.holds(self.balance, self._guard)

    def _is_inside(self, guard: Mapping[str, Range]) -> bool:
        marks = self.marks
        for symbol, (bid_low, bid_high, ask_low, ask_high) in guard.items():
            mark = marks[symbol]
            if not (bid_low < mark.bid < bid_high and ask_low < mark.ask < ask_high):
                return False
        return True

    def book(self, execution: Execution, order: WorkingOrder | None, reason: str = "") -> None:
        """Book an execution of ``order``, or of the venue's own (None)."""
        symbol = execution.instrument.symbol
        key = (symbol, execution.ref)
        before = self.positions.get(key)
        side, quantity, price, ref = execution.side, execution.quantity, execution.price, execution.ref
        held, cost = (ZERO, ZERO) if before is None else (before.quantity, before.cost)
        held, cost, profit, closed = booked(held, cost, 1 if side is _BUY else -1, quantity, price)
        after = Position(symbol, held, cost, ref)
        rate = self.margin.rate_of(symbol, self.marks)
        realised = convert(profit, rate, self.terms.currency) if closed else ZERO
        fee = ZERO if self.settings.commission.model == "none" else self._charge(execution, order, rate)
        sums = self.sums
        self._set(Sums(sums.deposits, sums.realised + realised, sums.financing, sums.fees + fee))
        self._hold(key, before, after)
        number = self.sequence + 1
        client_order_id = None if order is None else order.client_order_id
        venue_order_id = str(number) if order is None else order.venue_order_id
        # Beyond fifteen names Python calls by a dict of them, which takes four times as long: the first go without.
        fill = Fill(
            str(number),
            self.terms.account,
            self.terms.venue,
            symbol,
            side=side,
            quantity=quantity,
            price=price,
            fee=fee,
            realised=realised,
            rate=rate,
            liquidity=execution.liquidity,
            ts_ns=self.ts_ns,
            venue_order_id=venue_order_id,
            client_order_id=client_order_id,
            venue_sequence=number,
            position_ref=ref,
        )
        self.note(
            _FILLED,
            client_order_id=client_order_id,
            venue_order_id=venue_order_id,
            instrument=symbol,
            quantity=quantity,
            price=price,
            fill=fill,
            reason=reason,
        )

    def finance(self, roll: Rollover) -> None:
        """Book one rollover on every position whose instrument has a rate, at the last marks."""
        for key in self.sorted_positions():
            position = self.positions[key]
            terms = self.settings.financing.get(position.instrument)
            if terms is None:
                continue
            mark = self.marks[position.instrument]
            rate = self.margin.rate_of(position.instrument, self.marks)
            instrument = self.instruments[position.instrument]
            nights = roll.nights(instrument.triple_weekday)
            amount = financing(terms, instrument, position, mark, nights, rate, self.terms.currency)
            sums = self.sums
            self._set(Sums(sums.deposits, sums.realised, sums.financing + amount, sums.fees))
            self.note(
                TransactionKind.FINANCED,
                venue_order_id=position.ref,
                instrument=position.instrument,
                quantity=position.quantity,
                amount=amount,
                reason=f"{nights} night" if nights == 1 else f"{nights} nights",
            )

    def sorted_positions(self) -> list[PositionKey]:
        """The open positions, by instrument and age: an order that a restart does not change."""
        return sorted(self.positions, key=by_age) if len(self.positions) > 1 else list(self.positions)

    def is_financed(self) -> bool:
        """Whether any open position has a financing rate."""
        rates = self.settings.financing
        return bool(rates) and any(symbol in rates for symbol in self.margin.exposures)

    def restore(self, sums: Sums, positions: tuple[Position, ...], marks: tuple[Tick, ...]) -> None:
        """Take up saved amounts, positions and quotes."""
        self._set(sums)
        for mark in marks:
            self.margin.learn(mark.instrument)
            self.marks[mark.instrument] = mark
        for position in positions:
            self._hold((position.instrument, position.ref), None, position)
        self.changed_positions.clear()

    def _set(self, sums: Sums) -> None:
        self.sums, self.balance = sums, sums.balance
        self.version += 1

    def _hold(self, key: PositionKey, before: Position | None, after: Position) -> None:
        self.margin.replace(before, after)
        self.changed_positions.add(key)
        self.version += 1
        if after.quantity:
            self.positions[key] = after
        else:
            self.positions.pop(key, None)

    def _charge(self, execution: Execution, order: WorkingOrder | None, rate: Decimal) -> Decimal:
        """The commission of this execution; the minimum and the rounding are the order's, not the execution's."""
        model = self.settings.commission
        raw = _commission_of(model, execution, rate)
        if order is None:
            return commission_due(model, raw, self.terms.currency)
        order.fee_raw += raw
        due = commission_due(model, order.fee_raw, self.terms.currency)
        fee = due - order.fee
        order.fee = due
        return fee


def _commission_of(model: Commission, execution: Execution, rate: Decimal) -> Decimal:
    instrument, liquidity = execution.instrument, execution.liquidity
    return commission_raw(model, instrument, execution.quantity, execution.price, rate, liquidity)
