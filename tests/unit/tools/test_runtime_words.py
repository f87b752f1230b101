"""The runtime knows nothing about trading: no trading word appears in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[3] / "daemon" / "tradekeel" / "runtime"

# Words that mean trading and nothing else. "order", "signal", "position" and "strategy" are left out: children start
# in order, processes get signals, a supervisor has a position for each child and a restart strategy.
TRADING = re.compile(
    r"(?<![a-z])(trad(e|es|er|ers|ing)|ticks?|venues?|brokers?|exchanges?|fills?|pnl|prices?|quotes?|instruments?|"
    r"portfolios?|money|currenc(y|ies)|pips?|strategists?|executor|leverage|margins?|candles?)(?![a-z])"
)


@pytest.mark.parametrize("module", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.stem)
def test_no_trading_word_appears(module: Path) -> None:
    found = [
        f"{module.name}:{number}: {match[0]!r}"
        for number, line in enumerate(module.read_text(encoding="utf-8").lower().splitlines(), start=1)
        for match in TRADING.finditer(line)
    ]
    assert found == [], "these words belong to the domain (one word, one meaning): find the runtime its own"


@pytest.mark.parametrize("line", ["on_tick(", "Venue", "the trades", "last_price: int", "PNL_MAX"])
def test_the_words_are_recognised(line: str) -> None:
    assert TRADING.search(line.lower())


@pytest.mark.parametrize("line", ["tradekeel.errors", "in order", "sticky", "fulfilled", "strategy", "ticket"])
def test_other_words_are_left_alone(line: str) -> None:
    assert not TRADING.search(line.lower())
