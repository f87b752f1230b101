"""The paper venue's own books: one SQLite file, one connection, and a commit for everything that happens.

What the matcher did is handed over in batches and written in one transaction: the entries of the record, the orders
and positions that changed, and where the account stands. So after a kill at any instruction the file holds exactly
the state after the last commit, and only what changed costs anything. Every row carries its own CRC: SQLite's checks
do not see a flipped byte in a payload.

The file is opened in WAL mode with ``synchronous=FULL``; transactions begin IMMEDIATE. After a failed commit nothing
is written any more: SQLite would report success for later ones although the disk had lost the first.

All methods but :meth:`queue` block and are called one after the other on a worker; :meth:`queue` is called by the
venue.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from weakref import finalize
from zlib import crc32

import msgspec
from msgspec import Struct

from tradekeel.domain.matching import Changes, MatcherState, PaperAccount, Standing, WorkingOrder, by_age
from tradekeel.domain.messages import VenueTransaction
from tradekeel.domain.money import ledger
from tradekeel.domain.positions import Position
from tradekeel.errors import DataError, StoreCorrupt, StoreTooNew, StoreUnavailable

SCHEMA_VERSION = 1
APPLICATION_ID = 0x746B7072  # "tkpr": tells this file from any other SQLite file

_SCHEMA = """
CREATE TABLE account (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL,
    currency TEXT NOT NULL,
    hedging INTEGER NOT NULL CHECK (hedging IN (0, 1)),
    standing BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE transactions (
    sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
    kind TEXT NOT NULL,
    client_order_id TEXT,
    venue_order_id TEXT,
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    venue_order_id TEXT NOT NULL UNIQUE,
    client_order_id TEXT NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE INDEX orders_by_client ON orders (client_order_id);
CREATE INDEX orders_open ON orders (open) WHERE open = 1;
CREATE TABLE positions (
    instrument TEXT NOT NULL,
    ref TEXT NOT NULL,
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (instrument, ref)
) WITHOUT ROWID;
"""

_ADD_ENTRY = "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)"
_PUT_ORDER = (
    "INSERT INTO orders (venue_order_id, client_order_id, open, payload, crc) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (venue_order_id) DO UPDATE SET open = excluded.open, payload = excluded.payload, crc = excluded.crc"
)
_PUT_POSITION = (
    "INSERT INTO positions VALUES (?, ?, ?, ?)"
    " ON CONFLICT (instrument, ref) DO UPDATE SET payload = excluded.payload, crc = excluded.crc"
)
_DROP_POSITION = "DELETE FROM positions WHERE instrument = ? AND ref = ?"
_PUT_STANDING = "UPDATE account SET standing = ?, crc = ? WHERE id = 1"

_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_entries = msgspec.msgpack.Decoder(VenueTransaction)
_orders = msgspec.msgpack.Decoder(WorkingOrder)
_positions = msgspec.msgpack.Decoder(Position)
_standings = msgspec.msgpack.Decoder(Standing)
_T = TypeVar("_T")


class Opened(Struct, frozen=True, kw_only=True):
    """What an account was opened with, and what became of its money so far."""

    currency: str
    hedging: bool
    deposits: Decimal
    balance: Decimal


def read_opened(path: Path) -> Opened | None:
    """What the account of a ledger was opened with. None where there is no such account, or where opening it will say why not."""
    if not path.exists():
        return None
    try:
        with closing(_connect_to_look(path)) as db:
            currency, hedging, payload = db.execute("SELECT currency, hedging, standing FROM account").fetchone()
        sums = _standings.decode(payload).sums
    except (sqlite3.Error, msgspec.MsgspecError, TypeError):
        return None
    if not sums.deposits:
        return None
    with ledger():
        return Opened(currency=currency, hedging=bool(hedging), deposits=sums.deposits, balance=sums.balance)


def read_ledger(path: Path, account: PaperAccount) -> MatcherState | None:
    """What :meth:`PaperLedger.open` would read, without making or changing anything; None if the account is new.

    Raises what that would raise. If a daemon opens the file meanwhile, what is seen is not to be trusted.
    """
    if not path.exists():
        return None
    try:
        with closing(_connect_to_look(path)) as db:
            return _state(db, path, account) if is_made(db, path) else None
    except sqlite3.Error as error:
        raise translated(error, path) from error


def _connect_to_look(path: Path) -> sqlite3.Connection:
    """Where there is no write-ahead log SQLite would make one even to read; there, nobody has the file open."""
    alone = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True)


class Batch(Struct, frozen=True):
    """Rows of one act of the venue, ready to be written; ``label`` names the act at the kill points."""

    label: str
    entries: list[tuple[object, ...]]
    orders: list[tuple[object, ...]]
    positions: list[tuple[object, ...]]
    closed: list[tuple[str, str]]
    standing: bytes


class PaperLedger:
    """One account's file. ``point`` is told the names of the moments around each commit."""

    def __init__(self, path: Path, account: PaperAccount, point: Callable[[str], None] | None = None) -> None:
        self.path = path
        self._account = account
        self._point = point or _nowhere
        self._connection: sqlite3.Connection | None = None
        self._queued: deque[Batch] = deque()
        self._batches_queued = 0
        self._batches_durable = 0

    # --- opening and closing ---------------------------------------------------------------------------------------

    def open(self) -> MatcherState | None:
        """Open the file, making it if it is not there, and read the account's state; None if the account is new.

        Raises StoreUnavailable, StoreCorrupt, StoreTooNew, or DataError if the file belongs to another account.
        """
        try:
            self._connection = connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=5.0
            )
            finalize(self, connection.close)  # of a venue that has crashed nobody asks it
            self._queued.clear()
            self._batches_queued = self._batches_durable = 0
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._prepare(connection)
            return _state(connection, self.path, self._account)
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise translated(error, self.path) from error
            raise

    def close(self) -> None:
        """Let go of the file. What is queued and not written is lost, as by a kill."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if is_made(connection, self.path):
            return
        account = self._account
        standing = _encoder.encode(Standing())
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO account VALUES (1, ?, ?, ?, ?, ?)",
            (account.account, account.currency, int(account.hedging), standing, crc32(standing)),
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._point("paper.create.before_commit")
        connection.execute("COMMIT")
        self._point("paper.create.after_commit")

    # --- writing ---------------------------------------------------------------------------------------------------

    def queue(self, label: str, changes: Changes) -> None:
        """Hand over what was changed by one act; the next :meth:`flush` writes it."""
        batch = _batch(label, changes)
        self._batches_queued += 1
        self._queued.append(batch)

    @property
    def is_durable(self) -> bool:
        """Whether everything that was queued is on disk."""
        return self._batches_durable == self._batches_queued

    def flush(self) -> None:
        """Write everything that is queued, in one transaction.

        Raises StoreUnavailable or StoreCorrupt; then the file is closed, and so is every other flush whose batches
        went with this one refused, until :meth:`open` has read again what is really there.

        It runs in a thread of its own, and in the middle of it somebody may hand over more.
        """
        if not self._queued:
            if (
                not self.is_durable
            ):  # what is missing is being handed over at this moment, or went with a flush that failed
                self._open_connection()
            return
        connection = self._open_connection()
        batches: list[Batch] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            while self._queued:
                batch = self._queued.popleft()
                batches.append(batch)
                self._write(connection, batch)
            connection.execute(_PUT_STANDING, (batches[-1].standing, crc32(batches[-1].standing)))
            for label in _labels(batches):
                self._point(f"paper.{label}.before_commit")
            connection.execute("COMMIT")
        except BaseException as error:
            self.close()  # rolls back; after a failed commit nothing that this connection says can be believed
            if isinstance(error, sqlite3.Error):
                raise translated(error, self.path) from error
            raise
        self._batches_durable += len(batches)
        for label in _labels(batches):
            self._point(f"paper.{label}.after_commit")

    def _write(self, connection: sqlite3.Connection, batch: Batch) -> None:
        if batch.entries:
            connection.executemany(_ADD_ENTRY, batch.entries)
        if batch.orders:
            connection.executemany(_PUT_ORDER, batch.orders)
        if batch.positions:
            connection.executemany(_PUT_POSITION, batch.positions)
        if batch.closed:
            connection.executemany(_DROP_POSITION, batch.closed)

    # --- reading ---------------------------------------------------------------------------------------------------

    def entries(self, after: int, rows_max: int) -> list[VenueTransaction]:
        """The record after entry ``after``, ascending, at most ``rows_max`` entries."""
        rows = self._query(
            "SELECT sequence, payload, crc FROM transactions WHERE sequence > ? ORDER BY sequence LIMIT ?",
            after,
            rows_max,
        )
        found = [decoded(_entries, payload, crc, f"entry {sequence}", self.path) for sequence, payload, crc in rows]
        for expected, entry in enumerate(found, start=after + 1):
            if entry.sequence != expected:
                raise StoreCorrupt(f"{self.path}: entry {expected} of the record is missing")
        return found

    def latest_order(self, client_order_id: str) -> WorkingOrder | None:
        """The latest order with this client id, open or ended."""
        rows = self._query(
            "SELECT venue_order_id, payload, crc FROM orders WHERE client_order_id = ? ORDER BY id DESC LIMIT 1",
            client_order_id,
        )
        for key, payload, crc in rows:
            return decoded(_orders, payload, crc, f"order {key}", self.path)
        return None

    def _query(self, statement: str, *values: object) -> Iterable[tuple[object, bytes, int]]:
        try:
            return self._open_connection().execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable(f"{self.path} is not open")
        return self._connection


def is_made(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether there is a ledger in the file yet. Raises StoreTooNew, or StoreCorrupt for what is none."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreTooNew(f"{path} was written by a newer Tradekeel (its schema is {version}, ours {SCHEMA_VERSION})")
    if version == SCHEMA_VERSION:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreCorrupt(f"{path} is not a paper venue's ledger")
        return True
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreCorrupt(f"{path} is a database, but not a paper venue's ledger")
    return False


def _state(connection: sqlite3.Connection, path: Path, wanted: PaperAccount) -> MatcherState | None:
    """The state of the account that this ledger must be of; None if it is new."""
    row = connection.execute("SELECT name, currency, hedging FROM account").fetchone()
    if row is None:
        raise StoreCorrupt(f"{path}: the account is missing")
    name, currency, hedging = row
    if (name, currency, bool(hedging)) != (wanted.account, wanted.currency, wanted.hedging):
        raise DataError(
            f"{path} is the ledger of account {name} ({currency}, {_kind(bool(hedging))}), and the configuration says"
            f" {wanted.account} ({wanted.currency}, {_kind(wanted.hedging)}): change it back, or start afresh with --fresh"
        )
    return load_state(connection, path)


def load_state(connection: sqlite3.Connection, path: Path) -> MatcherState | None:
    """What the venue goes on with, every row checked; None if the account is new. Raises StoreCorrupt."""
    row = connection.execute("SELECT standing, crc FROM account").fetchone()
    if row is None:
        raise StoreCorrupt(f"{path}: the account is missing")
    payload, crc = row
    standing = decoded(_standings, payload, crc, "the account's standing", path)
    count, last = connection.execute("SELECT count(*), coalesce(max(sequence), 0) FROM transactions").fetchone()
    if not count == last == standing.sequence:
        raise StoreCorrupt(
            f"{path}: the record has {count} entries up to {last}, and the account stands at {standing.sequence}"
        )
    if not last:
        return None
    rows = connection.execute("SELECT venue_order_id, payload, crc FROM orders WHERE open = 1")
    orders = [decoded(_orders, payload, crc, f"order {key}", path) for key, payload, crc in rows]
    rows = connection.execute("SELECT instrument, payload, crc FROM positions")
    positions = [decoded(_positions, payload, crc, f"position {key}", path) for key, payload, crc in rows]
    orders.sort(key=lambda order: order.rank)
    positions.sort(key=lambda position: by_age((position.instrument, position.ref)))
    return MatcherState(standing=standing, orders=tuple(orders), positions=tuple(positions))


def decoded(decoder: msgspec.msgpack.Decoder[_T], payload: object, crc: object, what: str, path: Path) -> _T:
    """The content of one row; StoreCorrupt if it is not what was written."""
    if not isinstance(payload, bytes) or crc32(payload) != crc:
        raise StoreCorrupt(f"{path}: {what} is damaged (its checksum is wrong)")
    try:
        return decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"{path}: {what} cannot be read: {error}") from error


def _batch(label: str, changes: Changes) -> Batch:
    """Encode at once: orders go on changing after they are handed over."""
    entries: list[tuple[object, ...]] = []
    for entry in changes.transactions:
        payload = _encoder.encode(entry)
        entries.append(
            (entry.sequence, entry.kind.value, entry.client_order_id, entry.venue_order_id, payload, crc32(payload))
        )
    orders: list[tuple[object, ...]] = []
    for order in changes.orders:
        payload = _encoder.encode(order)
        orders.append((order.venue_order_id, order.client_order_id, int(order.is_open), payload, crc32(payload)))
    positions: list[tuple[object, ...]] = []
    for position in changes.positions:
        payload = _encoder.encode(position)
        positions.append((position.instrument, position.ref or "", payload, crc32(payload)))
    closed = [(symbol, ref or "") for symbol, ref in changes.closed]
    return Batch(label, entries, orders, positions, closed, _encoder.encode(changes.standing))


def _labels(batches: Sequence[Batch]) -> list[str]:
    return list(dict.fromkeys(batch.label for batch in batches))


def _kind(hedging: bool) -> str:
    return "hedging" if hedging else "netting"


def translated(error: sqlite3.Error, path: Path) -> StoreUnavailable | StoreCorrupt:
    """SQLite's complaint as ours: a file that is damaged, or one that cannot be used."""
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    if damaged:
        return StoreCorrupt(f"the paper venue's ledger {path} is damaged: {error}")
    return StoreUnavailable(f"the paper venue's ledger {path} cannot be used: {error}")


def _nowhere(name: str) -> None:
    """The kill point of a venue that nobody wants to kill."""
