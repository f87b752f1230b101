"""Ports of 127.0.0.1 that stay ours, also while nobody listens: a server keeps its address through every restart."""

from __future__ import annotations

import socket
from typing import Self

HOST = "127.0.0.1"


class Port:
    """A free port, reserved until it is closed.

    A socket is bound to it and never listens. Linux lets another socket bind beside it where both have SO_REUSEADDR, as the
    servers' sockets do; nobody is given the port by chance, as a free one or for a connection of his own. Whoever connects
    while no server listens is refused.
    """

    def __init__(self) -> None:
        self._held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._held.bind((HOST, 0))  # without the option: it must be nobody's
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number: int = self._held.getsockname()[1]

    def listen(self) -> socket.socket:
        """A new listening socket of this process on it."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, self.number))
        listener.listen(128)
        return listener

    def close(self) -> None:
        """Give it back; again is fine."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
