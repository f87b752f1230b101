"""The rules of the tables, asked where no table is: the answer is the one that a table gives."""

from __future__ import annotations

import re

import pytest

from tests.conformance.books.test_rules import FORBIDDEN
from tests.unit.storage import samples as s
from tradekeel.domain.rows import Checkpoint
from tradekeel.storage import tables
from tradekeel.storage.promised import promise
from tradekeel.storage.rows import mappings
from tradekeel.storage.ruling import look_at_rules

DESK = s.Desk()
ROWS = {
    mappings()[type(row)].table.name: row
    for group in (DESK.opening(), DESK.decision(), DESK.filled(1))
    for row in group.rows
}
KEPT = [case for case in FORBIDDEN if case[0] in ROWS and case[3] != "FOREIGN KEY"]


@pytest.mark.parametrize(("table", "column", "value", "rule"), KEPT)
def test_what_a_table_refuses_is_refused_and_the_rule_is_named(table, column, value, rule):
    row = ROWS[table]
    mapping = mappings()[type(row)]
    values = dict(zip(mapping.columns, mapping.encode(row, s.RUN), strict=True))
    look_at_rules(mapping.table, values)
    said = f"has no {column}" if rule == "NOT.NULL" else rule
    with pytest.raises(ValueError, match=re.compile(said)):
        look_at_rules(mapping.table, {**values, column: value})


def test_every_rule_of_every_table_that_a_daemon_writes_can_be_asked():
    for mapping in mappings().values():
        look_at_rules(mapping.table, {})


def test_states_are_held_to_their_rules_too():
    promise(s.group(s.noted(), checkpoints=(s.checkpoint(1),)), 1)
    large = Checkpoint(
        execution=s.RUN, owner="ema", position=1, inbox=1, ts_ns=1, version=1, state=b"x" * (64 * 1024 + 1)
    )
    with pytest.raises(ValueError, match="ck_checkpoints_state_size"):
        promise(s.group(checkpoints=(large,)), 1)
    assert "state_size" in {str(rule.name).removeprefix("ck_checkpoints_") for rule in tables.checkpoints.constraints}
