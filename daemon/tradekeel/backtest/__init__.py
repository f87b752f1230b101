"""Backtests: the daemon's cores without its shells, stepped by one synchronous loop.

::

    exchange   the paper venue's matcher, asked and answered in one step
    account    one account's executor, monitor and strategists, and the records of all they do
    kernel     one sequence of ticks, conducted through an account in the daemon's order of events

What decides is the daemon's own code (:mod:`tradekeel.domain`, :mod:`tradekeel.strategies`): here are no rules of trading.
"""
