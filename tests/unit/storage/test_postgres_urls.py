"""The URL of a database, as programs give it: what is refused, and that no password of it is ever shown."""

from __future__ import annotations

import logging

import pytest

from tradekeel.errors import InputError
from tradekeel.storage.postgres import Postgres

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u@h/?password={SECRET}",
        f"postgresql://u:{SECRET}@h/?sslpassword={SECRET}",
        f"mysql://u@h/d?password={SECRET}",
        f"mysql://u:{SECRET}@h/d",
        f"postgresql://h:{SECRET}/d",
        f"u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h:99999/d",
    ],
)
def test_what_is_no_url_of_a_database_is_refused_without_the_passwords_in_it(url: str) -> None:
    for books_url, replica_url in ((url, None), ("postgresql://u@h/d", url)):
        with pytest.raises(InputError, match=r"allowed.*postgresql://user:password@host:port/database") as failed:
            Postgres(books_url, replica_url=replica_url)
        assert SECRET not in str(failed.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u@h/d", "is no PostgreSQL"),
        ("postgresql://u@h", "names no database"),
        ("postgresql://u@h:99999/d", "its port is beyond 65535"),
    ],
)
def test_what_is_wrong_with_it_is_said(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Postgres(url)


def test_a_password_among_the_options_is_used_and_not_shown() -> None:
    books = Postgres(f"postgresql://u@h/d?password={SECRET}", replica_url=f"postgresql://u@i/d?password={SECRET}")
    assert SECRET not in f"{books} {books.described} {books.replica}"
    assert str(books) == "postgresql://u@h/d"


def test_what_the_driver_ignores_of_a_broken_connection_is_in_no_log_and_not_on_stderr(caplog, capfd):
    for name in ("psycopg", "psycopg.transaction"):
        logging.getLogger(name).warning("error ignored terminating <psycopg.Copy [BAD] %s>", "a row")
    assert caplog.records == []
    assert capfd.readouterr().err == ""
