"""What a run came to: trades, profit, fees, and how many rows of the feed were bad, read from the books that it left.

Sums are computed in Decimal, from columns alone: a stop must not wait for whole trades to be built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from tradekeel.domain.counting import counted, each_counted
from tradekeel.domain.messages import TransactionKind
from tradekeel.domain.money import ZERO, Rounding, divide, ledger
from tradekeel.domain.records import ExecutionStarted, LatchChanged, Opening, Record, VenueReported
from tradekeel.domain.refused import ARCHIVED, SHOWN_MAX, Refused, reasons
from tradekeel.domain.rows import WIPED, ExecutionRow, Latch
from tradekeel.errors import ExitCode, StoreCorrupt
from tradekeel.storage.archives import ArchiveRow, Figures, newest_archive
from tradekeel.storage.backend import Backend, Connection, backend_at
from tradekeel.storage.journal import decoded
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.whose import A_DAEMONS, ours

RecordT = TypeVar("RecordT", bound=Struct)

BY_RISK = "risk"
BY_THE_BOOKS = frozenset({"reconcile", "books"})  # a comparison with the venue, or news of it that contradicts ours
RATE_STEP = Decimal("0.0001")


class AccountSummary(Struct, frozen=True, kw_only=True):
    """One account's execution in figures, in its currency."""

    account: str
    execution: str
    number: int
    status: str
    currency: str
    orders: int
    denied: Mapping[str, int]  # orders that the gate denied, by the code of the reason
    rejected: int  # orders that the venue rejected
    trades_open: int
    trades_closed: int
    trades_won: int
    win_rate: Decimal | None  # of the closed ones, 0 to 1
    pnl: Decimal  # realised by trades, after fees and financing
    fees: Decimal
    financing: Decimal
    balance: Decimal
    attribution: Decimal  # realised by the account less realised by its trades: what netting booked differently
    paused: bool
    latch: str
    latch_reason: str
    latched_by: str
    opening_balance: Decimal = ZERO  # what this execution began with, the deposit that opened the account included
    other: Decimal = ZERO  # of no trade: later deposits, and what the venue charged while nothing was held
    wiped: Decimal | None = None  # what the balance changed by before a wipe deleted the trades; None without one
    failed: Mapping[str, str] = {}  # strategies that were given up, and why
    rejections: Mapping[str, int] = {}  # the rejected orders, by the venue's reason


class FeedSummary(Struct, frozen=True, kw_only=True):
    """What an account's feed delivered in this process."""

    account: str
    position: int
    ticks: int
    ticks_per_s: float | None
    quality: Mapping[str, int]


def bad_rows(quality: Mapping[str, int]) -> dict[str, int]:
    """Of a feed's counts, those of rows with something wrong. Rows outside of `start` and `end` are left out as asked."""
    return {
        kind: count
        for kind, count in quality.items()
        if count and kind.endswith(_DONE_ABOUT) and not kind.startswith("outside_")
    }


_DONE_ABOUT = ("_dropped", "_fixed", "_accepted", "_failed")


def bad_row_words(quality: Mapping[str, int]) -> str:
    """The same for people, by name: ``4 crossed dropped, 1 gap accepted``; empty where nothing was wrong."""
    return each_counted(bad_rows(quality))


class Summary(Struct, frozen=True, kw_only=True):
    """A run of the daemon."""

    accounts: tuple[AccountSummary, ...] = ()
    feeds: tuple[FeedSummary, ...] = ()
    duration_s: float = 0.0
    over: bool = True  # all feeds had ended; otherwise somebody stopped it, and it is gone on with

    @property
    def code(self) -> ExitCode:
        """What the state of the accounts says to whoever started the daemon. A strategy that failed changes nothing of it:
        the others have traded, and its trades kept their exits. Nor does a limit that holds an account when somebody stops the
        daemon: the stop was done, and the limit has long been told. That the books do not match is said at any end.
        """
        by = {account.latched_by for account in self.accounts if account.latch != Latch.OPEN}
        if by & BY_THE_BOOKS:
            return ExitCode.BOOKS_DO_NOT_MATCH
        return ExitCode.HALTED_BY_RISK if BY_RISK in by and self.over else ExitCode.DONE


def read_summaries(books: Backend | Path, accounts: Iterable[str] | None = None) -> tuple[AccountSummary, ...]:
    """The newest execution of each account in figures; of those named, or of all. Raises StoreError."""
    with one_moment(books) as db:
        rows = newest_executions(db, backend_at(books))
        wanted = None if accounts is None else set(accounts)
        return tuple(summary_of(db, row) for row in rows if wanted is None or row.account in wanted)


def newest_executions(db: Connection, books: Backend) -> list[ExecutionRow]:
    """The newest execution of each account that is the daemon's, by account."""
    mapping = mapping_of(ExecutionRow)
    newest: dict[str, ExecutionRow] = {}
    for values in db.execute(f"{mapping.select_sql} WHERE {ours(books)} ORDER BY account, number"):
        row = mapping.decode(values)
        newest[row.account] = row
    return list(newest.values())


def summary_of(db: Connection, row: ExecutionRow) -> AccountSummary:
    """One execution in figures; they fit together where ``db`` looks at one moment."""
    archive = _archive_of(db, row)
    is_wiped = row.close_reason == WIPED
    # A wipe deletes the trades of an execution wherever they were: what is in its archives is no figure of these books.
    moved = archive.figures if archive is not None and not is_wiped else Figures()
    gross, fees, financing, realised = moved.gross, moved.fees, moved.financing, moved.realised
    closed, won, opened = moved.closed, moved.won, moved.opened
    with ledger():
        pnl = gross - fees + financing
    columns = "status, gross_pnl, entry_fee, exit_fee, financing"
    with ledger():
        for status, *amounts in db.stream(f"SELECT {columns} FROM trades WHERE execution = ?", (row.execution,)):  # noqa: S608
            trade_gross, entry_fee, exit_fee, trade_financing = map(Decimal, amounts)
            trade_pnl = trade_gross - entry_fee - exit_fee + trade_financing
            gross, pnl = gross + trade_gross, pnl + trade_pnl
            fees, financing = fees + entry_fee + exit_fee, financing + trade_financing
            closed += status == "CLOSED"
            won += status == "CLOSED" and trade_pnl > ZERO
            opened += status in ("OPEN", "CLOSING")
        for (amount,) in db.stream("SELECT realised FROM fills WHERE execution = ?", (row.execution,)):
            realised += Decimal(amount)
    balance, opening = balance_of(db, row), _opening_balance(db, row)
    with ledger():
        attribution = realised - gross
        change = balance - opening - pnl - attribution  # of no trade, or nobody can tell of which
    orders = moved.orders + int(
        db.execute("SELECT count(*) FROM orders WHERE execution = ?", (row.execution,)).fetchone()[0]
    )
    denied, rejections = _refused(db, row, moved)
    return AccountSummary(
        account=row.account,
        execution=row.execution,
        number=row.number,
        status=row.status,
        currency=row.currency,
        orders=orders,
        denied=denied,
        rejected=sum(rejections.values()),
        trades_open=opened,
        trades_closed=closed,
        trades_won=won,
        win_rate=divide(Decimal(won), Decimal(closed), RATE_STEP, Rounding.DISPLAY) if closed else None,
        pnl=pnl,
        fees=fees,
        financing=financing,
        balance=balance,
        attribution=attribution,
        opening_balance=opening,
        other=ZERO if is_wiped else change,
        wiped=change if is_wiped else None,
        paused=row.paused,
        latch=row.latch.value,
        latch_reason=row.latch_reason,
        latched_by=latched_by(db, row),
        failed=dict(db.execute(_FAILED, (row.execution,)).fetchall()),
        rejections=rejections,
    )


_FAILED = "SELECT strategy, status_reason FROM strategies WHERE execution = ? AND status = 'failed' ORDER BY strategy"


def refused(db: Connection, row: ExecutionRow) -> tuple[dict[str, int], dict[str, int]]:
    """Orders that the gate denied, by the code of the reason, and that the venue rejected, by its reason; archived ones, too."""
    archive = _archive_of(db, row)
    is_in_it = archive is not None and row.close_reason != WIPED
    return _refused(db, row, archive.figures if archive is not None and is_in_it else Figures())


def _refused(db: Connection, row: ExecutionRow, moved: Figures) -> tuple[dict[str, int], dict[str, int]]:
    told = moved.rejections or {}
    untold = moved.rejected - sum(told.values())  # in archives of an earlier version, which kept no reasons
    counts = Refused(moved.denied, {**told, ARCHIVED: untold} if untold else told)
    for status, reason in db.stream(
        "SELECT status, status_reason FROM orders WHERE execution = ? AND status IN ('denied', 'rejected')",
        (row.execution,),
    ):
        counts.take(status, reason)
    return counts.denied, counts.rejections


def refusals(denied: Mapping[str, int], rejections: Mapping[str, int]) -> str:
    """Such orders in words, by their reasons; an empty text where there are none."""
    said = []
    if denied:
        said.append(f"{counted(sum(denied.values()), 'order')} denied ({reasons(denied)})")
    if rejections:
        total = sum(rejections.values())
        how_many = f"{total:,}" if denied else counted(total, "order")
        said.append(f"{how_many} rejected by the venue ({reasons(rejections, SHOWN_MAX)})")
    return ", ".join(said)


def failures(account: AccountSummary) -> list[str]:
    """A sentence for each strategy of an account that was given up."""
    return [f"strategy {name} has failed, its trades keep their exits: {why}" for name, why in account.failed.items()]


def balance_of(db: Connection, row: ExecutionRow) -> Decimal:
    """The balance after the last of the venue's entries that is booked."""
    record = last_record(db, row.execution, VenueReported)
    if isinstance(record, VenueReported) and record.transaction.balance is not None:
        return record.transaction.balance
    archive = _archive_of(db, row)
    return row.opening_balance if archive is None else archive.book_behind().money.balance


def _opening_balance(db: Connection, row: ExecutionRow) -> Decimal:
    """What an execution took over; of an account that was opened by it, the deposit that is the venue's first entry."""
    if row.opening_balance:
        return row.opening_balance
    archive = _archive_of(db, row)
    if archive is not None:
        return archive.figures.opening
    kind = str(VenueReported.__struct_config__.tag)
    first = _record(db, row.execution, "AND type = ?", (kind,), oldest=True)
    if isinstance(first, VenueReported) and first.transaction.kind is TransactionKind.DEPOSITED:
        return first.transaction.amount
    return ZERO


def latched_by(db: Connection, row: ExecutionRow) -> str:
    """Who put the latch where it is, in this run or one before it; whoever paused or resumed the account since then did not."""
    held = (row.latch, row.latch_reason)
    if row.latch is Latch.OPEN:
        return ""
    for run in _up_to(db, row):
        if (run.latch, run.latch_reason) != held:
            break
        for record in _records(db, run.execution, "AND type = ?", (str(LatchChanged.__struct_config__.tag),)):
            if isinstance(record, LatchChanged) and (record.latch, record.reason) == held:
                return record.by
    return ""


def _up_to(db: Connection, row: ExecutionRow) -> Iterator[ExecutionRow]:
    """A run and those of its account that it took over from, the newest first; a backtest took over from none."""
    yield row
    if row.mode.is_a_daemons:
        mapping = mapping_of(ExecutionRow)
        order = f"WHERE account = ? AND {A_DAEMONS} AND number < ? ORDER BY number DESC"
        yield from map(mapping.decode, db.execute(f"{mapping.select_sql} {order}", (row.account, row.number)))


def opening_of_fills(db: Connection, run: ExecutionRow) -> Opening | None:
    """What an execution's fills in the tables come on top of: what it took over, or what there was behind its last archive.

    Fills that the venue told of up to its ``cursor`` are in it.
    """
    archive = _archive_of(db, run)
    if archive is None:
        record = _record(db, run.execution, "AND sequence = ?", (1,))
        return record.opening if isinstance(record, ExecutionStarted) else None
    book = archive.book_behind()
    return Opening(cursor=book.cursor, balance=book.money.balance, positions=tuple(book.positions.values()), trades=())


def _archive_of(db: Connection, run: ExecutionRow) -> ArchiveRow | None:
    return newest_archive(db, "the books", run.execution)


def last_record(db: Connection, execution: str, kind: type[Struct]) -> Record | None:
    """The newest journal record of one type."""
    return _record(db, execution, "AND type = ?", (str(kind.__struct_config__.tag),))


def records_of(db: Connection, execution: str, kind: type[RecordT]) -> Iterator[RecordT]:
    """The journal records of one type, the newest first."""
    for record in _records(db, execution, "AND type = ?", (str(kind.__struct_config__.tag),)):
        if isinstance(record, kind):
            yield record


def _record(
    db: Connection, execution: str, condition: str, values: Sequence[Any], *, oldest: bool = False
) -> Record | None:
    """One journal record, the newest unless it is said otherwise."""
    order = f"ORDER BY sequence {'' if oldest else 'DESC'} LIMIT 1"
    row = db.execute(f"{_JOURNAL} {condition} {order}", (execution, *values)).fetchone()
    return None if row is None else _decoded(execution, row)


def _records(db: Connection, execution: str, condition: str, values: Sequence[Any]) -> Iterator[Record]:
    """Journal records, the newest first, a few at a time: there may be millions, and mostly the first ones are enough."""
    for row in db.stream(f"{_JOURNAL} {condition} ORDER BY sequence DESC", (execution, *values)):
        yield _decoded(execution, row)


_JOURNAL = "SELECT sequence, type, ts_ns, correlation_id, payload, crc FROM journal WHERE execution = ?"


def _decoded(execution: str, row: Any) -> Record:
    record = decoded(execution, row)
    if isinstance(record, str):
        raise StoreCorrupt(record)
    return record
