"""What befalls a server: each fault strikes, stays for a while, and is healed; its name is what `--only` takes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import redis

from tests.servers.errors import ServersError
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import TcpProxy
from tests.servers.server import Server
from tests.servers.valkey import ValkeyServer

POSTGRES, REDIS = "postgres", "redis"
IN_A_BATCH = {POSTGRES: b"COMMIT", REDIS: b"XADD"}
"""What a daemon says in the middle of its work."""

MOMENT_MAX_S = 1.5
"""So long a batch is waited for; without one the fault comes all the same."""

DELAYS_S = (0.01, 1.2)
LEFT_BYTES = (0, 0, 20_000, 300_000)
"""What a disk that is filled has left: nothing, a few pages, some of the log."""


@dataclass(frozen=True)
class Target:
    """A server, and the way to it that can be hurt."""

    server: Server
    proxy: TcpProxy

    @property
    def kind(self) -> str:
        """Of what kind it is."""
        return POSTGRES if isinstance(self.server, PostgresServer) else REDIS

    def heal(self) -> None:
        """Whatever was done to it and to the way is over, and it answers."""
        self.proxy.normal()
        self.server.heal()
        if isinstance(self.server, ValkeyServer):
            with redis.Redis.from_url(self.server.url()) as client:
                client.config_set("maxmemory", "0")


Strike = Callable[[Target, random.Random], object]


@dataclass(frozen=True)
class Fault:
    """One line of the report."""

    name: str
    about: str
    strike: Strike
    afterwards: Strike | None = None  # what cannot be done in the middle of a batch, and follows at once
    small: bool = False  # the server has a disk of its own, which can be filled
    by_proxy: bool = False  # it happens on the way
    patience: float = 1.0  # how much longer than others it lasts: it takes longer until it is noticed
    is_a_loss: bool = False  # it is one question that gets lost, and comes only with that

    @property
    def kind(self) -> str:
        """Whom it befalls."""
        return self.name.partition("-")[0]

    def befall(self, target: Target, dice: random.Random, *, in_a_batch: bool) -> bool:
        """Strike, now or in the middle of a batch; whether it came as it was meant to."""
        if self.is_a_loss:
            return _lose(target, dice)
        came = in_a_batch and self._in_a_batch(target, dice)
        if not came:
            self.strike(target, dice)
        if self.afterwards is not None:
            self.afterwards(target, dice)
        return came or not in_a_batch

    def _in_a_batch(self, target: Target, dice: random.Random) -> bool:
        moment = target.proxy.call_at(IN_A_BATCH[target.kind], partial(self.strike, target, dice))
        return moment.wait(MOMENT_MAX_S) or (not target.proxy.call_off(moment) and moment.wait())


def _lose(target: Target, dice: random.Random) -> bool:
    lose = dice.choice((target.proxy.lose_request, target.proxy.lose_answer))
    return lose(IN_A_BATCH[target.kind]).wait(MOMENT_MAX_S)


def _kill(target: Target, _: random.Random) -> None:
    if target.server.running:
        target.server.kill()


def _fill(target: Target, dice: random.Random) -> None:
    left = dice.choice(LEFT_BYTES)
    try:
        target.server.fill_disk(left)
    except ServersError:
        if target.server.running:
            raise


def _fill_memory(target: Target, _: random.Random) -> None:
    assert isinstance(target.server, ValkeyServer)
    with redis.Redis.from_url(target.server.url()) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1kb")


def _of(kind: str) -> tuple[Fault, ...]:
    return (
        Fault(f"{kind}-killed", "SIGKILL, and started again", _kill),
        Fault(f"{kind}-paused", "SIGSTOP, and SIGCONT", lambda target, _: target.server.pause(), patience=2.0),
        Fault(f"{kind}-restarted", "stopped in order and started", lambda target, _: target.server.restart()),
        Fault(
            f"{kind}-refusing",
            "connections end, and new ones are refused",
            lambda target, _: target.proxy.refuse(),
            lambda target, _: target.proxy.cut(),
            by_proxy=True,
        ),
        Fault(
            f"{kind}-slow",
            "every piece on the way takes up to 1.2 s",
            lambda target, dice: target.proxy.delay(dice.uniform(*DELAYS_S)),
            by_proxy=True,
        ),
        Fault(
            f"{kind}-cut",
            f"the connection ends with a {IN_A_BATCH[kind].decode()} or its answer",
            lambda target, _: target.proxy.cut(),
            by_proxy=True,
            is_a_loss=True,
        ),
        Fault(f"{kind}-full", "its disk is full", _fill, small=True),
    )


FAULTS = {
    fault.name: fault
    for fault in (
        *_of(POSTGRES),
        *_of(REDIS),
        Fault(f"{REDIS}-memory", "its memory is full", _fill_memory),
    )
}
