"""docs/strategies.md: its strategy runs, its configuration reads, its tables are those of the catalogue.

`python -m tests.unit.strategies.test_docs` writes the tables anew.
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT

from tests.unit.domain.executor_desk import ExecutorDesk, buy
from tests.unit.strategies.driver import D, Market, enters
from tradekeel.domain.effects import PlaceOrder
from tradekeel.strategies.base import HANDLERS, ORDER_ENDED
from tradekeel.strategies.registry import BUILT_IN, KindInfo, catalogue, load_strategy_class

PAGE = Path(__file__).parents[3] / "docs" / "strategies.md"
MARK = re.compile(r"<!-- parameters: (\w+) -->\n(?:\n\|[^\n]*(?:\n\|[^\n]*)*\n)?")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def table(info: KindInfo) -> str:
    rows = ["| parameter | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    for spec in info.parameters:
        unit = f" ({spec.unit})" if spec.unit else ""
        rows.append(
            f"| `{spec.name}` | {spec.type} | {shown(spec.default)} | {spec.allowed} | {spec.description}{unit} |"
        )
    return f"<!-- parameters: {info.kind} -->\n\n" + "\n".join(rows) + "\n"


def shown(value: Any) -> str:
    if value is NODEFAULT:
        return "must be given"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return f'`"{value}"`' if isinstance(value, str) else str(value)


def rewritten(text: str) -> str:
    tables = {info.kind: table(info) for info in catalogue()}
    return MARK.sub(lambda match: tables[match[1]], text)


def test_the_first_strategy_takes_thirty_lines_and_runs(tmp_path: Path):
    code, _ = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (tmp_path / "buy_the_dip.py").write_text(code)
    cls = load_strategy_class("buy_the_dip.py:BuyTheDip", tmp_path)
    m = Market(cls(cls.Params()))
    assert m.tick("1.1009", "1.1010") == []
    assert m.tick("1.1005", "1.1006") == []
    (enter,) = enters(m.tick("1.1004", "1.1005"))
    assert (enter.stop_loss, enter.take_profit) == (D("1.0995"), D("1.1015"))
    m.tick("1.1015", "1.1016")
    assert m.open == []


def test_the_entry_that_turns_sells_what_the_page_says():
    _, code = blocks("python")
    found: dict[str, Any] = {}
    exec(code, found)
    desk = ExecutorDesk()
    long = desk.open(buy(700))
    (ask,) = desk.decide(found["turn"]).requests
    assert isinstance(ask, PlaceOrder)
    assert (ask.request.quantity, ask.request.closes) == (D(1700), D(700))
    desk.fill(desk.order(ask.request.client_order_id))
    assert not desk.trade(long).is_open
    assert desk.book.net("EUR_USD") == -1000


def test_its_configuration_names_it():
    (text,) = blocks("toml")
    strategy = tomllib.loads(text)["strategies"]["dips"]
    assert strategy["kind"] == "buy_the_dip.py:BuyTheDip"
    assert strategy["params"] == {"pips": 5}


def test_the_tables_are_those_of_the_catalogue():
    text = PAGE.read_text(encoding="utf-8")
    assert set(MARK.findall(text)) == set(BUILT_IN)
    assert rewritten(text) == text, "run python -m tests.unit.strategies.test_docs"


@pytest.mark.parametrize("word", [*HANDLERS, "accepted", "unknown", *sorted(ORDER_ENDED)])
def test_every_handler_and_every_news_is_on_the_page(word: str):
    assert word in PAGE.read_text(encoding="utf-8")


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
