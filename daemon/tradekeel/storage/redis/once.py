"""One question to a Redis server where there is no event loop: what must be known before anything is started."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from tradekeel.storage.redis.client import RedisSettings, make_blocking_client, where_is
from tradekeel.storage.redis.server import Word
from tradekeel.storage.redis.words import in_our_words


def ask_once(settings: RedisSettings, doing: str, *command: Word) -> Any:
    """The answer to one command that changes nothing, with nothing decoded; blocks for at most the deadline for each step.

    Raises StoreAway, StoreUnanswered, StoreRefused, or InputError where the settings make no sense.
    """
    client = make_blocking_client(settings)
    from redis.exceptions import RedisError

    with closing(client):
        try:
            return client.execute_command(*command)
        except (RedisError, OSError) as error:
            where = where_is(settings)
            raise in_our_words(error, where=where, doing=doing, asked=False, deadline_s=settings.deadline_s) from error
