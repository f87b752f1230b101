"""What a service tells systemd about itself: one datagram a message, to the socket that $NOTIFY_SOCKET names.

Nothing here raises for a message that cannot be sent and nothing blocks: ``send`` says whether it went, and whoever owns
the service says it again with the next heartbeat. Protocol: sd_notify(3).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

STATUS_CHARACTERS_MAX = 400
US_PER_S = 1_000_000


class Notifier:
    """The service manager's ear; without one, every message goes nowhere and is said to have gone well."""

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address.startswith(("/", "\0")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """The one that the service manager told us about, if it did."""
        return cls(environ.get("NOTIFY_SOCKET", ""))

    @property
    def connected(self) -> bool:
        """Whether anybody listens."""
        return self._socket is not None

    def ready(self, status: str = "") -> bool:
        """The service does its work, or does it again after a reload."""
        return self.send({"READY": "1"} | ({"STATUS": status} if status else {}))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self.send({"STATUS": text})

    def watchdog(self) -> bool:
        """A sign of life; without one for WatchdogSec the process is killed."""
        return self.send({"WATCHDOG": "1"})

    def reloading(self, monotonic_us: int) -> bool:
        """A reload begins; ``ready`` ends it. ``monotonic_us`` is CLOCK_MONOTONIC now, in microseconds."""
        return self.send({"RELOADING": "1", "MONOTONIC_USEC": str(monotonic_us)})

    def stopping(self, status: str = "") -> bool:
        """The service is on its way out."""
        return self.send({"STOPPING": "1"} | ({"STATUS": status} if status else {}))

    def extend_timeout(self, seconds: float) -> bool:
        """Starting or stopping may take this long from now on, whatever the unit says; to be repeated before it runs out."""
        return self.send({"EXTEND_TIMEOUT_USEC": str(max(1, int(seconds * US_PER_S)))})

    def send(self, fields: Mapping[str, str]) -> bool:
        """One datagram with all fields. False if the manager cannot take it now."""
        if self._socket is None:
            return True
        lines = [f"{key}={_one_line(value)}" for key, value in fields.items()]
        try:
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the socket; later messages go nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """How often a sign of life is due, in seconds: half of what systemd allows; None if it does not ask this process."""
    allowed_us = environ.get("WATCHDOG_USEC", "")
    for_pid = environ.get("WATCHDOG_PID", str(pid))
    if not (allowed_us.isascii() and allowed_us.isdigit()) or int(allowed_us) == 0 or for_pid != str(pid):
        return None
    return int(allowed_us) / 2 / US_PER_S


def _one_line(text: str) -> str:
    # A line break would begin a field of its own.
    return " ".join(text.split())[:STATUS_CHARACTERS_MAX]
