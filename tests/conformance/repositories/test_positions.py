"""Positions are their fills, folded when somebody asks: whatever was added, corrected or removed shows at once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from msgspec import structs

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import DAY_NS, EXTREME_TEXTS, SECOND, START_NS, Factory
from tests.unit.storage import samples
from tradekeel.domain import records as r
from tradekeel.domain.messages import Fill
from tradekeel.domain.orders import Side
from tradekeel.domain.positions import Position, Quote
from tradekeel.domain.rows import Mode
from tradekeel.errors import InputError
from tradekeel.ports.repositories import Period, PositionRepository
from tradekeel.storage.repositories import (
    Database,
    SqlExecutionRepository,
    SqlFillRepository,
    SqlOrderRepository,
    SqlPositionRepository,
)
from tradekeel.storage.store import Store

D = Decimal


@pytest.fixture
def positions(database: Database) -> PositionRepository:
    return SqlPositionRepository(database)


@pytest.fixture
async def many(database: Database, manual: Factory) -> list[Fill]:
    """Two hundred fills of one account at two venues, some of them of hedged positions."""
    made = [manual.fill(position_ref=(None, None, "p1", "p2")[n % 4]) for n in range(200)]
    await SqlFillRepository(database).append_fills(manual.execution, made)
    return made


def net(fills: list[Fill]) -> Decimal:
    return sum((fill.quantity * fill.side.sign for fill in fills), D(0))


def groups(fills: list[Fill]) -> dict[tuple[str, str | None], list[Fill]]:
    found: dict[tuple[str, str | None], list[Fill]] = {}
    for fill in fills:
        found.setdefault((fill.instrument, fill.position_ref), []).append(fill)
    return found


def cost(fills: list[Fill]) -> Fraction:
    """What is laid out, with fractions and without a rounding: averages released as anybody would."""
    quantity, paid = Fraction(0), Fraction(0)
    for fill in fills:
        signed, price = Fraction(fill.quantity) * fill.side.sign, Fraction(fill.price)
        if quantity and (quantity > 0) != (signed > 0):
            closing = min(abs(signed), abs(quantity))
            paid -= paid * closing / abs(quantity)
            rest = abs(signed) - closing
            quantity += signed
            if rest:
                paid = (1 if signed > 0 else -1) * rest * price
        else:
            quantity += signed
            paid += signed * price
    return paid


async def test_every_position_is_the_sum_of_its_fills(positions, many, manual):
    every = await positions.get_all_positions()
    wanted = groups(many)
    assert [(p.instrument, p.position.ref) for p in every] == sorted(wanted, key=lambda key: (key[0], key[1] or ""))
    for held in every:
        fills = wanted[held.instrument, held.position.ref]
        assert (held.account, held.quantity) == (manual.account, net(fills))
        assert held.last_fill_ns == max(fill.ts_ns for fill in fills)
        assert abs(Fraction(held.position.cost) - cost(fills)) < Fraction(1, 10**9)
    assert await positions.get_open_positions() == [held for held in every if held.quantity]
    assert await positions.get_open_positions("nobody") == []
    one = every[0]
    assert await positions.get_position(one.account, one.instrument, one.position.ref) == one
    assert await positions.get_position(one.account, "X_Y") is None
    assert await positions.count_positions() == len([held for held in every if held.quantity])


async def test_what_is_flat_was_a_position_and_is_none(positions, manual, database):
    fills = SqlFillRepository(database)
    buy = manual.fill(instrument="EUR_USD", side=Side.BUY, quantity=D(3), price=D("1.1"))
    await fills.append_fill(manual.execution, buy)
    await fills.append_fill(manual.execution, structs.replace(buy, fill_id="f2", side=Side.SELL, price=D("1.2")))
    [flat] = await positions.get_all_positions()
    assert flat.position == Position("EUR_USD")
    assert await positions.get_open_positions() == []
    assert (await positions.get_summary()).count == 0


async def test_what_is_corrected_shows_at_once(positions, many, manual, database):
    assert await SqlFillRepository(database).delete_fills("oanda", "EUR_USD") > 0
    left = [f for f in many if (f.venue, f.instrument) != ("oanda", "EUR_USD")]
    by_symbol = await positions.get_net_by_symbol()
    assert by_symbol["EUR_USD"].quantity == net([f for f in left if f.instrument == "EUR_USD"])


@pytest.mark.parametrize("at", [0, 1, 50, 200])
async def test_what_was_held_at_a_time(positions, many, at):
    found = await positions.get_positions_at(START_NS + (at + 1) * SECOND)
    wanted = {key: net(fills) for key, fills in groups(many[:at]).items() if net(fills)}
    assert {(p.instrument, p.position.ref): p.quantity for p in found} == wanted


async def test_nets_over_positions_accounts_and_venues(positions, many, manual, database):
    row = await SqlExecutionRepository(database).create_execution("other")
    other = [Factory(row.execution, "other", seed=3).fill() for _ in range(1)]
    await SqlFillRepository(database).append_fills(row.execution, other)
    every = many + other
    symbols = sorted({fill.instrument for fill in every})
    wanted = {s: net([f for f in every if f.instrument == s]) for s in symbols}
    assert {s: n.quantity for s, n in (await positions.get_net_by_symbol()).items()} == {
        s: q for s, q in wanted.items() if q
    }
    across = await positions.get_net_across_venues()
    for symbol, found in across.items():
        assert found.quantity == wanted[symbol] == sum(found.by_venue.values())
        for venue, quantity in found.by_venue.items():
            assert quantity == net([f for f in every if (f.instrument, f.venue) == (symbol, venue)])
    only = await positions.get_net_by_symbol("other")
    assert {s: n.quantity for s, n in only.items()} == {other[0].instrument: net(other)}


class Counting(Database):
    """Counts what is asked."""

    reads = 0

    async def read(self, *words: Any, **more: Any) -> Any:
        self.reads += 1
        return await super().read(*words, **more)


async def test_what_is_held_at_each_venue_is_of_one_moment_and_within_one_deadline(many, backend):
    async with Counting(backend, now_ns=ManualClock()) as books:
        assert await SqlPositionRepository(books).get_net_across_venues()
        assert books.reads == 1


async def test_positions_of_a_strategy_are_those_of_its_orders(positions, manual, database):
    orders, made = SqlOrderRepository(database), []
    for strategy in ("floor", "trend", "floor"):
        order = await orders.create_order(manual.order(strategy, instrument="EUR_USD"))
        made.append((strategy, manual.fill_of(order)))
        await orders.record_fill(made[-1][1])
    await SqlFillRepository(database).append_fill(manual.execution, manual.fill())  # somebody else's
    [found] = await positions.get_positions_by_strategy("trend")
    assert found.quantity == net([fill for strategy, fill in made if strategy == "trend"])
    assert await positions.get_positions_by_strategy("nobody") == []


async def test_values_and_exposure_are_exact(positions, manual, database):
    fills = SqlFillRepository(database)
    for instrument, side, quantity, price in (
        ("EUR_USD", Side.BUY, D(1000), D("1.10")),
        ("GBP_USD", Side.SELL, D(500), D("1.30")),
        ("USD_JPY", Side.BUY, D(200), D("150.5")),
    ):
        await fills.append_fill(
            manual.execution, manual.fill(instrument=instrument, side=side, quantity=quantity, price=price)
        )
    prices = {"EUR_USD": Quote(D("1.12"), D("1.13")), "GBP_USD": Quote(D("1.31"), D("1.32"))}
    valued = {v.held.instrument: (v.mark, v.unrealised) for v in await positions.get_unrealised(prices)}
    assert valued == {
        "EUR_USD": (D("1.12"), D(20)),
        "GBP_USD": (D("1.32"), D(-10)),
        "USD_JPY": (None, None),
    }
    exposure = await positions.get_exposure(prices)
    assert exposure.gross == {"USD": D(1780), "JPY": D(30100)}
    assert exposure.net == {"USD": D(460), "JPY": D(30100)}
    assert exposure.by_currency == {"EUR": D(1000), "GBP": D(-500), "USD": D(-260), "JPY": D(-30100)}
    summary = await positions.get_summary(manual.account)
    assert (summary.count, summary.long, summary.short) == (3, 2, 1)
    assert (summary.accounts, summary.instruments) == ((manual.account,), ("EUR_USD", "GBP_USD", "USD_JPY"))
    ways = {c.held.instrument: (c.side, c.quantity) for c in await positions.get_close_out()}
    assert ways == {"EUR_USD": (Side.SELL, 1000), "GBP_USD": (Side.BUY, 500), "USD_JPY": (Side.SELL, 200)}


async def test_what_was_realised_in_each_period(positions, manual, database):
    made = [
        manual.fill(ts_ns=START_NS + n * DAY_NS // 4, realised=D(n), fee=D("0.5") if n % 2 else D("-0.1"))
        for n in range(200)
    ]
    await SqlFillRepository(database).append_fills(manual.execution, made)
    for period, length in ((Period.DAY, 10), ("month", 7), ("hour", 13)):
        found = await positions.get_realised(period)
        assert list(found) == sorted(found)
        assert {len(name) for name in found} == {length}
        assert sum(one.realised for one in found.values()) == sum(range(200))
        assert sum(one.fees for one in found.values()) == D(40)
        assert sum(one.fills for one in found.values()) == 200
    [(name, day)] = (await positions.get_realised(since_ns=START_NS, until_ns=START_NS + 1)).items()
    assert (name, day.net, day.fills) == ("2023-11-14", D("0.1"), 1)
    with pytest.raises(InputError, match="hour, day, month"):
        await positions.get_realised("year")


async def test_notes_are_attached_replaced_and_removed(positions, manual, database):
    await SqlFillRepository(database).append_fill(manual.execution, manual.fill(instrument="EUR_USD", position_ref="p"))
    note = await positions.annotate(manual.account, "EUR_USD", "p", note=EXTREME_TEXTS[3], tag="watch", owner="anna")
    await positions.annotate(manual.account, "USD_JPY", tag="nothing is held of it")
    [held] = await positions.get_open_positions()
    assert held.note == note
    await positions.annotate(manual.account, "EUR_USD", "p", tag="only this")
    [held] = await positions.get_open_positions()
    assert held.note is not None
    assert (held.note.note, held.note.tag, held.note.owner) == ("", "only this", "")
    await positions.annotate(manual.account, "EUR_USD", "p")
    [held] = await positions.get_open_positions()
    assert held.note is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"note": "\0"}, "note .* zero character"),
        ({"tag": "\0"}, "tag .* zero character"),
        ({"instrument": "\0"}, "instrument .* zero character"),
        ({"note": "\ud800"}, "surrogates not allowed"),
        ({"ref": "é" * 1_400}, "the ids and names of a row of .* have 2,?8.. bytes"),
        ({"account": "".join(map(chr, range(0x4E00, 0x5200)))}, "the ids and names of a row of .* have 3,?0.. bytes"),
    ],
    ids=["note", "tag", "instrument", "half a character", "a long ref", "a long account"],
)
async def test_what_not_every_database_keeps_is_refused_as_a_note_of_a_position(positions, manual, words, said):
    await positions.annotate(manual.account, "EUR_USD", "p", note="as it was")
    with pytest.raises(InputError, match=f"position_notes: a value cannot be stored: .*{said}"):
        await positions.annotate(**{"account": manual.account, "instrument": "EUR_USD", "note": "n", **words})
    long = "x" * 2_500
    assert (await positions.annotate(manual.account, "EUR_USD", long, note="n" * 100_000)).note == "n" * 100_000


# --- a daemon's account ----------------------------------------------------------------------------------------------


def run(name: str, number: int, fill: Fill, reason: str | None, opening: r.Opening | None = None) -> list[Any]:
    """An execution with one fill, closed if there is a reason."""
    row = samples.execution(name, number)
    if reason is not None:
        row = structs.replace(row, status="closed", closed_ns=samples.START_NS, close_reason=reason)
    return [r.Group(execution=name, records=(r.ExecutionStarted(ts_ns=1, row=row, opening=opening),), rows=(row, fill))]


@pytest.mark.parametrize(
    ("reasons", "quantity"),
    [
        (("the feed has ended", None), 11 + 7 + 1_000),
        (("started fresh", None), 7),
        (("started fresh", "the feed has ended"), 7),
        (("the feed has ended", "started fresh"), None),
        (("wiped", None), 7 + 2_000),
    ],
    ids=str,
)
async def test_a_daemons_positions_are_all_fills_since_the_account_began_afresh(backend, reasons, quantity):
    """The first run took over 1,000, and the second one's own opening counts only where the first one's history is gone."""
    first = r.Opening(cursor=0, balance=D(0), positions=(Position("EUR_USD", D(1_000), D(1_100)),), trades=())
    second = structs.replace(first, positions=(Position("EUR_USD", D(2_000), D(2_200)),))
    fresh = reasons[0] == "started fresh"
    with Store.open(backend, now_ns=START_NS) as store:
        store.commit(run("one", 1, samples.fill(1, quantity=D(11)), reasons[0], first))
        store.commit(run("two", 2, samples.fill(2, quantity=D(7)), reasons[1], None if fresh else second))
        backtest = structs.replace(samples.execution("test", 3), mode=Mode.BACKTEST)
        started = r.ExecutionStarted(ts_ns=1, row=backtest)
        store.commit([r.Group(execution="test", records=(started,), rows=(backtest, samples.fill(3)))])
    async with Database(backend, now_ns=ManualClock()) as books:
        positions = SqlPositionRepository(books)
        held = await positions.get_open_positions("paper-1")
        assert [one.quantity for one in held] == ([] if quantity is None else [quantity])
        assert {n.quantity for n in (await positions.get_net_across_venues()).values()} == (
            set() if quantity is None else {quantity}
        )
        [backtested] = await positions.get_open_positions(execution="test")
        assert backtested.quantity == 1_000
        [of_two] = await positions.get_open_positions(execution="two")
        assert of_two.quantity == (7 if fresh else 2_007)
