"""What all tables belong to: one set of names for constraints and indexes, whatever the database."""

from __future__ import annotations

from sqlalchemy import MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def say_conditions_to_postgresql() -> None:
    """An index of some rows says to PostgreSQL's dialect, too, which: what SQLite's was told.

    Naming that dialect where the index is made would load it, for 30 ms and megabytes, also in a daemon whose books are a file.
    """
    for table in metadata.tables.values():
        for index in table.indexes:
            condition = index.dialect_kwargs.get("sqlite_where")
            if condition is not None:
                index.dialect_kwargs["postgresql_where"] = condition
