"""Signals: what was wanted comes back whole, and what became of it is said once."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest
from msgspec import structs

from tests.conformance.cases import in_the_same_books
from tests.conformance.repositories.factories import EXTREME_AMOUNTS, EXTREME_TEXTS, SECOND, START_NS, Factory, executed
from tradekeel.domain.messages import Signal, SignalStatus
from tradekeel.errors import AlreadyExists, IllegalTransition, InputError, NotFound
from tradekeel.ports.repositories import SignalRepository
from tradekeel.storage.repositories import Database, SqlSignalRepository


@pytest.fixture
def signals(database: Database) -> SignalRepository:
    return SqlSignalRepository(database)


@pytest.fixture
async def many(signals: SignalRepository, manual: Factory) -> list[Signal]:
    """Thirty signals of every status, newest first."""
    statuses = list(SignalStatus)
    made = [
        structs.replace(
            manual.signal(("floor", "trend")[n % 2]),
            execution_status=statuses[n % 5],
            executed=statuses[n % 5] is SignalStatus.EXECUTED,
        )
        for n in range(30)
    ]
    assert await signals.save_signals(made) == 30
    return made[::-1]


async def test_a_signal_is_not_executed_by_default_and_every_field_comes_back(signals, manual):
    signal = manual.signal()
    assert await signals.save_signal(signal) == signal
    found = await signals.get_signal_by_id(signal.signal_id)
    assert found == signal
    assert (found.executed, found.execution_status) == (False, SignalStatus.PENDING)
    already = executed(manual.signal())
    assert await signals.save_signal(already) == already
    assert await signals.get_signal_by_id("sg-nobody") is None


@in_the_same_books("number", range(len(EXTREME_AMOUNTS)))
async def test_extremes_come_back_exactly(signals, manual, number):
    amounts, texts = EXTREME_AMOUNTS[number:] + EXTREME_AMOUNTS, EXTREME_TEXTS[number:] + EXTREME_TEXTS
    signal = manual.signal(
        confidence=amounts[0],
        entry_price=amounts[1],
        stop_loss=amounts[2],
        take_profit=None,
        symbol=texts[0],
        timeframe=texts[1],
        session=texts[2],
        pattern_type=None,
        status_reason=texts[3],
        rl_state_key=texts[4],
        trade_id=texts[5],
    )
    await signals.save_signal(signal)
    assert await signals.get_signal_by_id(signal.signal_id) == signal


@in_the_same_books(
    ("changes", "error"),
    [
        ({"execution": "nowhere"}, NotFound),
        ({"strategy": "nobody"}, InputError),
        ({"executed": True}, InputError),
        ({"confidence": 0.5}, InputError),
        ({"side": "up"}, InputError),
        ({"signal_id": ""}, InputError),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_written(signals, manual, changes, error):
    with pytest.raises(error):
        await signals.save_signals([manual.signal(), structs.replace(manual.signal(), **changes)])
    assert await signals.count_signals() == 0


async def test_an_id_twice_is_refused(signals, manual):
    signal = await signals.save_signal(manual.signal())
    with pytest.raises(AlreadyExists, match=signal.signal_id):
        await signals.save_signal(signal)


@in_the_same_books(("before", "after"), product(list(SignalStatus), list(SignalStatus)))
async def test_what_became_of_a_signal_is_said_once(signals, manual, before, after):
    made = structs.replace(
        manual.signal(), execution_status=before, executed=before is SignalStatus.EXECUTED, status_reason="old"
    )
    await signals.save_signal(made)
    if before in (SignalStatus.PENDING, SignalStatus.ORDERED) or before is after:
        found = await signals.update_signal_execution(made.signal_id, after.value, trade_id="tr-1", reason="why")
        assert (found.execution_status, found.executed) == (after, after is SignalStatus.EXECUTED)
        assert (found.trade_id, found.status_reason) == ("tr-1", "why")
        assert found == await signals.get_signal_by_id(made.signal_id)
    else:
        with pytest.raises(IllegalTransition):
            await signals.update_signal_execution(made.signal_id, after)


async def test_an_update_changes_what_it_names_and_nothing_else(signals, manual):
    signal = await signals.save_signal(manual.signal())
    found = await signals.update_signal(signal.signal_id, {"session": "TOKYO", "stop_loss": "0.5"})
    assert found == structs.replace(signal, session="TOKYO", stop_loss=Decimal("0.5"))
    assert found == await signals.get_signal_by_id(signal.signal_id)
    for changes in ({"nonsense": 1}, {"executed": True}, {"signal_id": "x"}, {"stop_loss": 0.5}):
        with pytest.raises(InputError):
            await signals.update_signal(signal.signal_id, changes)
    with pytest.raises(NotFound):
        await signals.update_signal("sg-nobody", {"session": "TOKYO"})
    with pytest.raises(NotFound):
        await signals.update_signal_execution("sg-nobody", "executed")


@pytest.mark.parametrize(
    ("words", "keeps"),
    [
        ({}, lambda s: True),
        ({"symbol": "EUR_USD"}, lambda s: s.symbol == "EUR_USD"),
        ({"strategy": "trend"}, lambda s: s.strategy == "trend"),
        ({"status": "denied"}, lambda s: s.execution_status is SignalStatus.DENIED),
        ({"status": ("denied", "failed")}, lambda s: s.execution_status in ("denied", "failed")),
        (
            {"session": "LONDON", "pattern_type": "breakout"},
            lambda s: (s.session, s.pattern_type) == ("LONDON", "breakout"),
        ),
        ({"account": "nobody"}, lambda s: False),
        (
            {"since_ns": START_NS + 5 * SECOND, "until_ns": START_NS + 9 * SECOND},
            lambda s: START_NS + 5 * SECOND <= s.generated_at_ns < START_NS + 9 * SECOND,
        ),
    ],
    ids=str,
)
async def test_filters_narrow_and_the_newest_comes_first(signals, many, words, keeps):
    wanted = [signal for signal in many if keeps(signal)]
    assert list(await signals.get_recent_signals(**words)) == wanted
    assert await signals.count_signals(**words) == len(wanted)


async def test_named_questions(signals, many):
    assert list(await signals.get_signals_by_status("pending")) == [s for s in many if s.execution_status == "pending"]
    assert list(await signals.get_signals_by_symbol("USD_JPY")) == [s for s in many if s.symbol == "USD_JPY"]
    with pytest.raises(InputError, match="pending, denied"):
        await signals.get_signals_by_status("lost")


@pytest.mark.parametrize(
    "sort", ["generated_at_ns", "symbol", "strategy", "execution_status", "confidence", "signal_id"]
)
async def test_pages_give_every_row_once_in_order(signals, many, sort):
    wanted = sorted(many, key=lambda s: (getattr(s, sort), s.signal_id))
    seen, page = [], await signals.get_recent_signals(sort=sort, descending=False, limit=4)
    while True:
        seen += list(page)
        if page.next_cursor is None:
            break
        page = await signals.get_recent_signals(sort=sort, descending=False, limit=4, cursor=page.next_cursor)
    assert seen == wanted
