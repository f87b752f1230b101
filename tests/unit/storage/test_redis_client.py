"""How clients of Redis are made: from an address that is checked, without retries, with deadlines, telling nobody who we are."""

from __future__ import annotations

import pytest
from msgspec import structs

from tradekeel.errors import InputError, StoreAway, StoreRefused, StoreUnanswered, UserRefused
from tradekeel.storage.redis.client import RedisSettings, blocking_twin, make_client, where_is
from tradekeel.storage.redis.words import in_our_words


def arguments(url: str, **fields: object) -> dict[str, object]:
    return dict(make_client(RedisSettings(url=url, **fields)).connection_pool.connection_kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0, "username": None, "password": None}),
        ("redis://h:7000/3", {"host": "h", "port": 7000, "db": 3}),
        ("redis://h?db=4", {"host": "h", "db": 4}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("redis://u%40x:p%2Fw@h", {"username": "u@x", "password": "p/w"}),
        ("redis://:pw@h", {"username": None, "password": "pw"}),
        ("rediss://h?ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"}),
        ("unix:///run/redis%20x.sock?db=2", {"path": "/run/redis x.sock", "db": 2}),
        ("unix://u:p@/run/redis.sock", {"path": "/run/redis.sock", "username": "u", "password": "p"}),
    ],
)
def test_an_address_says_where_and_who(url, expected):
    made = arguments(url)
    assert {name: made[name] for name in expected} == expected


def test_user_and_password_beside_the_address_win():
    made = arguments("redis://a:b@h", username="c", password="d")
    assert (made["username"], made["password"]) == ("c", "d")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("", "begins with"),
        ("http://h", "begins with"),
        ("h:6379", "begins with"),
        ("redis://u:s3cret@h:port", "cannot be read"),
        ("redis://u:s3cret@h:99999", "cannot be read"),
        ("redis://u:s3cret@[::1", "cannot be read"),
        ("redis://u:s3cret@h/books", "by a number"),
        ("redis://u:s3cret@h/-1", "by a number"),
        ("redis://u:s3cret@h?db=x", "by a number"),
        ("redis://u:s3cret@h?retry_on_timeout=yes", "no option 'retry_on_timeout'"),
        ("redis://u:s3cret@h?socket_timeout=100", "no option 'socket_timeout'"),
        ("redis://u:s3cret@h?ssl_ca_certs=x", "no option"),
        ("rediss://u:s3cret@h?ssl_cert_reqs=none", "no option"),
        ("unix://", "whole path"),
        ("unix://u:s3cret@host/path", "whole path"),
        ("redis://u@h", "without a password"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_without_being_quoted(url, match):
    settings = RedisSettings(url=url)
    with pytest.raises(InputError, match=match) as caught:
        make_client(settings)
    assert "s3cret" not in f"{caught.value} {settings!r}"


@pytest.mark.parametrize(
    "field", [{"connections_max": 0}, {"connections_max": 1_001}, {"deadline_s": 0}, {"deadline_s": float("nan")}]
)
def test_limits_that_make_no_sense_are_refused(field):
    with pytest.raises(InputError):
        make_client(structs.replace(RedisSettings(url="redis://h"), **field))


def test_no_client_ever_asks_twice():
    for client in (
        make_client(RedisSettings(url="redis://h")),
        blocking_twin(make_client(RedisSettings(url="redis://h"))),
    ):
        connection = client.connection_pool.make_connection()
        assert connection.retry.get_retries() == 0
        assert connection.retry_on_timeout is False
        assert connection.retry_on_error == []


def test_sockets_have_the_deadline_but_for_those_that_are_meant_to_wait():
    settings = RedisSettings(url="redis://h", deadline_s=1.5)
    connection = blocking_twin(make_client(settings)).connection_pool.make_connection()
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (None, 1.5)
    connection = make_client(settings).connection_pool.make_connection()
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (1.5, 1.5)
    assert connection.health_check_interval == settings.idle_check_s


def test_the_certificate_and_the_name_in_it_are_always_checked():
    connection = make_client(RedisSettings(url="rediss://h")).connection_pool.make_connection()
    assert connection.check_hostname is True
    assert connection.cert_reqs in ("required", 2)


def test_where_a_server_is_says_nothing_of_who_we_are():
    said = [where_is(RedisSettings(url=url)) for url in ("redis://u:p@h:1/2", "unix://u:p@/x?db=3", "no address")]
    assert said == ["Redis at h:1, database 2", "Redis at /x, database 3", "Redis at an address that makes no sense"]


def test_a_client_is_made_without_connecting_or_being_asked():
    make_client(RedisSettings(url="redis://192.0.2.1:1"))


class TestWords:
    @pytest.mark.parametrize(
        ("error", "asked", "kind"),
        [
            ("ConnectionError", False, StoreAway),
            ("ConnectionError", True, StoreUnanswered),
            ("TimeoutError", False, StoreAway),
            ("TimeoutError", True, StoreUnanswered),
            ("BusyLoadingError", True, StoreAway),
            ("ReadOnlyError", True, StoreAway),
            ("MasterDownError", True, StoreAway),
            ("OutOfMemoryError", True, StoreRefused),
            ("NoPermissionError", True, UserRefused),
            ("AuthenticationError", True, UserRefused),
            ("AuthenticationError", False, UserRefused),
            ("ResponseError", True, StoreRefused),
            ("InvalidResponse", True, StoreRefused),
            ("ExecAbortError", True, StoreRefused),
        ],
    )
    def test_of_each_error_say_whether_it_may_have_been_done(self, error, asked, kind):
        from redis import exceptions

        made = getattr(exceptions, error)("said")
        ours = in_our_words(made, where="Redis at h", doing="reading 'a'", asked=asked, deadline_s=5)
        assert type(ours) is kind
        for part in ("Redis at h", "reading 'a'", "said"):
            assert part in str(ours)

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            ("LOADING x", StoreAway), ("MISCONF x", StoreAway), ("NOREPLICAS x", StoreAway), ("BUSY x", StoreAway),
            ("READONLY x", StoreAway), ("WRONGTYPE x", StoreRefused), ("OOM x", StoreRefused), ("NOPERM x", UserRefused),
            ("NOAUTH x", UserRefused), ("ERR x", StoreRefused), ("", StoreRefused),
        ],
    )  # fmt: skip
    def test_of_an_answer_go_by_its_first_word(self, said, kind):
        from redis import exceptions

        made = exceptions.ResponseError(said)
        assert type(in_our_words(made, where="h", doing="d", asked=True, deadline_s=5)) is kind
