"""What programs of one's own use: ``from tradekeel.scripting import …`` has all of it.

    from tradekeel.scripting import DataAdapter, get_trade_store

Nothing is opened, and no driver imported, before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradekeel.bootstrap.tickdata import tick_data
    from tradekeel.scripting.adapter import DataAdapter
    from tradekeel.storage.repositories import (
        Database,
        SqlCursorRepository,
        SqlEventRepository,
        SqlExecutionRepository,
        SqlFillRepository,
        SqlOrderRepository,
        SqlParameterHistoryRepository,
        SqlPerformanceRepository,
        SqlPositionRepository,
        SqlSignalRepository,
        SqlStrategyRepository,
        SqlTaskRepository,
        SqlTradeRepository,
    )
    from tradekeel.storage.tradestore import get_trade_store, reset_trade_store

__all__ = [
    "DataAdapter",
    "Database",
    "SqlCursorRepository",
    "SqlEventRepository",
    "SqlExecutionRepository",
    "SqlFillRepository",
    "SqlOrderRepository",
    "SqlParameterHistoryRepository",
    "SqlPerformanceRepository",
    "SqlPositionRepository",
    "SqlSignalRepository",
    "SqlStrategyRepository",
    "SqlTaskRepository",
    "SqlTradeRepository",
    "get_trade_store",
    "reset_trade_store",
    "tick_data",
]

_ELSEWHERE = {
    "DataAdapter": "tradekeel.scripting.adapter",
    "get_trade_store": "tradekeel.storage.tradestore",
    "reset_trade_store": "tradekeel.storage.tradestore",
    "tick_data": "tradekeel.bootstrap.tickdata",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "tradekeel.storage.repositories")), name)
