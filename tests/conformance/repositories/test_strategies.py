"""Strategies: added, changed, found and removed, and never from under what refers to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.conformance.repositories.factories import LONG_TEXTS, SECOND, START_NS
from tradekeel.domain.rows import StrategyStatus
from tradekeel.errors import AlreadyExists, InputError, NotFound
from tradekeel.ports.repositories import StrategyRepository
from tradekeel.storage.repositories import (
    Database,
    SqlExecutionRepository,
    SqlStrategyRepository,
    SqlTradeRepository,
)


@pytest.fixture
def strategies(database: Database) -> StrategyRepository:
    return SqlStrategyRepository(database)


async def test_every_field_comes_back(strategies, manual):
    made = manual.strategy(
        "Größe 漢字", parameters={text: [text, 2**63, 0.1, None] for text in LONG_TEXTS}, instruments=LONG_TEXTS
    )
    assert await strategies.create_strategy(made) == made
    assert await strategies.get_strategy_by_id(manual.execution, "Größe 漢字") == made
    assert await strategies.get_strategy_by_id(manual.execution, "nobody") is None
    assert await strategies.get_strategy_by_id("nowhere", "floor") is None


async def test_a_name_is_unique_within_its_execution_and_the_newest_execution_answers(strategies, manual, database):
    with pytest.raises(AlreadyExists, match="floor"):
        await strategies.create_strategy(manual.strategy("floor"))
    newer = await SqlExecutionRepository(database).create_execution(manual.account)
    again = await strategies.create_strategy(manual.strategy("floor", execution=newer.execution, kind="Newer"))
    other = await SqlExecutionRepository(database).create_execution("other")
    await strategies.create_strategy(manual.strategy("floor", execution=other.execution, kind="Other"))
    assert await strategies.get_strategy_by_name("floor", account=manual.account) == again
    assert (await strategies.get_strategy_by_name("floor")).kind == "Other"
    assert (await strategies.get_strategy_by_name("trend")).execution == manual.execution
    assert await strategies.get_strategy_by_name("nobody") is None


async def test_an_execution_that_there_is_not_takes_no_strategies(strategies, manual):
    with pytest.raises(NotFound, match="nowhere"):
        await strategies.create_strategy(manual.strategy(execution="nowhere"))


async def test_an_update_changes_what_it_names_and_nothing_else(strategies, manual):
    before = await strategies.get_strategy_by_id(manual.execution, "floor")
    after = await strategies.update_strategy(manual.execution, "floor", {"kind": "Other", "parameters": {"a": 1}})
    assert after == structs.replace(before, kind="Other", parameters={"a": 1}, updated_ns=after.updated_ns)
    assert after == await strategies.get_strategy_by_id(manual.execution, "floor")
    for changes in ({"nonsense": 1}, {"strategy": "x"}, {"decisions": 5}, {"parameters": None}):
        with pytest.raises(InputError):
            await strategies.update_strategy(manual.execution, "floor", changes)
    with pytest.raises(NotFound):
        await strategies.update_strategy(manual.execution, "nobody", {"kind": "x"})


@pytest.mark.parametrize("status", list(StrategyStatus))
async def test_a_status_is_changed_with_its_reason(strategies, manual, status):
    after = await strategies.update_strategy_status(manual.execution, "floor", status.value, "because")
    assert (after.status, after.status_reason) == (status, "because")
    with pytest.raises(InputError, match="draft, active"):
        await strategies.update_strategy_status(manual.execution, "floor", "sleeping")


async def test_one_that_nothing_refers_to_can_be_removed(strategies, manual, database):
    assert await strategies.delete_strategy(manual.execution, "trend")
    assert not await strategies.delete_strategy(manual.execution, "trend")
    assert await strategies.count_strategies() == 1
    await SqlTradeRepository(database).save_trade(manual.trade("floor"))
    with pytest.raises(InputError, match="trades"):
        await strategies.delete_strategy(manual.execution, "floor")
    assert await strategies.count_strategies() == 1
    await strategies.create_strategy(manual.strategy("trend"))


async def test_filters_narrow_and_the_last_changed_comes_first(strategies, manual):
    for number in range(20):
        await strategies.create_strategy(
            manual.strategy(
                kind=("A", "B")[number % 2],
                status=list(StrategyStatus)[number % 5],
                instruments=("EUR_USD", "A\"B'") if number % 3 else ("EUR",),
                updated_ns=START_NS + 100 * SECOND + number,
            )
        )
    every = list(await strategies.list_strategies())
    assert [s.updated_ns for s in every] == sorted((s.updated_ns for s in every), reverse=True)
    assert len(every) == await strategies.count_strategies() == 22
    questions: list[tuple[dict[str, Any], Callable[[Any], bool]]] = [
        ({"status": "paused"}, lambda s: s.status is StrategyStatus.PAUSED),
        ({"type": "A"}, lambda s: s.kind == "A"),
        ({"instrument": "A\"B'"}, lambda s: "A\"B'" in s.instruments),
        ({"instrument": "EUR"}, lambda s: "EUR" in s.instruments),
        ({"execution": manual.execution, "type": "B"}, lambda s: s.kind == "B"),
        ({"account": "nobody"}, lambda s: False),
        ({"account": manual.account}, lambda s: True),
    ]
    for words, keeps in questions:
        assert list(await strategies.list_strategies(**words)) == [s for s in every if keeps(s)], words
        assert await strategies.count_strategies(**words) == sum(map(keeps, every)), words
    since, until = START_NS + 100 * SECOND + 5, START_NS + 100 * SECOND + 9
    assert await strategies.count_strategies(since_ns=since, until_ns=until) == 4
    assert await strategies.count_strategies(type="A", since_ns=since) == len(
        await strategies.list_strategies(type="A", since_ns=since)
    )
    assert list(await strategies.get_strategies_by_type("A")) == [s for s in every if s.kind == "A"]
    assert list(await strategies.get_strategies_by_status("failed")) == [s for s in every if s.status == "failed"]


async def test_pages_give_every_one_once(strategies, manual):
    for _ in range(10):
        await strategies.create_strategy(manual.strategy())
    seen, page = [], await strategies.list_strategies(sort="strategy", descending=False, limit=5)
    while True:
        seen += [s.strategy for s in page]
        if page.next_cursor is None:
            break
        page = await strategies.list_strategies(sort="strategy", descending=False, limit=5, cursor=page.next_cursor)
    assert seen == sorted(seen)
    assert len(set(seen)) == 12
