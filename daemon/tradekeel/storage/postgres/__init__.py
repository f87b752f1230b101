"""Books on a PostgreSQL server, in a schema of their own (``trading``)."""

from tradekeel.storage.postgres.backend import Limits, Postgres
from tradekeel.storage.postgres.rights import SCHEMA

__all__ = ["SCHEMA", "Limits", "Postgres"]
