"""Who may write for an account: one daemon at a time, for as long as it is heard of.

Each account that a daemon trades has a row in ``leases``: the daemon's name, its holder (the installation, which a
restart does not change), the epoch (one more with every start), the number of the holder's last batch, and until when the lease
runs, by the server's clock. Every transaction writes its batch number there and renews the lease, if it is still ours; so a
writer that was taken for dead and is not can change nothing, and after a lost connection the number tells whether its last
transaction was done.

The lock that belongs to it is held by each connection for as long as it lasts. Who has it knows that no transaction of an earlier
connection can become durable any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from tradekeel.errors import AlreadyRunning, Defect, LeaseLost, StoreCorrupt
from tradekeel.storage.backend import Connection

NOW_NS = "(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"
LOCK_CLASS = 0x6B65656C  # "keel": our advisory locks of one daemon each
NS_PER_S = 1_000_000_000


class Writer(Struct, frozen=True, kw_only=True):
    """A daemon as it appears to the server."""

    daemon: str
    holder: str  # host and installation: the same after a restart, another one for a standby
    accounts: tuple[str, ...]
    lease_ns: int


class Term(Struct, frozen=True):
    """How long a lease is ours for certain, by clocks of our own that were read before the server was asked for it.

    The wall clock may be set back, and the monotonic one stands still while the machine sleeps: whichever ends it first does.
    """

    began_ns: int  # UTC
    began_monotonic_ns: int
    lease_ns: int

    def left_ns(self, now_ns: int, monotonic_ns: int) -> int:
        """How much of it is left; 0 or less when it is over."""
        return self.lease_ns - max(now_ns - self.began_ns, monotonic_ns - self.began_monotonic_ns)


class Lease(Struct, frozen=True):
    """What was taken."""

    epoch: int
    batch: int  # the number of the writer's last transaction


class _Row(Struct, frozen=True):
    account: str
    daemon: str
    holder: str
    epoch: int
    batch: int
    left_ns: int


def refuse_others(db: Connection, writer: Writer, *, waiting: bool) -> list[_Row]:
    """Raises AlreadyRunning where somebody else holds one of the writer's accounts, naming who and how long yet.

    ``waiting`` says that batches wait on this side: then nobody else may have written since, or it is StoreCorrupt. Gives what
    there is of the accounts, locked until the transaction ends.
    """
    marks = ", ".join("?" * len(writer.accounts))
    rows = [
        _Row(*values)
        for values in db.execute(
            f"SELECT account, daemon, holder, epoch, batch, until_ns - {NOW_NS} FROM leases "  # noqa: S608  # a constant
            f"WHERE account IN ({marks}) OR daemon = ? ORDER BY account FOR UPDATE",
            (*writer.accounts, writer.daemon),
        ).fetchall()
    ]
    for row in rows:
        if row.holder != writer.holder or row.daemon != writer.daemon:
            _refuse(row, waiting)
    return rows


def acquire(db: Connection, writer: Writer, *, waiting: bool) -> Lease:
    """Take the leases of all accounts of a writer, within the open transaction. Raises as :func:`refuse_others`."""
    rows = refuse_others(db, writer, waiting=waiting)
    ours = [row for row in rows if row.holder == writer.holder and row.daemon == writer.daemon]
    lease = Lease(
        max((row.epoch for row in rows), default=0) + 1,
        max((row.batch for row in ours or rows), default=0),
    )
    known = {row.account for row in rows}
    for account in {*writer.accounts, *known}:
        values = (writer.daemon, writer.holder, lease.epoch, lease.batch, writer.lease_ns)
        if account in known:
            db.execute(
                f"UPDATE leases SET daemon = ?, holder = ?, epoch = ?, batch = ?, since_ns = {NOW_NS}, "  # noqa: S608
                f"until_ns = {NOW_NS} + ? WHERE account = ?",
                (*values, account),
            )
        else:
            db.execute(
                "INSERT INTO leases (daemon, holder, epoch, batch, since_ns, until_ns, account) "  # noqa: S608
                f"VALUES (?, ?, ?, ?, {NOW_NS}, {NOW_NS} + ?, ?)",
                (*values, account),
            )
    return lease


def _refuse(row: _Row, waiting: bool) -> None:
    """Somebody else's row: it may be taken over when its time is up, and nothing of ours waits for an earlier state."""
    if row.left_ns > 0:
        raise AlreadyRunning(
            f"account {row.account} is traded by daemon {row.daemon} on {row.holder}, whose lease runs for another "
            f"{row.left_ns / NS_PER_S:.0f} s after its last word: stop it there, or wait"
        )
    if waiting:
        raise StoreCorrupt(
            f"batches wait in the spool here, and meanwhile daemon {row.daemon} on {row.holder} has written for account "
            f"{row.account}: what waits no longer fits. Compare both with the venue (`tradekeel verify`), then move the folder "
            "spool away."
        )


def mark(db: Connection, writer: Writer, lease: Lease, batch: int) -> Callable[[], None]:
    """Note a batch and renew the lease, within the transaction of the batch.

    What it gives is called when the answer is there, and raises LeaseLost, or Defect for a wrong number.
    """
    answer = db.execute(
        f"UPDATE leases SET batch = ?, until_ns = {NOW_NS} + ? "  # noqa: S608  # a constant
        "WHERE daemon = ? AND holder = ? AND epoch = ? AND batch = ?",
        (batch, writer.lease_ns, writer.daemon, writer.holder, lease.epoch, batch - 1),
    )
    return lambda: None if answer.rowcount else _refuse_batch(db, writer, lease, batch)


def _refuse_batch(db: Connection, writer: Writer, lease: Lease, batch: int) -> None:
    row = db.execute(
        "SELECT daemon, holder, epoch, batch FROM leases WHERE account = ?", (writer.accounts[0],)
    ).fetchone()
    if row is not None and tuple(row[:3]) == (writer.daemon, writer.holder, lease.epoch):
        raise Defect(f"batch {batch} follows batch {row[3]} at the server")
    held = "nobody" if row is None else f"daemon {row[0]} on {row[1]} (epoch {row[2]})"
    raise LeaseLost(
        f"account {writer.accounts[0]} belongs to {held} now: our lease (epoch {lease.epoch}) was taken over"
    )


def release(db: Connection, writer: Writer, lease: Lease) -> None:
    """Give the leases back, so that another may begin at once."""
    db.execute(
        "UPDATE leases SET until_ns = 0 WHERE daemon = ? AND holder = ? AND epoch = ?",
        (writer.daemon, writer.holder, lease.epoch),
    )


def try_lock(db: Connection, daemon: str) -> bool:
    """Take the lock that each connection of this daemon holds until it ends; whether it was free."""
    return bool(db.execute("SELECT pg_try_advisory_lock(?::int, hashtext(?))", (LOCK_CLASS, daemon)).fetchone()[0])


def holders_of_lock(db: Connection, daemon: str) -> Sequence[int]:
    """The server's processes that hold it."""
    rows = db.execute(
        "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND classid::bigint = ? "
        "AND objid::bigint = hashtext(?)::bigint & 4294967295 AND granted AND pid <> pg_backend_pid()",
        (LOCK_CLASS, daemon),
    )
    return [pid for (pid,) in rows]
