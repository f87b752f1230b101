"""Whose an execution is, in SQL: what tables, store and commands ask alike."""

from __future__ import annotations

from tradekeel.storage.backend import Backend

A_DAEMONS = "mode IN ('paper', 'live')"
"""The executions that a daemon runs, one at a time for an account (``Mode.is_a_daemons``).

Backtests of an account may run side by side, and what is kept by a script or by hand is nothing to go on with.
"""


def ours(books: Backend) -> str:
    """The executions of one daemon, where several share a database: of accounts that no other daemon has ever traded last."""
    return f"{A_DAEMONS} AND {not_elsewhere(books)}" if books.daemon else A_DAEMONS


def not_elsewhere(books: Backend) -> str:
    """Accounts that are not another daemon's."""
    return f"account NOT IN (SELECT account FROM leases WHERE {elsewhere(books)})"  # noqa: S608  # our own words


def elsewhere(books: Backend) -> str:
    """Leases of other daemons. A daemon's name is made of letters, digits, hyphens and underscores only; an account that
    nobody but a script or a tool has ever held has none, and is nobody's.
    """
    return f"daemon NOT IN ('', '{books.daemon}')"
