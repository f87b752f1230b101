"""Messages to the service manager: what goes over the socket, and that nothing here can hurt the service."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tradekeel.runtime.notify import Notifier, watchdog_interval_s


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(5)
        yield ear


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname()})
    yield notifier
    notifier.close()


def heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


MESSAGES: list[tuple[Callable[[Notifier], bool], str]] = [
    (lambda notifier: notifier.ready(), "READY=1"),
    (lambda notifier: notifier.ready("trading"), "READY=1\nSTATUS=trading"),
    (lambda notifier: notifier.status("3 orders"), "STATUS=3 orders"),
    (lambda notifier: notifier.watchdog(), "WATCHDOG=1"),
    (lambda notifier: notifier.reloading(1_234_567), "RELOADING=1\nMONOTONIC_USEC=1234567"),
    (lambda notifier: notifier.stopping("draining"), "STOPPING=1\nSTATUS=draining"),
    (lambda notifier: notifier.extend_timeout(2.5), "EXTEND_TIMEOUT_USEC=2500000"),
]


@pytest.mark.parametrize(("send", "expected"), MESSAGES, ids=[expected.partition("=")[0] for _, expected in MESSAGES])
def test_each_message_is_one_datagram_as_systemd_expects_it(
    manager: socket.socket, notifier: Notifier, send: Callable[[Notifier], bool], expected: str
) -> None:
    assert notifier.connected
    assert send(notifier)
    assert heard(manager) == expected


def test_a_status_cannot_smuggle_a_field_in(manager: socket.socket, notifier: Notifier) -> None:
    notifier.status("waiting\nREADY=1\r\nfor it")
    assert heard(manager) == "STATUS=waiting READY=1 for it"
    notifier.status("x" * 10_000 + "\ud800")
    assert len(heard(manager)) < 500


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0tradekeel-test-notify")
        ear.settimeout(5)
        notifier = Notifier("@tradekeel-test-notify")
        assert notifier.ready()
        assert heard(ear) == "READY=1"
        notifier.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_messages_go_nowhere_and_all_is_well(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environ(environ)
    assert not notifier.connected
    assert notifier.ready()
    notifier.close()


def test_a_manager_that_is_gone_is_a_false_not_an_exception(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    assert not notifier.ready()
    notifier.close()
    notifier.close()
    assert notifier.watchdog()


def test_a_manager_that_does_not_listen_never_blocks_us(notifier: Notifier) -> None:
    assert not all(notifier.watchdog() for _ in range(100_000))


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_a_sign_of_life_is_due_at_half_of_what_is_allowed(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval_s(environ, 42) == seconds
