"""The books as repositories, in SQL: one code for SQLite, PostgreSQL and memory.

``calls`` holds every call to its deadline, ``database`` opens books and runs calls on them, ``change`` is one write with the
journal's record of it, ``listing`` answers lists page by page, and each kind of row has a module of its own.
"""

from tradekeel.storage.repositories.database import Database
from tradekeel.storage.repositories.events import SqlEventRepository
from tradekeel.storage.repositories.executions import SqlExecutionRepository
from tradekeel.storage.repositories.figures import (
    SqlCursorRepository,
    SqlParameterHistoryRepository,
    SqlPerformanceRepository,
)
from tradekeel.storage.repositories.fills import SqlFillRepository
from tradekeel.storage.repositories.orders import SqlOrderRepository
from tradekeel.storage.repositories.positions import SqlPositionRepository
from tradekeel.storage.repositories.signals import SqlSignalRepository
from tradekeel.storage.repositories.strategies import SqlStrategyRepository
from tradekeel.storage.repositories.tasks import SqlTaskRepository
from tradekeel.storage.repositories.trades import SqlTradeRepository

__all__ = [
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
]
