"""What a report takes from a journal, told record by record: first those that are in archives, then those of the books."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from tradekeel.backtest.reporting.model import CurvePoint, FundsMove, PricePoint, StopLevel
from tradekeel.domain import records as r
from tradekeel.domain.messages import TransactionKind, VenueTransaction
from tradekeel.storage.backend import Connection
from tradekeel.storage.journal import JournalRow, decoded

SAMPLES_MAX = 100_000
"""Ticks that are kept for the charts; of more, one in so many of each instrument."""

KINDS = frozenset(r.record_type_of(kind) for kind in (r.TickSampled, r.VenueReported, r.StopMoved, r.DaemonStarted))

COLUMNS = "sequence, type, ts_ns, correlation_id, payload, crc"


class Entry(Struct, frozen=True):
    """What the venue has told of the account's money."""

    booked_ns: int  # when the books had it
    ts_ns: int  # by the venue
    balance: Decimal | None  # behind it
    funds: Decimal | None  # that came, or with a minus went; None: it is of something else


class Recounted:
    """Told of a journal, oldest record first. What cannot be decoded is for `verify` to name, and left out here."""

    def __init__(self, execution: str, samples_max: int = SAMPLES_MAX) -> None:
        self._execution, self._samples_max = execution, samples_max
        self._every, self._kept = 1, 0
        self._seen: dict[str, int] = {}
        self._points: dict[str, list[PricePoint]] = {}
        self._stops: dict[str, list[StopLevel]] = {}
        self._entries: list[Entry] = []
        self.versions: dict[str, None] = {}
        """Those that worked on the execution, in order."""

    def take(self, entry: JournalRow) -> None:
        """The next record, as it stands in the journal."""
        if entry[1] not in KINDS:
            return
        record = decoded(self._execution, entry)
        if isinstance(record, r.TickSampled):
            self._sample(record)
        elif isinstance(record, r.VenueReported):
            self._tell(record.ts_ns, record.transaction)
        elif isinstance(record, r.StopMoved) and record.stop_loss is not None:
            self._stops.setdefault(record.trade_id, []).append(StopLevel(record.ts_ns, record.stop_loss))
        elif isinstance(record, r.DaemonStarted):
            self.versions[record.version] = None

    def _sample(self, record: r.TickSampled) -> None:
        seen = self._seen[record.instrument] = self._seen.get(record.instrument, 0) + 1
        points = self._points.setdefault(record.instrument, [])
        is_new = not points or points[-1].ts_ns < record.ts_ns  # a moment may be sampled for two reasons
        if (seen - 1) % self._every or not is_new:
            return
        points.append(PricePoint(record.ts_ns, record.bid, record.ask))
        self._kept += 1
        if self._kept > self._samples_max:
            self._every *= 2
            self._points = {symbol: some[::2] for symbol, some in self._points.items()}
            self._kept = sum(map(len, self._points.values()))

    def _tell(self, booked_ns: int, news: VenueTransaction) -> None:
        funds = news.amount if news.kind is TransactionKind.DEPOSITED else None
        if funds is not None or news.balance is not None:
            self._entries.append(Entry(booked_ns, news.ts_ns, news.balance, funds))

    def prices(self) -> dict[str, tuple[PricePoint, ...]]:
        """The ticks that the journal has kept, by instrument."""
        return {symbol: tuple(points) for symbol, points in sorted(self._points.items())}

    def stops(self) -> dict[str, tuple[StopLevel, ...]]:
        """Where the stop of each trade was moved to."""
        return {trade: tuple(levels) for trade, levels in self._stops.items()}

    def balances(self) -> list[CurvePoint]:
        """The balance after the venue's last entry of each moment."""
        found = {entry.ts_ns: entry.balance for entry in self._entries if entry.balance is not None}
        return [CurvePoint(ts_ns, balance) for ts_ns, balance in found.items()]

    def funds(self, *, by_the_venue: bool) -> list[FundsMove]:
        """What came and went: at the venue's moments, as balances are, or when the books had it, which snapshots go by."""
        return [
            FundsMove(entry.ts_ns if by_the_venue else entry.booked_ns, entry.funds)
            for entry in self._entries
            if entry.funds is not None
        ]


TOLD_EVERY = 1_000


def recount(
    db: Connection,
    execution: str,
    take: Callable[[JournalRow], object],
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Tell the records that are in the books; now and then ``tell`` is told the number of the record, and that of the last."""
    first, last = db.execute(
        "SELECT min(sequence), max(sequence) FROM journal WHERE execution = ?", (execution,)
    ).fetchone()
    marks = ", ".join("?" * len(KINDS))
    asked = f"SELECT {COLUMNS} FROM journal WHERE execution = ? AND type IN ({marks}) ORDER BY sequence"  # noqa: S608  # our own words
    for number, entry in enumerate(db.stream(asked, (execution, *sorted(KINDS)))):
        if number % TOLD_EVERY == 0:
            tell(entry[0] - first, last - first)
        take(entry)
