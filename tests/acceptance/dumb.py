"""Books kept the dumb way: by another program, in fractions, from the files alone.

Nothing here imports the package. The venue's ledger and our tables are read with the bare driver, amounts become
:class:`~fractions.Fraction`, and everything is added up again from the first entry on. The only rules that are repeated are the
two named roundings of the design: the cost that a partial close releases is a multiple of 1e-12, and what is booked in dollars
one of 0.0001, half to even in both cases.

It knows one currency: instruments are quoted in the account's.
"""

from __future__ import annotations

import csv
import io
import re
import sqlite3
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

RELEASED = Fraction(1, 10**12)
BOOKED = Fraction(1, 10**4)
ZERO = Fraction(0)


class Row(NamedTuple):
    """One line of a recorded file."""

    ms: int
    bid: Fraction
    ask: Fraction


def recorded(path: Path) -> Iterator[Row]:
    """All lines of a zipped file of quotes, as they stand."""
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
        for ms, bid, ask in csv.reader(io.TextIOWrapper(member)):
            yield Row(int(ms), Fraction(bid), Fraction(ask))


def half_even(value: Fraction, step: Fraction) -> Fraction:
    """The nearest multiple of ``step``; of two equally near ones the even."""
    return round(value / step) * step


# --- the venue's ledger -------------------------------------------------------------------------------------------------


class Holding:
    """What is held of one instrument."""

    def __init__(self) -> None:
        self.quantity = ZERO
        self.cost = ZERO
        self.closes = 0

    def fill(self, side: str, quantity: Fraction, price: Fraction) -> Fraction:
        """Book a fill, unit by unit of meaning: first what closes, then what opens. Returns what it realised."""
        sign = 1 if side == "buy" else -1
        realised = ZERO
        if self.quantity * sign < 0:
            closing = min(quantity, abs(self.quantity))
            share = closing / abs(self.quantity)
            released = self.cost if share == 1 else half_even(self.cost * share, RELEASED)
            realised = -sign * closing * price - released
            self.quantity += sign * closing
            self.cost -= released
            quantity -= closing
            self.closes += 1
        self.quantity += sign * quantity
        self.cost += sign * quantity * price
        return half_even(realised, BOOKED)


class Ledger:
    """The venue's account as its own file tells it, added up again and checked on the way."""

    def __init__(self, path: Path) -> None:
        self.deposits = self.realised = self.financing = self.fees = ZERO
        self.cash = ZERO  # what fills paid and cost: no lots, no averages, no rounding
        self.held: dict[str, Holding] = {}
        self.fills: list[dict[str, Any]] = []
        self.financed = 0
        entries = rows_of(path, "SELECT sequence, payload FROM transactions ORDER BY sequence")
        for number, (sequence, payload) in enumerate(entries, start=1):
            assert sequence == number, "the venue's record has a gap"
            self._book(msgspec.msgpack.decode(payload))
        self.entries = len(entries)

    def _book(self, entry: dict[str, Any]) -> None:
        amount = Fraction(entry.get("amount", "0"))
        if entry["kind"] == "deposited":
            self.deposits += amount
        elif entry["kind"] == "financed":
            self.financing += amount
            self.financed += 1
        elif entry["kind"] == "order_filled":
            self._fill(entry["fill"])
        if entry.get("balance") is not None:
            assert Fraction(entry["balance"]) == self.balance, (
                f"the venue's balance is off at entry {entry['sequence']}"
            )

    def _fill(self, fill: dict[str, Any]) -> None:
        quantity, price = Fraction(fill["quantity"]), Fraction(fill["price"])
        realised = self.held.setdefault(fill["instrument"], Holding()).fill(fill["side"], quantity, price)
        assert realised == Fraction(fill["realised"]), (
            f"fill {fill['fill_id']} realised {realised}, not {fill['realised']}"
        )
        assert Fraction(fill["rate"]) == 1, "this program knows one currency"
        self.cash += quantity * price * (1 if fill["side"] == "sell" else -1)
        self.realised += realised
        self.fees += Fraction(fill["fee"])
        self.fills.append(fill)

    @property
    def balance(self) -> Fraction:
        return self.deposits + self.realised + self.financing - self.fees

    @property
    def closes(self) -> int:
        """How many fills realised something: each was rounded once to what is booked."""
        return sum(holding.closes for holding in self.held.values())

    def net(self, instrument: str) -> Fraction:
        """Signed units held."""
        return self.held[instrument].quantity if instrument in self.held else ZERO

    def equity(self, instrument: str, mark: Row) -> Fraction:
        """Deposits + realised + financing - fees + net position at the mark: the equation of the books."""
        held = self.held.get(instrument, Holding())
        return self.balance + half_even(held.quantity * _side(held.quantity, mark) - held.cost, BOOKED)

    def equity_by_cash(self, instrument: str, mark: Row) -> Fraction:
        """The same from cash alone: what was paid in and out, and what is held sold at the mark."""
        net = self.net(instrument)
        return self.deposits + self.cash + net * _side(net, mark) + self.financing - self.fees


def _side(quantity: Fraction, mark: Row) -> Fraction:
    return mark.bid if quantity > 0 else mark.ask


# --- our tables ---------------------------------------------------------------------------------------------------------


def rows_of(path: Path, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Rows of a query, read-only."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql, values).fetchall()


def table(path: Path, name: str, execution: str, order: str) -> list[dict[str, Any]]:
    """All rows of a table that belong to an execution, by column."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute(f"SELECT * FROM {name} WHERE execution = ? ORDER BY {order}", (execution,))
        return [dict(row) for row in rows]


class Books:
    """One execution as our tables tell it."""

    def __init__(self, path: Path, account: str) -> None:
        self.path = path
        ((self.execution,),) = rows_of(path, "SELECT execution FROM executions WHERE account = ?", (account,))
        self.fills = table(path, "fills", self.execution, "id")
        self.trades = table(path, "trades", self.execution, "rowid")
        self.orders = table(path, "orders", self.execution, "rowid")
        self.signals = table(path, "signals", self.execution, "rowid")
        self.events = table(path, "strategy_events", self.execution, "rowid")

    def checkpoint(self, owner: str) -> dict[str, Any]:
        """What a strategy last saved."""
        saved = rows_of(
            self.path,
            "SELECT state FROM checkpoints WHERE execution = ? AND owner = ? ORDER BY id DESC LIMIT 1",
            (self.execution, owner),
        )
        state: dict[str, Any] = msgspec.msgpack.decode(saved[0][0])
        return state

    def sum(self, *columns: str) -> Fraction:
        """The sum of columns over all trades."""
        return sum((Fraction(trade[column]) for trade in self.trades for column in columns), ZERO)

    def values_by_order(self) -> dict[str, list[Fraction]]:
        """For each trade what its orders' fills come to: units and money in, units and money out."""
        of_order = {order["client_order_id"]: order for order in self.orders}
        found: dict[str, list[Fraction]] = {trade["trade_id"]: [ZERO] * 4 for trade in self.trades}
        for fill in self.fills:
            order = of_order[fill["client_order_id"]]
            at = 0 if order["purpose"] == "entry" else 2
            figures = found[order["trade_id"]]
            figures[at] += Fraction(fill["quantity"])
            figures[at + 1] += Fraction(fill["quantity"]) * Fraction(fill["price"])
        return found

    def journal_numbers(self) -> list[int]:
        """The numbers in the journal, in order."""
        rows = rows_of(
            self.path, "SELECT sequence FROM journal WHERE execution = ? ORDER BY sequence", (self.execution,)
        )
        return [number for (number,) in rows]


OWN_ID = re.compile(r"\b(?:[a-z]{2})?[a-z2-7]{26}\b")
"""What a run draws for itself (its execution's id), and what is hashed from that."""


def without_ids(books: Books, name: str) -> list[dict[str, Any]]:
    """Rows of a table, with every id that a run draws for itself replaced by the order of its first appearance.

    Row numbers are left out: accounts that run at the same time share a table.
    """
    known: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        return known.setdefault(found[0], f"id-{len(known)}")

    def plain(value: Any) -> Any:
        return OWN_ID.sub(numbered, value) if isinstance(value, str) else value

    return [{key: plain(value) for key, value in row.items() if key != "id"} for row in getattr(books, name)]
