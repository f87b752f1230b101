"""The books as repositories: what scripts, reports and other programs ask of them, and write into them.

**Every call** has a deadline, ``timeout_s`` (5 s unless said), and raises :class:`~tradekeel.errors.StoreTimeout` when it
passes. A write that timed out or was cancelled has happened whole or not at all; where the answer to the commit itself was lost,
:class:`~tradekeel.errors.StoreUnanswered` says so.

**A list of rows** is a :class:`Page`; how one asks for more is in :mod:`tradekeel.ports.repositories.paging`. Plain lists are
what goes on behind a number (``get_events_since``, ``get_journal_since``), and what is computed whole: positions and figures of
them, and which symbols and venues there are.

**Every write** is one transaction: the rows change, and an administrative record in the journal of the execution concerned says
how, so that ``tradekeel verify`` holds before and after. Tasks and the notes of positions are no part of the books: they are
written in one transaction, too, but no journal tells of them. A write is refused

- with :class:`~tradekeel.errors.AlreadyRunning`, naming who, while a daemon holds the books or the account;
- with :class:`~tradekeel.errors.DaemonsOwn` where the execution is one that a daemon goes on with when it is started, and the
  change is to quantities, prices, states or levels: the daemon books those. What describes may change: a trade's session,
  timeframe, pattern_type, model, confidence_score, meta_strategy_id, regime, rl keys, tags, metadata and parameter_mode, a
  signal's session, pattern_type and rl keys, performance snapshots and the history of parameters. In a finished execution of a
  daemon everything may be corrected, and in one of mode ``manual``, which is a script's own, everything may be written.
- with :class:`~tradekeel.errors.InputError` (:class:`~tradekeel.errors.NotFound`, :class:`~tradekeel.errors.AlreadyExists`)
  for what cannot be, such as amounts that are no numbers or have more than 300 digits before or behind their point, words that
  are none, or texts with a zero character in them.
"""

from tradekeel.ports.repositories.events import EventRepository, JournalRecord
from tradekeel.ports.repositories.executions import ExecutionRepository
from tradekeel.ports.repositories.figures import CursorRepository, ParameterHistoryRepository, PerformanceRepository
from tradekeel.ports.repositories.fills import FillRepository
from tradekeel.ports.repositories.orders import OrderRepository
from tradekeel.ports.repositories.paging import ROWS_DEFAULT, ROWS_MAX, TIMEOUT_S, Listed, Page, Paging, Span, Timed
from tradekeel.ports.repositories.positions import (
    CloseOut,
    Exposure,
    HeldPosition,
    NetPosition,
    Period,
    PositionNote,
    PositionRepository,
    PositionSummary,
    Realised,
    Valued,
)
from tradekeel.ports.repositories.signals import SignalRepository
from tradekeel.ports.repositories.strategies import StrategyRepository
from tradekeel.ports.repositories.tasks import TaskRepository
from tradekeel.ports.repositories.trades import TradeRepository

__all__ = [
    "ROWS_DEFAULT",
    "ROWS_MAX",
    "TIMEOUT_S",
    "CloseOut",
    "CursorRepository",
    "EventRepository",
    "ExecutionRepository",
    "Exposure",
    "FillRepository",
    "HeldPosition",
    "JournalRecord",
    "Listed",
    "NetPosition",
    "OrderRepository",
    "Page",
    "Paging",
    "ParameterHistoryRepository",
    "PerformanceRepository",
    "Period",
    "PositionNote",
    "PositionRepository",
    "PositionSummary",
    "Realised",
    "SignalRepository",
    "Span",
    "StrategyRepository",
    "TaskRepository",
    "Timed",
    "TradeRepository",
    "Valued",
]
