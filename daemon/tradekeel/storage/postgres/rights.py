"""The role ``trading_adapter``: what daemons, scripts and readers may do, and nothing beyond it.

It cannot log in. A person makes a login role for each daemon or script and grants it this one (docs/postgresql.md); the schema
belongs to whoever migrates. The role is made, and its rights are set anew, whenever the schema is looked after: after a
migration, and at each ``tradekeel db upgrade``, so that a role which an administrator makes later gets them, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

SCHEMA = "trading"
ROLE = "trading_adapter"

_READ = "SELECT"
_ADD = "SELECT, INSERT"
_KEEP = "SELECT, INSERT, UPDATE"
_PRUNE = "SELECT, INSERT, DELETE"
_ALL = "SELECT, INSERT, UPDATE, DELETE"

TABLE_RIGHTS = {
    "journal": _ADD,  # append only: nobody but the owner even asks its triggers
    "executions": _KEEP,
    "strategies": _ALL,
    "strategy_events": _ADD,
    "signals": _KEEP,
    "trades": _KEEP,
    "orders": _KEEP,
    "fills": _PRUNE,
    "performance_snapshots": _ADD,
    "parameter_history": _ADD,
    "venue_cursors": _KEEP,
    "metrics_checkpoints": _PRUNE,
    "checkpoints": _PRUNE,
    "tasks": _ALL,
    "task_executions": _ALL,
    "position_notes": _ALL,
    "leases": _ALL,
    "journal_archives": _READ,  # the owner archives
    "migration_history": _READ,
    "alembic_version": _READ,
    "positions": _READ,  # a view
}
"""What the role may do with each table; a test holds this to the tables that there are."""

_MAKE_ROLE = f"""
DO $do$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = '{ROLE}') THEN
        BEGIN
            CREATE ROLE {ROLE} NOLOGIN;
        EXCEPTION
            WHEN insufficient_privilege THEN NULL;
            WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server was quicker
        END;
    END IF;
END
$do$
"""  # noqa: S608  # a constant

_RELATIONS = (
    "SELECT c.relname, c.relkind FROM pg_catalog.pg_class c WHERE c.relnamespace = "  # noqa: S608  # a constant
    f"'{SCHEMA}'::regnamespace AND c.relkind IN ('r', 'v', 'S') ORDER BY 1"
)

WITHOUT_ROLE = (
    f"there is no role {ROLE} on the server, and this user may not make one: only the owner of the schema can use it. As an "
    f"administrator run CREATE ROLE {ROLE} NOLOGIN, then `tradekeel db upgrade` again, which gives it its rights."
)


_IS_OWNER = f"SELECT pg_has_role(nspowner, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = '{SCHEMA}'"  # noqa: S608


def set_rights(connection: Connection) -> tuple[str, ...]:
    """Make the role where this user may, and give it exactly its rights; what a person should know of that.

    Nothing is done by one who does not own the schema.
    """
    if not connection.exec_driver_sql(_IS_OWNER).scalar():
        return ()
    connection.exec_driver_sql(_MAKE_ROLE)
    if connection.exec_driver_sql(f"SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = '{ROLE}'").first() is None:  # noqa: S608
        return (WITHOUT_ROLE,)
    for statement in _statements(connection):
        connection.exec_driver_sql(statement)
    return ()


def _statements(connection: Connection) -> list[str]:
    relations = [tuple(row) for row in connection.exec_driver_sql(_RELATIONS)]
    statements = [f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROLE}"]
    for name, kind in relations:
        if kind == "S":
            statements.append(f"GRANT USAGE ON SEQUENCE {SCHEMA}.{name} TO {ROLE}")
        else:
            statements.append(f"REVOKE ALL ON {SCHEMA}.{name} FROM {ROLE}")
            if name in TABLE_RIGHTS:
                statements.append(f"GRANT {TABLE_RIGHTS[name]} ON {SCHEMA}.{name} TO {ROLE}")
    statements.append(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} TO {ROLE}")
    return statements
