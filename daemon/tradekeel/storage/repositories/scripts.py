"""What the trade store of a script makes by itself: its execution, its strategies, and whole trades of a few words."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import structs

from tradekeel.domain.ids import derived_id
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.rows import ExecutionRow, Mode, StrategyRow, StrategyStatus
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.errors import InputError
from tradekeel.storage import tables
from tradekeel.storage.fitting import refuse_float
from tradekeel.storage.repositories.change import Change
from tradekeel.storage.repositories.executions import MANUAL_VENUE, begin_manual

_OURS = ("execution", "account", "version", "updated_ns")


async def scripts_execution(change: Change, account: str, currency: str) -> str:
    """The account's execution that goes on, begun where there is none; nobody else writes there until the transaction ends."""
    await change.hold(account)
    runs = tables.executions.c
    found = await change.find(ExecutionRow, runs.account == account, runs.mode == Mode.MANUAL, runs.status == "running")
    if found:
        return max(found, key=lambda row: row.number).execution
    return (await begin_manual(change, account, None, MANUAL_VENUE, currency, Decimal(0))).execution


async def strategy_known(change: Change, execution: str, strategy: str, symbol: str) -> None:
    """Make a strategy known where it is not."""
    rows = tables.strategies.c
    if await change.find(StrategyRow, rows.execution == execution, rows.strategy == strategy):
        return
    row = StrategyRow(
        execution=execution,
        strategy=strategy,
        kind="script",
        status=StrategyStatus.ACTIVE,
        instruments=(symbol,),
        parameters={},
        updated_ns=change.now_ns,
    )
    await change.add(execution, [row], steers="a strategy")


def made_trade(
    given: dict[str, Any], entry_price: object, execution: str, account: str, number: int | str, now_ns: int
) -> Trade:
    """A trade of the fields that somebody named. InputError for those that there are not, and what they cannot hold.

    ``number`` tells it apart from all others of the execution.
    """
    words = {name: value for name, value in given.items() if name not in _OURS}
    unknown = [name for name in words if name not in Trade.__struct_fields__]
    if unknown:
        raise InputError(f"a trade has no field {unknown[0]!r}; it has {', '.join(Trade.__struct_fields__)}")
    for name, value in {**words, "entry_price": entry_price}.items():
        refuse_float(name, value)
    if entry_price is not None:
        words |= _entered(words, entry_price, now_ns)
    if isinstance(words.get("side"), str):
        words["side"] = str(words["side"]).upper()
    words.setdefault("trade_id", derived_id("tr", execution, number))
    words.setdefault("entry_order_id", derived_id("tk", execution, number))
    words.setdefault("signal_id", None)
    words.setdefault("strategy", None)
    words.setdefault("venue", MANUAL_VENUE)
    words.setdefault("created_ns", now_ns)
    words.setdefault("initial_stop_loss", words.get("stop_loss"))
    try:
        made = msgspec.convert(words | {"execution": execution, "account": account}, Trade)
    except msgspec.ValidationError as error:
        raise InputError(f"this is no trade: {error}") from None
    return structs.replace(made, updated_ns=now_ns)


def _entered(words: dict[str, Any], entry_price: object, now_ns: int) -> dict[str, Any]:
    """What an entry at this price makes of the other words: of all that was asked for, unless they say how much was entered.

    A zero says nothing: a whole trade has one where nobody has named anything. InputError for no exact amounts, and for words
    that the price says already.
    """
    said = {name: value for name, value in words.items() if value != ZERO}
    for name in ("entry_value", "open_cost"):
        if name in said:
            raise InputError(f"entry_price says {name}, too: name one of them")
    quantity = said.get("entered_quantity", words.get("quantity"))
    try:
        price, entered = Decimal(entry_price), Decimal(quantity)  # type: ignore[arg-type]  # refused below
        with ledger():
            value = price * entered
            held = price * (entered - Decimal(words.get("exited_quantity", 0)))
    except (InvalidOperation, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(
            f"entry_price {entry_price!r} and quantity {quantity!r} are no exact amounts: {error}"
        ) from None
    return {
        "status": words.get("status", TradeStatus.OPEN),
        "entered_quantity": entered,
        "entry_value": value,
        "open_cost": held,
        "entry_time_ns": words.get("entry_time_ns", now_ns),
    }
