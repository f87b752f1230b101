"""What waits for the server, kept in memory only: for an account whose orders may be forgotten.

The same as :class:`~tradekeel.storage.spool.Spool` to whoever uses it, and bounded like it, but a process that ends takes with
it what it was acknowledged for. The promise does not hold while something is in here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from tradekeel.errors import Defect, StoreUnavailable
from tradekeel.storage.promised import NumberedBatch, decode_groups, encode_groups
from tradekeel.storage.spoolfiles import numbers_in_order

BYTES_MAX = 64 * 1024**2
"""What may wait, as bytes of encoded groups; a daemon's memory is not a disk."""


class MemorySpool:
    """See the module."""

    durable = False

    def __init__(self, *, bytes_max: int = BYTES_MAX) -> None:
        self.size_bytes = 0
        self._bytes_max = bytes_max
        self._waiting: deque[tuple[int, bytes]] = deque()

    @property
    def first(self) -> int | None:
        """The number of the oldest batch that waits, or None."""
        return self._waiting[0][0] if self._waiting else None

    @property
    def last(self) -> int | None:
        """The number of the newest batch that waits, or None."""
        return self._waiting[-1][0] if self._waiting else None

    @property
    def batches(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def append(self, batches: Sequence[NumberedBatch]) -> None:
        """Keep batches behind those that are there. Raises StoreUnavailable, with nothing kept, where they do not fit."""
        if not batches:
            return
        numbers_in_order([batch.number for batch in batches], self.last)
        encoded = [(batch.number, encode_groups(batch.groups)) for batch in batches]
        size = sum(len(payload) for _, payload in encoded)
        if self.size_bytes + size > self._bytes_max:
            raise StoreUnavailable(
                f"the memory for what waits is full: {self.batches} batches wait in {self.size_bytes} bytes, and "
                f"{self._bytes_max} are all that it may take. Bring the server back; what waits is lost with this process."
            )
        self._waiting.extend(encoded)
        self.size_bytes += size

    def pending(self) -> Iterator[NumberedBatch]:
        """All that waits, in order, each decoded when it is asked for."""
        for number, payload in list(self._waiting):
            yield NumberedBatch(number, decode_groups(payload))

    def drained(self, up_to: int) -> None:
        """The server has every batch up to this number."""
        if self._waiting and up_to > self._waiting[-1][0]:
            raise Defect(f"batch {up_to} is said to be done with, but the last one in memory is {self.last}")
        while self._waiting and self._waiting[0][0] <= up_to:
            self.size_bytes -= len(self._waiting.popleft()[1])

    def close(self) -> None:
        """What waits is lost when this object is; nothing is to be let go of."""
