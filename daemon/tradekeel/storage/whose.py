"""Whose an execution is, in SQL: what tables, store and commands ask alike."""

A_DAEMONS = "mode IN ('paper', 'live')"
"""The executions that a daemon runs, one at a time for an account (``Mode.is_a_daemons``).

Backtests of an account may run side by side, and what is kept by a script or by hand is nothing to go on with.
"""
