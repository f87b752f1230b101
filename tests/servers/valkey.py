"""Valkey for tests, which speaks Redis: on 127.0.0.1, with a password, keeping nothing on disk unless a test says so."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from tests.servers.binaries import reachable_program, valkey_program
from tests.servers.folders import RunFolder
from tests.servers.server import Limited, Server

ANSWER_TIMEOUT_S = 5.0
ANSWER_BYTES = 4_096

SETTINGS: Mapping[str, str] = {
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    "logfile": "",  # to standard output, which is the log
    "loglevel": "notice",
    "dbfilename": "dump.rdb",
    "databases": "16",
    "tcp-backlog": "128",
    "enable-debug-command": "local",
}
DURABLE: Mapping[str, str] = {"appendonly": "yes", "appendfsync": "always"}
"""Settings with which a write that was answered survives a kill and a power cut."""


class ValkeyServer(Server):
    """A server of its own, with sixteen databases."""

    NAME = "valkey"
    STOP = signal.SIGTERM

    def __init__(
        self,
        run: RunFolder,
        *,
        settings: Mapping[str, str] | None = None,
        users: Iterable[str] = (),
        program: Path | None = None,
        room_mb: int | None = None,
        limited: Limited | None = None,
    ) -> None:
        """``settings`` go over those of this module (see `DURABLE`).

        ``users`` are rules of ACL users, such as ``trading-adapter on >secret ~trading:* +@all``.
        """
        super().__init__(run, room_mb=room_mb, limited=limited)
        self.program = reachable_program(program or valkey_program(), run)
        self.settings = dict(SETTINGS) | dict(settings or {})
        self.users = list(users)

    def url(
        self, database: int = 0, *, user: str | None = None, password: str | None = None, port: int | None = None
    ) -> str:
        """The address of a database; ``port`` is a proxy's, where one stands between."""
        secret = quote(password or self.password, safe="")
        return f"redis://{quote(user or '', safe='')}:{secret}@{self.host}:{port or self.port.number}/{database}"

    def _prepare(self) -> None:
        if self.holder is None:
            self.data.mkdir(mode=0o700, exist_ok=True)
        settings = self.settings | {
            "bind": self.host,
            "port": str(self.port.number),
            "dir": str(self.data),
            "requirepass": self.password,
        }
        lines = [f"{name} {_quoted(value)}" for name, value in settings.items()]
        lines += [f"user {rules}" for rules in self.users]
        config = self._config
        config.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        config.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(config, *self.run.user)
            if self.holder is None:
                os.chown(self.data, *self.run.user)

    @property
    def _config(self) -> Path:
        return self.folder / "valkey.conf"

    def _command(self) -> list[str]:
        return [str(self.program), str(self._config)]

    def ready(self) -> bool:
        # Without a client library: what is under test is tried elsewhere. It answers -LOADING until its data is there.
        try:
            with socket.create_connection((self.host, self.port.number), timeout=ANSWER_TIMEOUT_S) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n".encode())
                said = b""
                while more := connection.recv(ANSWER_BYTES):
                    said += more
        except OSError:
            return False
        return re.match(rb"\+OK\r\n\+PONG\r\n", said) is not None


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
