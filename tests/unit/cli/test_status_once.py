"""What a driver says of a server that is away is long, and stands in the status once."""

from __future__ import annotations

from typing import Any

import psycopg

from tradekeel.cli.status import with_each_complaint_once
from tradekeel.storage.postgres.words import in_our_words

LIBPQ = (
    'connection failed: connection to server at "127.0.0.1", port 5432 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?"
)
PLACE = "postgresql://u@127.0.0.1:5432/books"


def said(doing: str) -> str:
    return str(in_our_words(psycopg.OperationalError(LIBPQ), PLACE, doing))


def test_the_question_is_asked_once() -> None:
    assert said("reading it") == (
        f'{PLACE} cannot be reached (reading it: connection failed: connection to server at "127.0.0.1", port 5432 failed: '
        "Connection refused). Is the server running, and the address right?"
    )


def test_the_status_says_it_once_and_what_else_is_said_stays() -> None:
    status: dict[str, Any] = {
        "name": "n",
        "doing": "",
        "problem": said("reading it"),
        "store": {"reason": said("writing"), "batches_waiting": 3},
        "redis": None,
        "accounts": [],
        "reported": [{"latch_reason": f"halted: {said('writing')}"}],
        "feeds": {},
        "alerts": [f"{said('asking')} (at 2026-01-01T00:00:00Z)", "another one"],
    }
    shown = with_each_complaint_once(status)
    assert repr(shown).count("Connection refused") == 1
    assert shown["problem"] == status["problem"]
    assert shown["store"] == {"reason": f"{PLACE} cannot be reached (writing: see above)", "batches_waiting": 3}
    assert shown["reported"] == [{"latch_reason": f"halted: {PLACE} cannot be reached (writing: see above)"}]
    assert shown["alerts"] == [
        f"{PLACE} cannot be reached (asking: see above) (at 2026-01-01T00:00:00Z)",
        "another one",
    ]
