"""Books on a PostgreSQL server, in a schema of their own (``trading``)."""

from tradekeel.storage.postgres.backend import SCHEMA, Limits, Postgres

__all__ = ["SCHEMA", "Limits", "Postgres"]
