"""Every unit of every fill belongs to exactly one trade."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.make import order, trade
from tradekeel.domain.allocation import Allotment, allocate
from tradekeel.domain.messages import Fill, Liquidity
from tradekeel.domain.orders import Order, Purpose, Side
from tradekeel.domain.trades import Trade, TradeSide, TradeStatus

D = Decimal


def fill(quantity: int | Decimal, side: Side = Side.SELL, fee: str = "0", ref: str | None = None) -> Fill:
    return Fill(
        fill_id="9",
        account="paper-1",
        venue="paper",
        instrument="EUR_USD",
        side=side,
        quantity=D(quantity),
        price=D("1.1"),
        fee=D(fee),
        realised=D(0),
        rate=D(1),
        liquidity=Liquidity.TAKER,
        ts_ns=5,
        venue_order_id="v9",
        client_order_id=None,
        venue_sequence=9,
        position_ref=ref,
    )


def held(trade_id: str, quantity: int, side: TradeSide = TradeSide.LONG, **more: str) -> Trade:
    return trade(trade_id=trade_id, side=side, status=TradeStatus.OPEN, entered_quantity=D(quantity), **more)


def parts(allotment: Allotment) -> list[tuple[str, int, bool]]:
    return [(p.trade_id, int(p.quantity), p.opens) for p in allotment.parts]


def allot(fill: Fill, order: Order | None, trades: list[Trade], execution: str, currency: str) -> Allotment:
    """Among these open trades, oldest first."""
    named = next((trade for trade in trades if order is not None and trade.trade_id == order.trade_id), None)
    return allocate(fill, order, named, trades, execution, currency)


def exit_for(trade_id: str) -> Order:
    return order(purpose=Purpose.EXIT, side=Side.SELL, trade_id=trade_id)


def test_an_entrys_fill_opens_its_own_trade_whole() -> None:
    found = allot(fill(700, Side.BUY, "0.7"), order(trade_id="t1"), [held("t0", 500, TradeSide.SHORT)], "e", "USD")

    assert parts(found) == [("t1", 700, True)]
    assert found.parts[0].fee == D("0.7")
    assert found.adopted is None


def test_an_exits_fill_closes_the_trade_it_was_for_whatever_is_older() -> None:
    found = allot(fill(400), exit_for("t2"), [held("t1", 1000), held("t2", 1000)], "e", "USD")

    assert parts(found) == [("t2", 400, False)]


def test_what_is_left_of_it_closes_the_others_first_in_first_out() -> None:
    trades = [held("t1", 300), held("t2", 200), held("t3", 900)]

    assert parts(allot(fill(700), exit_for("t2"), trades, "e", "USD")) == [
        ("t2", 200, False),
        ("t1", 300, False),
        ("t3", 200, False),
    ]


def test_trades_in_the_fills_own_direction_flat_ones_and_other_instruments_are_passed_over() -> None:
    trades = [held("t1", 500, TradeSide.SHORT), held("t2", 0), held("t3", 500, symbol="GBP_USD"), held("t4", 500)]

    assert parts(allot(fill(500), None, trades, "e", "USD")) == [("t4", 500, False)]


def turning(quantity: int, *closes: Trade) -> tuple[Order, Trade, list[Trade]]:
    """An entry that sells: closes these trades, and opens one of its own with the rest."""
    opened = quantity - sum(int(t.open_quantity) for t in closes)
    own = trade(trade_id="t9", side=TradeSide.SHORT, quantity=D(opened))
    ids = tuple(t.trade_id for t in closes)
    return order(trade_id="t9", side=Side.SELL, quantity=D(quantity), closes=ids), own, list(closes)


def test_an_entry_that_turns_closes_first_and_opens_with_the_rest() -> None:
    entry, own, closes = turning(1500, held("t1", 300), held("t2", 200))

    found = allocate(fill(700, fee="0.10"), entry, own, [held("t0", 50), *closes], "e", "USD", closes)

    assert parts(found) == [("t1", 300, False), ("t2", 200, False), ("t9", 200, True)]
    assert [p.fee for p in found.parts] == [D("0.0428"), D("0.0285"), D("0.0287")]
    assert sum(p.fee for p in found.parts) == D("0.10"), "the last part takes the remainder"
    assert found.adopted is None


def test_its_own_trade_never_gets_more_than_was_asked_for() -> None:
    """Somebody else closed one of the trades: what is too much closes others, and is adopted where there are none."""
    entry, own, (_, second) = turning(1500, held("t1", 300), held("t2", 200))

    found = allocate(fill(1500), entry, own, [held("t0", 50), second], "e", "USD", [second])

    assert found.adopted is not None
    assert parts(found) == [
        ("t2", 200, False),
        ("t9", 1000, True),
        ("t0", 50, False),
        (found.adopted.trade_id, 250, True),
    ]


def test_units_that_belong_to_no_trade_are_adopted() -> None:
    found = allot(fill(800), None, [held("t1", 300)], "e", "USD")

    assert found.adopted is not None
    assert parts(found) == [("t1", 300, False), (found.adopted.trade_id, 500, True)]
    adopted = found.adopted
    assert (adopted.side, adopted.status, adopted.quantity, adopted.strategy) == (
        TradeSide.SHORT,
        TradeStatus.PENDING,
        D(500),
        None,
    )
    assert adopted.entry_order_id == "venue:v9"


def test_an_adopted_trade_has_the_same_id_in_every_process_and_its_own_in_every_execution() -> None:
    one, same, other = (allot(fill(1), None, [], run, "USD").adopted for run in ("e", "e", "f"))

    assert one is not None
    assert same is not None
    assert other is not None
    assert one.trade_id == same.trade_id != other.trade_id


def test_on_a_hedging_account_only_trades_of_the_fills_position_are_closed() -> None:
    trades = [held("t1", 300, position_ref="p1"), held("t2", 300, position_ref="p2")]

    found = allot(fill(400, ref="p2"), None, trades, "e", "USD")

    assert parts(found)[0] == ("t2", 300, False)
    assert found.adopted is not None
    assert found.adopted.position_ref == "p2"


def test_a_denied_order_brought_no_trade_so_its_fill_is_the_venues() -> None:
    found = allot(fill(100, Side.BUY), order(trade_id=None), [], "e", "USD")

    assert found.adopted is not None


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=6),
    st.integers(1, 3000),
    st.integers(0, 99_999),
    st.integers(0, 6),
)
def test_parts_and_fees_always_sum_to_the_fill(
    sizes: list[tuple[int, bool]], quantity: int, fee: int, wanted: int
) -> None:
    trades = [held(f"t{n}", size, TradeSide.LONG if long else TradeSide.SHORT) for n, (size, long) in enumerate(sizes)]
    charged = D(fee).scaleb(-4)

    found = allot(structs.replace(fill(quantity), fee=charged), exit_for(f"t{wanted}"), trades, "e", "USD")

    assert sum(part.quantity for part in found.parts) == quantity
    assert sum(part.fee for part in found.parts) == charged
    assert len({part.trade_id for part in found.parts}) == len(found.parts)
    sizes_by_id = {t.trade_id: t.open_quantity for t in trades}
    assert all(part.quantity <= sizes_by_id[part.trade_id] for part in found.parts if not part.opens)
