"""Optimising: many backtests of one configuration with other parameters, and what they come to out of sample.

::

    space      which parameters may be what, and the points of that space
    windows    where the in-sample parts are, and the out-of-sample parts behind them
    trying     one trial: a backtest by the kernel, with looks at the figures on the way
    studies    Optuna's study: who tries what, so that nothing is tried twice and nothing is lost
    stitching  the out-of-sample parts put together, and how they compare with what was in sample

The figures that may be looked for are those of the report (:mod:`tradekeel.domain.goals`): a configuration is checked against
them, by the daemon too, which loads nothing of a backtest for it.

Nobody here knows where a study is kept, or how many processes are at it: that is :mod:`tradekeel.bootstrap.optimising`.
"""
