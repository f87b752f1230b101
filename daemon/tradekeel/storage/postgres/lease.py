"""Who may write for an account: one daemon at a time, for as long as it is heard of.

Each account that a daemon trades has a row in ``leases``: the daemon's name, its holder (see :class:`Holder`), the epoch (one
more with every start), the number of the holder's last batch, and until when the lease runs, by the server's clock. Every
transaction writes its batch number there and renews the lease, if it is still ours; so a writer that was taken for dead and is
not can change nothing, and after a lost connection the number tells whether its last transaction was done.

**A restart** takes what an earlier run of its installation has left, and what waits in its spool fits: nobody else has written.
Where that run was in this very directory it is over, since we hold the directory; so there is nothing to wait for. Where it
was not, the directory was moved, or there are two of it, and the other one may be trading: its lease is waited out, and whoever
renews it meanwhile is alive. A daemon that was taken over from by a copy of itself is told so like by any other's: its run is not
the one that stands there.

The lock that belongs to it is held by each connection for as long as it lasts. Who has it knows that no transaction of an earlier
connection can become durable any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import AlreadyRunning, Defect, LeaseLost, StoreCorrupt
from tradekeel.storage.backend import Connection
from tradekeel.storage.whose import A_DAEMONS

NOW_NS = "(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"
LOCK_CLASS = 0x6B65656C  # "keel": our advisory locks of one daemon each
YIELDS = "yields"


class Holder(Struct, frozen=True, kw_only=True):
    """Which process of which installation has a lease. The host is for people: its name may change with every start."""

    host: str
    installation: str  # the same after a restart and in a copy of the state directory, another one for a standby
    place: str  # of the state directory: the same after a restart, another one for a copy
    run: str  # of the process
    yields: bool = False  # whether it ends with its lease, since somebody stands by

    def __str__(self) -> str:
        words = (self.host, self.installation, self.place, self.run)
        return "/".join((*words, YIELDS) if self.yields else words)

    @classmethod
    def of(cls, text: str) -> Holder:
        """What stands in a row. What does not say its installation (a script) is nobody's."""
        host, installation, place, run, yields, *_ = (*text.split("/"), "", "", "", "")
        return cls(host=host, installation=installation, place=place, run=run, yields=yields == YIELDS)


class Writer(Struct, frozen=True, kw_only=True):
    """A daemon as it appears to the server."""

    daemon: str
    holder: Holder
    accounts: tuple[str, ...]
    lease_ns: int
    standby: bool = False  # whether it waits to take over, and need not be told of that


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
    rows: int  # how many leases there are: one for each account


class _Row(Struct, frozen=True):
    account: str
    daemon: str
    holder: Holder
    epoch: int
    batch: int
    left_ns: int
    until_ns: int  # UTC, by the server's clock

    def is_of(self, writer: Writer) -> bool:
        """Whether a run of the same installation has written it, be it in a copy of the directory."""
        return (self.daemon, self.holder.installation) == (writer.daemon, writer.holder.installation)

    def is_over(self, writer: Writer) -> bool:
        """Whether that run is known to have ended, or its lease has."""
        return self.left_ns <= 0 or self.holder.run == writer.holder.run or self.holder.place == writer.holder.place


def _rows(db: Connection, writer: Writer, lock: str = "") -> list[_Row]:
    marks = ", ".join("?" * len(writer.accounts))
    return [
        _Row(account, daemon, Holder.of(holder), *numbers)
        for account, daemon, holder, *numbers in db.execute(
            f"SELECT account, daemon, holder, epoch, batch, until_ns - {NOW_NS}, until_ns FROM leases "  # noqa: S608  # a constant
            f"WHERE account IN ({marks}) OR daemon = ? ORDER BY account {lock}",
            (*writer.accounts, writer.daemon),
        ).fetchall()
    ]


def waited_for(db: Connection, writer: Writer) -> list[tuple[str, int, int]]:
    """Leases of our installation that may be those of a process that is alive: on which host, epoch and batch.

    Where epoch or batch change, it is.
    """
    rows = [row for row in _rows(db, writer) if row.is_of(writer) and not row.is_over(writer)]
    return [(row.holder.host, row.epoch, row.batch) for row in rows]


def refuse_others(db: Connection, writer: Writer, *, waiting: bool, again: bool = False, lock: str = "") -> list[_Row]:
    """Raises AlreadyRunning where somebody else holds one of the writer's accounts, naming who and how long yet.

    ``waiting`` says that batches wait on this side: then nobody else may have written since, or it is StoreCorrupt. ``again``
    says that this process has had the leases: then another run of its installation is somebody else. Gives what there is of
    the accounts, under the ``lock``.

    A start with batches of accounts that have all been taken over hears that at once: who stood by with those would find out
    when he is needed.
    """
    rows = _rows(db, writer, lock)
    is_left_out = waiting and not again and not any(row.is_of(writer) for row in rows)
    for row in rows:
        is_ours = row.is_of(writer) and (row.holder.run == writer.holder.run if again else row.is_over(writer))
        if not is_ours:
            _refuse(row, writer, waiting, is_left_out)
    return rows


def acquire(db: Connection, writer: Writer, *, waiting: bool, again: bool = False) -> Lease:
    """Take the leases of all accounts of a writer, within the open transaction. Raises as :func:`refuse_others`.

    An account that it had and has no more is given back, unless batches wait here, which may be about that one.
    """
    rows = refuse_others(db, writer, waiting=waiting, again=again, lock="FOR UPDATE")
    ours = [row for row in rows if row.is_of(writer)]
    known = {row.account for row in rows}
    had = {row.account for row in ours if row.until_ns}
    accounts = {*writer.accounts, *had} if waiting else {*writer.accounts}
    for account in had - accounts:
        db.execute("UPDATE leases SET until_ns = 0 WHERE account = ?", (account,))
    lease = Lease(
        max((row.epoch for row in rows), default=0) + 1,
        max((row.batch for row in ours or rows), default=0),
        len(accounts),
    )
    for account in accounts:
        values = (writer.daemon, str(writer.holder), lease.epoch, lease.batch, writer.lease_ns)
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


def _refuse(row: _Row, writer: Writer, waiting: bool, is_left_out: bool) -> None:
    """Somebody else's row: it may be taken over when its time is up, and nothing of ours waits for an earlier state."""
    who, instead = f"daemon {row.daemon} on {row.holder.host}", ""
    if row.is_of(writer):
        who += ", whose state directory is a copy of ours, or ours of it"
    elif row.account not in writer.accounts:
        who += " (another one of our name, while on one server each needs a name of its own: set name in [daemon])"
    elif not writer.standby:
        instead = (
            ". If this one is to take over when that one ends, set storage.standby = true at both; else give each a name and "
            "accounts of its own"
        )
    elif not row.holder.yields:
        instead = (
            ". It does not end with its lease: set storage.standby = true there, too, or it is never taken over from"
        )
    if row.left_ns > 0 and not is_left_out:
        raise AlreadyRunning(
            f"account {row.account} is traded by {who}, whose lease runs for another {row.left_ns / NS_PER_S:.0f} s after its "
            f"last word, until {_utc(row.until_ns)} by the server's clock: stop it there, or wait{instead}"
        )
    if waiting:
        raise StoreCorrupt(
            f"batches wait in the spool here, and meanwhile {who} has written for account {row.account}: what waits no longer "
            "fits. Compare both with the venue (`tradekeel verify`), then move the folder spool away."
        )
    if writer.standby and row.until_ns and not (row.holder.yields or row.is_of(writer)):
        # Nobody has decided that it is over: it may only have lost the server, and trade on.
        raise AlreadyRunning(
            f"account {row.account} was traded by {who}, which has not given its lease back, and does not end with it, because "
            "storage.standby is not set there: it may trade on without the server. Set it there, too; or, where it has ended for "
            "certain, start this one once without it"
        )


UNFINISHED = f"SELECT 1 FROM executions WHERE account = ? AND status = 'running' AND {A_DAEMONS} LIMIT 1"  # noqa: S608
"""Whether an account has a run that a daemon goes on with."""


def ended_silently(books: str, account: str, daemon: str, holder: str) -> str:
    """Why nobody writes into an unfinished run whose daemon is not heard of any more, and has not given its lease back."""
    return (
        f"{books}: daemon {daemon} on {Holder.of(holder).host} has ended without letting go of account {account}, and what it "
        "has acknowledged may still wait in its state directory: what is written before it would leave no place for that. Start "
        "the daemon again, and stop it if it is not to run; where its machine is lost, start one for the account elsewhere"
    )


def _utc(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}"


def mark(db: Connection, writer: Writer, lease: Lease, batch: int) -> Callable[[], None]:
    """Note a batch and renew the leases, within the transaction of the batch: all of them, or none of it is done.

    What it gives is called when the answer is there, and raises LeaseLost, or Defect for a wrong number.
    """
    answer = db.execute(
        f"UPDATE leases SET batch = ?, until_ns = {NOW_NS} + ? "  # noqa: S608  # a constant
        "WHERE daemon = ? AND holder = ? AND epoch = ? AND batch = ?",
        (batch, writer.lease_ns, writer.daemon, str(writer.holder), lease.epoch, batch - 1),
    )
    return lambda: None if answer.rowcount == lease.rows else _refuse_batch(db, writer, lease, batch, answer.rowcount)


def _refuse_batch(db: Connection, writer: Writer, lease: Lease, batch: int, marked: int) -> None:
    ours = (writer.daemon, str(writer.holder), lease.epoch)
    before = 0
    for account in writer.accounts:
        row = db.execute("SELECT daemon, holder, epoch, batch FROM leases WHERE account = ?", (account,)).fetchone()
        if row is None or tuple(row[:3]) != ours:
            held = "nobody" if row is None else f"daemon {row[0]} on {Holder.of(row[1]).host} (epoch {row[2]})"
            raise LeaseLost(f"account {account} belongs to {held} now: our lease (epoch {lease.epoch}) was taken over")
        before = row[3]
    if marked:
        raise LeaseLost(f"the lease (epoch {lease.epoch}) of an account that we traded before was taken over")
    raise Defect(f"batch {batch} follows batch {before} at the server")


def release(db: Connection, writer: Writer, lease: Lease) -> None:
    """Give the leases back, so that another may begin at once."""
    db.execute(
        "UPDATE leases SET until_ns = 0 WHERE daemon = ? AND holder = ? AND epoch = ?",
        (writer.daemon, str(writer.holder), lease.epoch),
    )


def try_lock(db: Connection, daemon: str) -> bool:
    """Take the lock that each connection of this daemon holds until it ends; whether it was free."""
    return bool(db.execute("SELECT pg_try_advisory_lock(?::int, hashtext(?))", (LOCK_CLASS, daemon)).fetchone()[0])


def holders_of_lock(db: Connection, daemon: str) -> Sequence[int]:
    """The server's processes that hold it. In another database of that server the same name is another daemon's."""
    rows = db.execute(
        "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND classid::bigint = ? "
        "AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) "
        "AND objid::bigint = hashtext(?)::bigint & 4294967295 AND granted AND pid <> pg_backend_pid()",
        (LOCK_CLASS, daemon),
    )
    return [pid for (pid,) in rows]
