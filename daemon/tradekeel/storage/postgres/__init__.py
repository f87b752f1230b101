"""Books on a PostgreSQL server, in a schema of their own (``trading``)."""

import logging

from tradekeel.storage.postgres.backend import Limits, Postgres
from tradekeel.storage.postgres.rights import SCHEMA
from tradekeel.storage.tables import say_conditions_to_postgresql

say_conditions_to_postgresql()

# The driver warns of what it ignores while it lets go of a broken connection, and shows a command with the rows in it. What went
# wrong with that connection is raised, and said in our words.
logging.getLogger("psycopg").setLevel(logging.ERROR)

__all__ = ["SCHEMA", "Limits", "Postgres"]
