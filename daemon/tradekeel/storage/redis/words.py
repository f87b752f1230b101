"""What Redis and redis-py say, in our words: what happened, where, and what to do."""

from __future__ import annotations

from tradekeel.errors import StoreAway, StoreError, StoreRefused, StoreUnanswered, UserRefused

_NOT_NOW = {
    "LOADING": "it is loading its data. It serves when it has.",
    "READONLY": "it is a replica, which takes no writes. Name the primary, or wait for the failover to end.",
    "MASTERDOWN": "it is a replica that has lost its primary. Bring that back.",
    "CLUSTERDOWN": "its cluster is down. Bring it back.",
    "TRYAGAIN": "its cluster is moving the keys. It serves when it has.",
    "MISCONF": "it takes no writes, because it cannot save them to its disk. Look at its log and its disk.",
    "NOREPLICAS": "it takes no writes, because too few of its replicas are there. Bring them back.",
    "BUSY": "a script keeps it busy. Look at its log.",
}
"""Answers that say that it does not serve at this moment."""

_NEVER = {
    "OOM": "it is full (maxmemory). Make room, or allow it more.",
    "WRONGTYPE": "what is there is of another kind. Somebody else uses our keys: look with TYPE, and delete or move it.",
    "EXECABORT": "it took back a transaction.",
}
"""Answers that stay the same until a person changes something."""

_NOT_YOU = {
    "NOPERM": "a right is missing. docs/redis.md says which the user needs.",
    "NOAUTH": "it wants a user and a password. Give both.",
    "WRONGPASS": "it does not take this user and password. Correct them.",
}
"""And those that another user would not get."""

CODES = frozenset({*_NOT_NOW, *_NEVER, *_NOT_YOU})


def in_our_words(error: Exception, *, where: str, doing: str, asked: bool, deadline_s: float) -> StoreError:
    """The store error that an error of redis-py, of the system, or a deadline means.

    ``asked`` says whether the command may have left: only then can it have been done.
    """
    from redis import exceptions as redis

    code = code_of(error)
    if code in _NOT_NOW:
        return StoreAway(f"{where} does not serve ({doing}: {error}): {_NOT_NOW[code]} Nothing was changed.")
    if code in _NEVER:
        return StoreRefused(f"{where} refused {doing} ({error}): {_NEVER[code]}")
    if isinstance(error, redis.AuthenticationError | redis.AuthorizationError):
        code = "NOAUTH" if "required" in str(error) else "WRONGPASS"  # redis-py has taken the word away
    if code in _NOT_YOU:
        return UserRefused(f"{where} refused {doing} ({error}): {_NOT_YOU[code]}")
    if isinstance(error, redis.ResponseError):
        return StoreRefused(f"{where} refused {doing}: {error}")
    late = isinstance(error, TimeoutError)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError) or late:
        said = f"no answer within {deadline_s:g} s" if late else str(error)
        if asked:
            return StoreUnanswered(
                f"{where} was asked and did not answer ({doing}: {said}). It may have been done, and is not asked again. "
                "Look at the server and the network."
            )
        return StoreAway(
            f"{where} cannot be reached ({doing}: {said}). Nothing was changed. Start it, or mend the network."
        )
    return StoreRefused(f"{where} answered {doing} with what no Redis says ({error}). Look at what listens there.")


def code_of(error: Exception) -> str:
    """The word that Redis's answer began with, or nothing: redis-py takes the words that it knows away."""
    from redis import exceptions as redis

    by_class = {
        redis.BusyLoadingError: "LOADING",
        redis.ReadOnlyError: "READONLY",
        redis.MasterDownError: "MASTERDOWN",
        redis.ClusterDownError: "CLUSTERDOWN",
        redis.TryAgainError: "TRYAGAIN",
        redis.OutOfMemoryError: "OOM",
        redis.NoPermissionError: "NOPERM",
        redis.ExecAbortError: "EXECABORT",
    }
    for kind, code in by_class.items():
        if isinstance(error, kind):
            return code
    if not isinstance(error, redis.ResponseError):
        return ""
    word = str(error).partition(" ")[0]
    return word if word in CODES else ""
