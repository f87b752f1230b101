"""Snapshots, parameters, cursors, events and the journal: added, found, and counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import EXTREME_AMOUNTS, EXTREME_TEXTS, SECOND, START_NS
from tests.unit.storage import samples
from tests.unit.storage.looking import tamper
from tradekeel.domain.rows import ParameterChange, PerformanceSnapshot, StrategyEvent
from tradekeel.errors import AlreadyExists, DaemonsOwn, InputError, NotFound, StoreCorrupt
from tradekeel.storage.repositories import (
    Database,
    SqlCursorRepository,
    SqlEventRepository,
    SqlParameterHistoryRepository,
    SqlPerformanceRepository,
)
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify


def snapshot(execution: str, number: int, **changes: Any) -> PerformanceSnapshot:
    row = PerformanceSnapshot(
        execution=execution,
        ts_ns=START_NS + number * SECOND,
        total_trades=number,
        winning_trades=number // 2,
        losing_trades=number // 3,
        win_rate=Decimal("0.5"),
        pnl=Decimal(number * 7 % 11) - 5,
        balance=Decimal(1000),
        equity=Decimal(1001),
        sharpe=None if number % 2 else Decimal("1.25"),
        max_drawdown=Decimal(number),
        average_risk_reward=None,
        session=("LONDON", "TOKYO", None)[number % 3],
        parameter_mode=("safe", None)[number % 2],
    )
    return structs.replace(row, **changes)


def change(execution: str, number: int, **changes: Any) -> ParameterChange:
    row = ParameterChange(
        execution=execution,
        ts_ns=START_NS + number * SECOND,
        strategy=("floor", None)[number % 2],
        name=("confidence_threshold", "max_layers")[number % 2],
        old=str(number),
        new=str(number + 1),
        parameter_mode="safe",
        session="LONDON",
        confidence_threshold=Decimal("0.7"),
        min_risk_reward=Decimal("1.5"),
        reason="because",
        changed_by=("system_auto", "learning_agent", "manual", "emergency")[number % 4],
    )
    return structs.replace(row, **changes)


async def test_snapshots_come_back_whole_newest_first_and_by_what_is_asked(database, manual):
    snapshots = SqlPerformanceRepository(database)
    assert await snapshots.get_latest_snapshot() is None
    made = [snapshot(manual.execution, n) for n in range(20)]
    made.append(snapshot(manual.execution, 30, pnl=EXTREME_AMOUNTS[0], session=EXTREME_TEXTS[4], win_rate=None))
    assert await snapshots.save_snapshot(made[0]) == made[0]
    assert await snapshots.save_snapshots(made[1:]) == 20
    newest = made[::-1]
    assert list(await snapshots.list_snapshots()) == newest
    assert await snapshots.get_latest_snapshot(account=manual.account) == newest[0]
    assert await snapshots.get_latest_snapshot(account="nobody") is None
    assert list(await snapshots.get_snapshots_by_session("TOKYO")) == [s for s in newest if s.session == "TOKYO"]
    assert list(await snapshots.list_snapshots(parameter_mode="safe", execution=manual.execution)) == [
        s for s in newest if s.parameter_mode == "safe"
    ]
    assert await snapshots.count_snapshots(since_ns=made[3].ts_ns, until_ns=made[5].ts_ns) == 2
    by_sharpe = await snapshots.list_snapshots(sort="sharpe")
    assert [s.ts_ns for s in by_sharpe] == [s.ts_ns for s in newest if s.sharpe is not None]
    page = await snapshots.list_snapshots(sort="pnl", descending=False, limit=8)
    rest = await snapshots.list_snapshots(sort="pnl", descending=False, limit=100, cursor=page.next_cursor)
    assert [*page, *rest] == sorted(made, key=lambda s: s.pnl)


async def test_snapshots_that_cannot_be_are_refused(database, manual):
    snapshots = SqlPerformanceRepository(database)
    with pytest.raises(InputError):
        await snapshots.save_snapshots([snapshot(manual.execution, 1), snapshot(manual.execution, 2, winning_trades=9)])
    with pytest.raises(NotFound):
        await snapshots.save_snapshot(snapshot("nowhere", 1))
    assert await snapshots.count_snapshots() == 0


async def test_changes_of_parameters_come_back_whole_newest_first_and_by_what_is_asked(database, manual):
    history = SqlParameterHistoryRepository(database)
    made = [change(manual.execution, n) for n in range(20)]
    made.append(change(manual.execution, 30, old=None, new=EXTREME_TEXTS[3], reason=EXTREME_TEXTS[5], session=None))
    assert await history.record_change(made[0]) == made[0]
    assert await history.record_changes(made[1:]) == 20
    newest = made[::-1]
    assert list(await history.list_changes()) == newest
    assert await history.get_latest_change("max_layers") == made[19]
    assert await history.get_latest_change("nothing") is None
    for name, word in (
        ("name", "max_layers"),
        ("strategy", "floor"),
        ("changed_by", "emergency"),
        ("session", "LONDON"),
    ):
        words: dict[str, Any] = {name: word}
        wanted = [c for c in newest if getattr(c, name) == word]
        assert list(await history.list_changes(**words)) == wanted
        assert await history.count_changes(**words, account=manual.account) == len(wanted)
    for broken in ({"changed_by": "nobody"}, {"name": ""}, {"confidence_threshold": 0.5}):
        with pytest.raises(InputError):
            await history.record_change(change(manual.execution, 1, **broken))


async def test_a_cursor_goes_forward_only(database, manual):
    cursors = SqlCursorRepository(database)
    assert await cursors.get_cursor(manual.execution, "oanda") is None
    first = await cursors.set_cursor(manual.execution, "oanda", 5)
    again = await cursors.set_cursor(manual.execution, "oanda", 5)
    last = await cursors.set_cursor(manual.execution, "oanda", 9)
    assert (first.sequence, again.sequence, last.sequence) == (5, 5, 9)
    assert await cursors.get_cursor(manual.execution, "oanda") == last
    with pytest.raises(InputError, match="9"):
        await cursors.set_cursor(manual.execution, "oanda", 8)
    with pytest.raises(InputError):
        await cursors.set_cursor(manual.execution, "binance", -1)
    with pytest.raises(NotFound):
        await cursors.set_cursor("nowhere", "oanda", 1)
    other = await cursors.set_cursor(manual.execution, "binance", 1)
    assert list(await cursors.list_cursors(account=manual.account)) == [other, last]
    assert list(await cursors.list_cursors(sort="sequence")) == [last, other]


async def test_events_are_numbered_and_found(database, manual):
    events = SqlEventRepository(database)
    made = [
        StrategyEvent(
            execution=manual.execution,
            strategy=("floor", "trend")[n % 2],
            sequence=n // 2 + 1,
            type=("opened", "closed")[n % 2],
            ts_ns=START_NS + n,
            data={"n": n, "text": EXTREME_TEXTS[n % 8], "list": [1, None]},
        )
        for n in range(12)
    ]
    for event in made:
        assert await events.append_event(event) == event
    with pytest.raises(AlreadyExists):
        await events.append_event(made[0])
    with pytest.raises(InputError):
        await events.append_event(structs.replace(made[0], strategy="nobody"))
    assert list(await events.list_events()) == made[::-1]
    assert list(await events.list_events(strategy="floor", type="opened", limit=2)) == made[10:7:-2]
    assert await events.get_events_since(manual.execution, "floor", 4) == [made[8], made[10]]
    assert await events.get_events_since(manual.execution, "floor", 0, limit=1) == [made[0]]
    times = {"since_ns": made[2].ts_ns, "until_ns": made[8].ts_ns}
    assert await events.get_events_since(manual.execution, "floor", 0, **times) == [made[2], made[4], made[6]]
    assert await events.get_events_since(manual.execution, "floor", 2, limit=1, **times) == [made[4]]
    assert await events.count_events(type="closed", account=manual.account) == 6


async def test_the_journal_is_read_from_a_number_on(database, manual, backend):
    events = SqlEventRepository(database)
    journal = await events.get_journal_since(manual.execution)
    assert [(entry.sequence, entry.type) for entry in journal] == [
        (1, "execution_started"),
        (2, "administered"),
        (3, "administered"),
    ]
    assert await events.get_journal_since(manual.execution, 1, 1) == journal[1:2]
    assert await events.get_journal_since(manual.execution, type="execution_started") == journal[:1]
    assert await events.get_journal_since(manual.execution, 3) == []
    assert await events.get_journal_since(manual.execution, since_ns=journal[1].ts_ns) == journal[1:]
    assert await events.get_journal_since(manual.execution, until_ns=journal[1].ts_ns) == journal[:1]
    since, until = journal[1].ts_ns, journal[2].ts_ns
    assert await events.get_journal_since(manual.execution, since_ns=since, until_ns=until) == journal[1:2]
    assert await events.get_journal_since(manual.execution, 2, since_ns=since, until_ns=until) == []
    with Store.open(backend, now_ns=START_NS) as store:
        assert [(e.sequence, e.record) for e in journal] == store.read_journal(manual.execution, 0, 10)
    with pytest.raises(InputError):
        await events.get_journal_since(manual.execution, 0, 0)


@pytest.fixture
async def daemons(backend) -> AsyncIterator[Database]:
    """An unfinished execution of a daemon, opened by a script."""
    with Store.open(backend, now_ns=START_NS) as store:
        desk = samples.Desk()
        store.commit([desk.opening(), desk.decision()])
    async with Database(backend, now_ns=ManualClock()) as opened:
        yield opened


async def test_figures_and_parameters_of_a_daemons_execution_may_be_noted_and_nothing_that_steers(daemons):
    await SqlPerformanceRepository(daemons).save_snapshot(snapshot(samples.RUN, 1))
    await SqlParameterHistoryRepository(daemons).record_change(change(samples.RUN, 1))
    with pytest.raises(DaemonsOwn):
        await SqlCursorRepository(daemons).set_cursor(samples.RUN, "paper", 99)
    event = StrategyEvent(execution=samples.RUN, strategy="floor", sequence=9, type="x", ts_ns=1, data={})
    with pytest.raises(DaemonsOwn):
        await SqlEventRepository(daemons).append_event(event)
    assert verify(daemons.backend).ok


async def test_a_damaged_record_is_not_read(daemons):
    if daemons.backend.name != "sqlite":
        return  # damage is made in the file
    tamper(daemons.backend, "UPDATE journal SET payload = x'00' WHERE sequence = 2")
    with pytest.raises(StoreCorrupt, match="record 2"):
        await SqlEventRepository(daemons).get_journal_since(samples.RUN)
