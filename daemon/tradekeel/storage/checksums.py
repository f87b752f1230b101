"""Checksums of rows that nothing else can be compared with.

SQLite's own integrity check looks at the structure of the file and does not notice a flipped byte inside a value, so
every journal row and every saved state carries a CRC-32 over all of its columns. A flipped bit may also change a value's
type or break its text: such rows have a checksum too, and not the right one.
"""

from __future__ import annotations

from zlib import crc32

from tradekeel.domain.rows import Checkpoint, MetricsCheckpoint


def journal_crc(execution: str, sequence: int, type_: str, ts_ns: int, correlation_id: str, payload: bytes) -> int:
    """The checksum of one journal row."""
    head = f"{execution}\0{sequence}\0{type_}\0{ts_ns}\0{correlation_id}\0".encode("utf-8", "surrogateescape")
    return crc32(_bytes(payload), crc32(head))


def checkpoint_crc(checkpoint: Checkpoint, sequence: int) -> int:
    """The checksum of one saved state, with the journal sequence it was written at."""
    c = checkpoint
    head = f"{c.execution}\0{c.owner}\0{sequence}\0{c.position}\0{c.inbox}\0{c.ts_ns}\0{c.version}\0".encode(
        "utf-8", "surrogateescape"
    )
    return crc32(_bytes(c.state), crc32(head))


def metrics_crc(saved: MetricsCheckpoint) -> int:
    """The checksum of the performance tracker's saved state."""
    return crc32(_bytes(saved.data), crc32(f"{saved.execution}\0{saved.ts_ns}\0".encode("utf-8", "surrogateescape")))


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else f"not bytes: {value!r}".encode()
