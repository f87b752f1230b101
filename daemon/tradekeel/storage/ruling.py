"""What the rules of a table say of a row, asked where the table is not.

Of what waits for a server nobody may hear later that it breaks a CHECK. So the rules are asked as a question, of values that are
in no table: SQLite answers it in memory, from the same rules that every database has. What rows refer to, and whether something
else has their key, only the server knows.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import CheckConstraint, Table
from sqlalchemy.dialects import sqlite


class _Rules(NamedTuple):
    """Of a table."""

    wanted: tuple[str, ...]  # columns that may not be empty
    columns: tuple[str, ...]  # those that the checks are about
    question: str  # whether all checks are kept
    questions: Mapping[str, str]  # whether one is


def look_at_rules(table: Table, values: Mapping[str, object]) -> None:
    """The values of a table's row, by column, as the driver takes them. Raises ValueError, naming the rule."""
    rules = _rules_of(table)
    for name in rules.wanted:
        if name in values and values[name] is None:
            raise ValueError(f"a row of {table.name} has no {name}")
    given = [values.get(name) for name in rules.columns]
    if not _kept(rules.question, given):
        broken = [name for name, question in rules.questions.items() if not _kept(question, given)]
        raise ValueError(f"a row of {table.name} breaks the rule {', '.join(broken)}")


def _kept(question: str, given: Sequence[object]) -> bool:
    answer: object = _asker().execute(question, given).fetchone()[0]
    return answer != 0  # what cannot be told, because a value is not there, is allowed


@cache
def _asker() -> sqlite3.Connection:
    """A connection without tables, which only answers: threads need not know of each other."""
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


@cache
def _rules_of(table: Table) -> _Rules:
    dialect = sqlite.dialect()
    prepare = dialect.identifier_preparer
    checks = {
        str(prepare.format_constraint(rule)): f"({rule.sqltext.compile(dialect=dialect)})"
        for rule in table.constraints
        if isinstance(rule, CheckConstraint)
    }
    said = {word for check in checks.values() for word in re.findall(r"\w+", check)}
    columns = tuple(column.name for column in table.c if column.name in said)
    given = ", ".join(f'? AS "{name}"' for name in columns)
    questions = {name: f"SELECT {check} FROM (SELECT {given})" for name, check in checks.items()}  # noqa: S608  # our tables'
    return _Rules(
        wanted=tuple(column.name for column in table.c if not column.nullable),
        columns=columns,
        question=f"SELECT {' AND '.join(checks.values()) or '1'} FROM (SELECT {given or '1'})",  # noqa: S608  # as above
        questions=questions,
    )
