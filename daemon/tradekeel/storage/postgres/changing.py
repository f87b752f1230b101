"""Changing a schema on a server: alone with it, with the rights for it, and with nobody writing meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import DBAPIError

from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import StoreBlocked, StoreDenied, StoreHeld, StoreUnavailable
from tradekeel.storage.postgres.lease import LOCK_CLASS, NOW_NS, Holder
from tradekeel.storage.postgres.rights import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from tradekeel.storage.backups import Heed

MIGRATION_LOCK = 0x7472_6164_696E_6700  # "trading": one migration at a time, whoever runs it

WAIT_S = 1
"""So long is waited for whoever migrates, before a sign is given that we still wait …"""

WAITS_MAX = 3_600
"""… and so often: an hour."""


def wait_until_alone(connection: Connection, goes_on: Callable[[], object], heed: Heed) -> None:
    """Hold the lock of migrations until the transaction ends, and see that the schema is there. ``heed`` may end the waiting."""
    for _ in range(WAITS_MAX):
        heed()
        goes_on()
        if _locked(connection):
            break
    else:
        raise StoreBlocked(
            f"somebody else has been migrating for {WAITS_MAX * WAIT_S:,} s: look at pg_stat_activity, and try again"
        )
    if connection.exec_driver_sql(f"SELECT to_regnamespace('{SCHEMA}')").scalar() is None:
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")


def _locked(connection: Connection) -> bool:
    """Whether the lock came within a moment."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_S}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
    except DBAPIError as error:
        if isinstance(error.orig, LockNotAvailable):
            return False
        raise
    connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
    return True


def refuse_without_rights(execute: Any, place: str) -> None:
    """StoreDenied where the tables belong to somebody else."""
    user, exists = execute(f"SELECT current_user, to_regnamespace('{SCHEMA}') IS NOT NULL").fetchone()
    if not exists:
        allowed = execute("SELECT has_database_privilege(current_database(), 'CREATE')").fetchone()[0]
        owners = "" if allowed else "may not make a schema in this database"
    else:
        rows = execute(
            "SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c "  # noqa: S608  # a constant
            f"WHERE c.relnamespace = '{SCHEMA}'::regnamespace AND c.relkind IN ('r', 'v', 'S') "
            "AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1"
        ).fetchall()
        owners = (
            ", ".join(owner for (owner,) in rows) and f"does not own the tables ({', '.join(o for (o,) in rows)} does)"
        )
    if owners:
        raise StoreDenied(
            f"{place}: the schema is to be changed, and the user {user} {owners}. Nothing was changed: run "
            "`tradekeel db upgrade` as the owner; the daemon then needs no more than the role trading_adapter."
        )


def refuse_all_but_owner(execute: Any, place: str) -> None:
    """StoreDenied where the schema belongs to somebody else, with what to do."""
    row = execute(
        "SELECT current_user, pg_get_userbyid(n.nspowner) FROM pg_catalog.pg_namespace n "  # noqa: S608  # a constant
        f"WHERE n.nspname = '{SCHEMA}' AND NOT pg_has_role(n.nspowner, 'USAGE')"
    ).fetchone()
    if row is not None:
        raise StoreDenied(
            f"{place}: the user {row[0]} may not do that. Nothing was changed: run this as the owner of the schema ({row[1]})."
        )


def refuse_beside_writers(execute: Any, place: str, ours: str) -> None:
    """StoreHeld while daemons write: each of their connections holds a lock, and whoever has lost it comes back under its lease.

    ``ours`` is the place of our own state directory, if it is known: what an earlier run there has held is over.
    """
    locks = execute(
        "SELECT DISTINCT l.objid::bigint FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' "  # noqa: S608  # a constant
        f"AND l.classid::bigint = {LOCK_CLASS} AND l.granted "
        "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
    ).fetchall()
    leases: list[tuple[str, str, int, bool]] = []
    if execute(f"SELECT to_regclass('{SCHEMA}.leases') IS NOT NULL").fetchone()[0]:
        listed = ", ".join(str(number) for (number,) in locks) or "NULL"
        leases = execute(
            f"SELECT daemon, holder, until_ns - {NOW_NS}, hashtext(daemon)::bigint & 4294967295 IN ({listed}) "  # noqa: S608
            f"FROM {SCHEMA}.leases ORDER BY daemon"
        ).fetchall()
    if locks:
        names = dict.fromkeys(daemon for daemon, _, _, locked in leases if locked)
        who = f"daemon {', '.join(names)} writes" if names else f"{len(locks)} daemons write"
    else:
        left_ns = {
            name: left
            for name, holder, left, _ in leases
            if left > 0 and not (ours and Holder.of(holder).place == ours)
        }
        if not left_ns:
            return
        held = (
            f"daemon {name}, whose lease runs for another {left / NS_PER_S:.0f} s," for name, left in left_ns.items()
        )
        who = f"{' and '.join(held)} may write"
    raise StoreHeld(
        f"{place}: the schema is to be changed, and {who} there. Nothing was changed: stop every daemon that uses these books, "
        "and begin them again afterwards."
    )


def refuse_replaced(execute: Any, place: str, doing: str) -> None:
    """StoreUnavailable where the tables are no more those that this transaction has begun to look at.

    It sees their rows as they were; but their names lead to what bears them by now, and of that it sees no row: a restore or a
    migration beside it would make it tell of empty tables.
    """
    changed = execute(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "  # noqa: S608
        f"WHERE n.nspname = '{SCHEMA}' AND c.relkind = 'r' AND (to_regclass('{SCHEMA}.' || c.relname)::oid "
        "IS DISTINCT FROM c.oid OR pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode) LIMIT 1"
    ).fetchone()
    if changed is not None:
        raise StoreUnavailable(
            f"{place}: {doing}: meanwhile somebody has put other tables in the place of those that were read (a restore, a "
            "migration), so it would not be of one moment. Do it again."
        )


def size_of(execute: Any) -> int:
    """Bytes of all rows, as they lie on the server: a compressed copy has fewer."""
    row = execute(
        "SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c "  # noqa: S608  # a constant
        f"WHERE c.relnamespace = to_regnamespace('{SCHEMA}') AND c.relkind = 'r'"
    ).fetchone()
    return int(row[0])
