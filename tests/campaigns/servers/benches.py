"""The servers of one worker: each is started when it is first asked for, and healed between one round and the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import redis

from tests.campaigns.kill.stores import Books
from tests.campaigns.servers.faults import POSTGRES, Fault, Target
from tests.scenarios.support_servers import Quick
from tests.servers.folders import RunFolder
from tests.servers.postgres import PostgresServer, PreparedWords
from tests.servers.proxy import TcpProxy, as_it_is
from tests.servers.server import Server
from tests.servers.valkey import DURABLE, ValkeyServer

POSTGRES_MB = 160
REDIS_MB = 40


class Bench:
    """See the module."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._open = ExitStack()
        self._servers: dict[tuple[str, bool], Server] = {}

    @contextmanager
    def target(self, fault: Fault) -> Iterator[Target]:
        """The server that this fault befalls, empty and well, with a proxy of its own before it."""
        key = (fault.kind, fault.small)
        if key not in self._servers:
            self._servers[key] = self._open.enter_context(self._make(fault))
        server = self._servers[key].heal()
        if isinstance(server, ValkeyServer):
            with redis.Redis.from_url(server.url()) as client:
                client.flushall()
        meaning = PreparedWords if isinstance(server, PostgresServer) else lambda: as_it_is
        with TcpProxy(server.host, server.port.number, meaning) as proxy:
            target = Target(server, proxy)
            try:
                yield target
            finally:
                target.heal()

    def _make(self, fault: Fault) -> Server:
        if fault.kind == POSTGRES:
            return PostgresServer(self._run, room_mb=POSTGRES_MB if fault.small else None)
        # One that keeps nothing comes back empty from a kill; one whose disk can be full keeps everything.
        return ValkeyServer(
            self._run, settings=DURABLE if fault.small else {}, room_mb=REDIS_MB if fault.small else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.clear()
        self._open.close()


class Wired(Quick):
    """Databases of a server that may be reached by way of a proxy; they are read past it."""

    def __init__(self, target: Target, more: dict[str, str], *, by_proxy: bool) -> None:
        assert isinstance(target.server, PostgresServer)
        super().__init__(target.server.admin_url, more)
        self._proxy = target.proxy if by_proxy else None

    def fresh(self, home: Path) -> Books:
        books = super().fresh(home)
        if self._proxy is None:
            return books
        return Books(books.place, {**books.storage, "url": f'"{self._proxy.url(books.storage["url"].strip(chr(34)))}"'})
