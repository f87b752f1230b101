"""Groups that are promised a place in the journal before the server has them, and how they are kept until then.

A group that waits for the server was answered like any other: with the journal numbers that it will have. So what is kept is
the group and the number that its first record was promised. It is kept as bytes (msgpack, decimals as text, as in the
journal): records by their tag, rows with their type's name, since rows have no tag.

Whoever was answered cannot be told no any more. So everything that can be known without the server is looked at before
the answer: whether the group can be written down and read again, whether every value is one that a column takes, and whether
every row keeps the rules of its table. What rows refer to, only the server knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from tradekeel.domain.records import Group, Record
from tradekeel.domain.rows import Checkpoint, Row
from tradekeel.errors import Defect, GroupRefused
from tradekeel.storage import tables
from tradekeel.storage.batch import Batch, Written
from tradekeel.storage.fitting import look_at_row, look_at_value
from tradekeel.storage.rows import mappings
from tradekeel.storage.ruling import look_at_rules

NEWEST = (
    "Restore the newest books there are, then start again. Where these are the newest, move the folder spool away (and keep it) "
    "before that: the account is compared with its venue, and halts where the books miss something."
)
"""What a person does where a server has lost what it had acknowledged."""

KEEP_IT = "Nothing was changed: keep what waits as it is, and please report this."
"""What a person does where a promise was not kept."""


class Promised(Struct, frozen=True):
    """A group, the journal number that its first record was promised, and the group as it is kept."""

    first: int
    group: Group
    encoded: bytes

    @property
    def last(self) -> int:
        """The number of its last record; ``first - 1`` where it has none."""
        return self.first + len(self.group.records) - 1


class NumberedBatch(Struct, frozen=True):
    """What is to become one transaction. Each batch has the number behind the one before it."""

    number: int
    groups: tuple[Promised, ...]


class _Kept(Struct, frozen=True, array_like=True):
    """A group as it is kept."""

    execution: str
    records: tuple[Record, ...]
    rows: tuple[tuple[str, msgspec.Raw], ...]
    checkpoints: tuple[Checkpoint, ...]


class _Line(Struct, frozen=True, array_like=True):
    """A group in its batch."""

    first: int
    group: msgspec.Raw


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_GROUP = msgspec.msgpack.Decoder(_Kept)
_LINES = msgspec.msgpack.Decoder(list[_Line])
_ROWS: dict[str, msgspec.msgpack.Decoder[Row]] = {
    row_type.__name__: msgspec.msgpack.Decoder(row_type) for row_type in Row.__args__
}


def promise(group: Group, first: int) -> Promised:
    """The group as it can be kept, its first record numbered ``first``.

    Raises one of :data:`tradekeel.storage.batch.SENDER_ERRORS` where a store would refuse it whatever else it holds.
    """
    _look_at_values(group)
    rows = tuple((type(row).__name__, msgspec.Raw(_ENCODER.encode(row))) for row in group.rows)
    encoded = _ENCODER.encode(_Kept(group.execution, group.records, rows, group.checkpoints))
    _decode_group(encoded)  # what cannot be read again is not kept
    return Promised(first, group, encoded)


def encode_groups(groups: Iterable[Promised]) -> bytes:
    """The groups of a batch in order."""
    return _ENCODER.encode([_Line(promised.first, msgspec.Raw(promised.encoded)) for promised in groups])


def decode_groups(payload: bytes | memoryview) -> tuple[Promised, ...]:
    """What :func:`encode_groups` was given; ``msgspec.MsgspecError``, ValueError or KeyError on anything else."""
    return tuple(Promised(line.first, _decode_group(line.group), bytes(line.group)) for line in _LINES.decode(payload))


def _decode_group(encoded: bytes | msgspec.Raw) -> Group:
    kept = _GROUP.decode(encoded)
    rows = tuple(_ROWS[name].decode(row) for name, row in kept.rows)
    return Group(execution=kept.execution, records=kept.records, rows=rows, checkpoints=kept.checkpoints)


def as_answered(batch: NumberedBatch, results: Sequence[Written | GroupRefused]) -> None:
    """A Defect unless every group gets the place that it was promised."""
    for kept, result in zip(batch.groups, results, strict=True):
        execution = kept.group.execution
        if isinstance(result, GroupRefused):
            raise Defect(
                f"the server refuses a group of batch {batch.number} (execution {execution}) that was acknowledged with the "
                f"journal numbers {kept.first} to {kept.last}: {result}. {KEEP_IT}"
            ) from result
        if result != (kept.first, kept.last):
            raise Defect(
                f"the server gives a group of batch {batch.number} (execution {execution}) the journal numbers {result.first} to "
                f"{result.last}, and it was acknowledged with {kept.first} to {kept.last}. {KEEP_IT}"
            )


def _look_at_values(group: Group) -> None:
    Batch([group], 1)  # one id never stands for two things within it
    for row in group.rows:
        mapping = mappings()[type(row)]
        values = mapping.encode(row, group.execution)
        look_at_row(mapping, values)
        look_at_rules(mapping.table, dict(zip(mapping.columns, values, strict=True)))
    look_at_value("execution", group.execution)
    for record in group.records:
        look_at_value("ts_ns", record.ts_ns)
        look_at_value("correlation_id", record.correlation_id)
    for saved in group.checkpoints:
        values_of = {name: getattr(saved, name) for name in Checkpoint.__struct_fields__}
        for name, value in values_of.items():
            look_at_value(name, value)
        look_at_rules(tables.checkpoints, {**values_of, "sequence": 0})
