"""Backtests: the daemon's cores without its shells, stepped by one synchronous loop.

::

    exchange   the paper venue's matcher, asked and answered in one step
    account    one account's executor, monitor and strategists, and the records of all they do
    kernel     one sequence of ticks, conducted through an account in the daemon's order of events
    setup      what all of that is made of;   saving: its state between two ticks
    proof      our books and the venue's are the same, or the run is not to be believed
    source     where the ticks come from;   around: what is looked at and counted on the way;   leaps: prices that leap
    run        from the first tick to the last, with the states that a run goes on from
    executor   all of it for programs: data, a strategy, a balance

What decides is the daemon's own code (:mod:`tradekeel.domain`, :mod:`tradekeel.strategies`): here are no rules of trading.
"""

from tradekeel.backtest.executor import BacktestExecutor, BacktestResult
from tradekeel.backtest.source import FeedSource, TickDataSource, TicksSource
from tradekeel.backtest.streamed import RedisTickDataSource

__all__ = ["BacktestExecutor", "BacktestResult", "FeedSource", "RedisTickDataSource", "TickDataSource", "TicksSource"]
