"""What Redis says no with, in errors of ours that say what, where and what to do; and the other ways to reach it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from tests.conformance.backends import RedisBackend
from tests.servers.valkey import ValkeyServer
from tradekeel.errors import StoreAway, StoreError, StoreRefused
from tradekeel.ports import Service
from tradekeel.storage.redis.cache import RedisCache
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.server import RedisServer

pytestmark = pytest.mark.redis

ONE = Service(id="one", name="paper", metadata={"a": "b"})


@pytest.fixture
async def backend(redis_url: str) -> AsyncIterator[RedisBackend]:
    """Caches and registries on the shared server."""
    async with RedisBackend(RedisSettings(url=redis_url)) as made:
        yield made


@pytest.fixture
async def own(own_redis: Callable[..., ValkeyServer]) -> AsyncIterator[RedisBackend]:
    """The same on a server of the test's own, whose settings it may change."""
    async with RedisBackend(RedisSettings(url=own_redis().url())) as made:
        yield made


async def test_a_value_of_another_kind_is_refused_and_stays(backend: RedisBackend):
    await backend.server.ask("putting a list there", "LPUSH", "trading:cache:tests:a", "x")
    for call in (backend.cache().get("a"), backend.cache().increment("a"), backend.cache().get_json("a")):
        with pytest.raises(StoreRefused, match=r"'a' in namespace 'tests'.*another kind.*look with TYPE"):
            await call
    assert await backend.server.ask("looking", "TYPE", "trading:cache:tests:a") == b"list"
    assert await backend.cache().clear() == 1, "clearing a namespace leaves nothing in it"


async def test_a_full_server_refuses_and_keeps_what_it_has(own: RedisBackend):
    cache = own.cache()
    await cache.set("a", "1")
    await own.server.ask("allowing nothing", "CONFIG", "SET", "maxmemory", "1")
    for call in (cache.set("a", "2"), cache.set_many({"b": "1", "c": "2"}, ttl_s=9), own.registry().register(ONE)):
        with pytest.raises(StoreRefused, match="full \\(maxmemory\\)"):
            await call
    assert await cache.get_many(["a", "b", "c"]) == [b"1", None, None]
    assert await cache.delete("a"), "but room can be made"
    await own.server.ask("allowing all", "CONFIG", "SET", "maxmemory", "0")
    await cache.set("a", "2")


async def test_a_replica_takes_no_writes_for_now(own: RedisBackend):
    await own.cache().set("a", "1")
    await own.server.ask("making it a replica", "REPLICAOF", "127.0.0.1", "1")
    for call in (own.cache().set("a", "2"), own.registry().register(ONE), own.registry().prune()):
        with pytest.raises(StoreAway, match=r"it is a replica.*Nothing was changed"):
            await call
    assert await own.cache().get("a") == b"1"
    assert await own.registry().list() == ()
    await own.server.ask("making it a primary", "REPLICAOF", "NO", "ONE")
    await own.cache().set("a", "3")


async def test_a_server_with_too_few_replicas_takes_no_writes_for_now(own: RedisBackend):
    await own.server.ask("asking for a replica", "CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(StoreAway, match="too few of its replicas"):
        await own.cache().set("a", "1")


async def test_a_server_that_cannot_save_takes_no_writes_for_now(
    own_redis: Callable[..., ValkeyServer],
):
    server = own_redis()
    async with RedisBackend(RedisSettings(url=server.url())) as own:
        await own.server.ask("saving often", "CONFIG", "SET", "save", "1 1")
        shutil.rmtree(server.data)
        with anyio.fail_after(20):
            while True:
                try:
                    await own.cache().increment("n")
                    await own.server.ask("saving", "BGSAVE")
                except StoreAway as error:
                    assert "cannot save them to its disk" in str(error)  # noqa: PT017 - it comes when it comes
                    return
                except StoreRefused as error:
                    assert "ackground" in str(error)  # noqa: PT017 - one is under way
                await anyio.sleep(0.02)


async def test_a_server_that_is_loading_does_not_serve_yet(own: RedisBackend):
    cache = own.cache()
    await cache.set_many({f"k{number}": "x" for number in range(1_000)})
    for name, value in (("key-load-delay", "1000"), ("loading-process-events-interval-bytes", "1024")):
        await own.server.ask("making it slow", "CONFIG", "SET", name, value)
    told: list[StoreError] = []

    async def reload() -> None:
        await own.server.within(30).listen("reloading", "DEBUG", "RELOAD", wait_s=30)
        loaded.set()

    loaded = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reload)
        while not loaded.is_set():
            try:
                await cache.get("k1")
            except StoreAway as error:
                told.append(error)
            await anyio.sleep(0.01)
    assert told
    assert "loading its data" in str(told[0])
    assert await cache.get("k1") == b"x"


async def test_a_server_that_a_script_keeps_busy_does_not_serve_now(own: RedisBackend):
    await own.server.ask("being impatient", "CONFIG", "SET", "busy-reply-threshold", "20")
    told: list[StoreError] = []

    async def turn_in_a_circle() -> None:
        with pytest.raises(StoreRefused):
            await own.server.run("a circle", "while true do end", [])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn_in_a_circle)
        with anyio.fail_after(20):
            while not told:
                try:
                    await own.cache().get("a")
                except StoreAway as error:
                    told.append(error)
                await anyio.sleep(0.01)
            await own.server.ask("ending it", "SCRIPT", "KILL")
    assert "a script keeps it busy" in str(told[0])


async def test_a_server_with_too_many_clients_cannot_be_reached(own: RedisBackend):
    await own.cache().get("a")
    await own.server.ask("allowing one", "CONFIG", "SET", "maxclients", "1")
    settings = RedisSettings(url=f"redis://x:y@{own.server.where.removeprefix('Redis at ').partition(',')[0]}/0")
    async with RedisBackend(settings) as other:
        with pytest.raises(StoreAway, match="max number of clients"):
            await other.cache().get("a")


# --- who we are ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password", "match"),
    [
        (None, None, "wants a user and a password|does not take this user"),
        ("default", "wrong-secret", "does not take this user and password"),
        ("nobody", "wrong-secret", "does not take this user and password"),
    ],
)
async def test_a_login_that_is_refused_says_so_and_never_what_was_tried(own_redis, username, password, match):
    url = urlsplit(own_redis().url())
    secret = url.password
    settings = RedisSettings(url=f"redis://127.0.0.1:{url.port}/0", username=username, password=password)
    async with RedisBackend(settings) as backend:
        with pytest.raises(StoreRefused, match=match) as caught:
            await backend.cache().get("a")
    said = f"{caught.value!r} {caught.value} {settings!r} {backend.server.where} {backend.server.client!r}"
    assert "wrong-secret" not in said
    assert secret is not None
    assert secret not in said


async def test_no_password_of_a_url_is_in_any_message(own_redis):
    server = own_redis()
    settings = RedisSettings(url=server.url())
    async with RedisBackend(settings) as backend:
        await backend.cache().set("a", "x")
        server.kill()
        with pytest.raises(StoreError) as caught:
            await backend.cache().get("a")
    chain: BaseException | None = caught.value
    said = [repr(settings), backend.server.where]
    while chain is not None:
        said += [str(chain), repr(chain)]
        chain = chain.__cause__ or chain.__context__
    assert len(said) > 4
    assert server.password not in " ".join(said)


async def test_a_right_that_is_missing_is_named(own_redis):
    server = own_redis(users=["reader on >a-secret ~trading:* +get +@connection"])
    settings = RedisSettings(url=server.url(), username="reader", password="a-secret")
    async with RedisBackend(settings) as backend:
        assert await backend.cache().get("a") is None
        with pytest.raises(StoreRefused, match=r"a right is missing. docs/redis.md says which"):
            await backend.cache().set("a", "1")


# --- what stands in the registry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["pid", "ttl_ms", "registered_ns"])
async def test_a_service_that_somebody_damaged_is_refused_and_named(backend: RedisBackend, field):
    registry = backend.registry()
    await registry.register(ONE)
    await backend.server.ask("damaging it", "HSET", "trading:services:tests:one:one", field, "x")
    with pytest.raises(StoreRefused, match=r"is damaged.*let it register again"):
        await registry.list()
    await registry.register(ONE)
    assert [one.id for one in await registry.list()] == ["one"]


async def test_half_a_service_is_none_and_goes_when_it_is_pruned(backend: RedisBackend):
    registry = backend.registry()
    for half in ("trading:services:tests:one:one", "trading:services:tests:alive"):
        await registry.register(ONE)
        await backend.server.ask("taking half away", "DEL", half)
        assert await registry.get("one") is None
        assert await registry.list() == ()
        assert not await registry.heartbeat("one")
        assert not await registry.update_status("one", "running")
        assert not await registry.update_metadata("one", {"a": "c"})
        assert await registry.prune() == ()
        assert not await registry.deregister("one")
        await registry.deregister("one")


# --- ways to reach it -----------------------------------------------------------------------------------------------------------


async def test_what_it_is_and_that_it_serves(backend: RedisBackend):
    await backend.server.ping()
    assert (await backend.server.version()).partition(" ")[0] in ("redis", "valkey")


async def test_a_client_that_somebody_else_made_is_used_and_not_closed(redis_url: str):
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url, decode_responses=True) as client:
        async with RedisServer.of(client) as server:
            await RedisCache(server, "a").set("ü", b"\xff")
            assert await RedisCache(server, "a").get("ü") == b"\xff"
        assert await client.exists("trading:cache:a:ü") == 1


async def test_databases_of_one_server_are_apart(own_redis):
    server = own_redis()
    async with (
        RedisBackend(RedisSettings(url=server.url(0))) as zero,
        RedisBackend(RedisSettings(url=server.url(7))) as seven,
    ):
        await zero.cache().set("a", "0")
        assert await seven.cache().get("a") is None


async def test_a_unix_socket_will_do(own_redis, servers_folder):
    path = servers_folder.make("sockets") / "redis socket"
    server = own_redis(settings={"unixsocket": str(path), "unixsocketperm": "777"})
    url = f"unix://:{server.password}@{str(path).replace(' ', '%20')}?db=3"
    async with RedisBackend(RedisSettings(url=url)) as backend:
        assert await backend.cache().increment("a") == 1
        assert backend.server.where == f"Redis at {path}, database 3"


class TlsFront:
    """TLS before a server that has none: it takes the connections, and passes on what is in them."""

    def __init__(self, certificate: Path, key: Path, target: tuple[str, int]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._target = target
        self._stack = ExitStack()
        self._listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                raw = self._listener.accept()[0]
            except OSError:
                return
            try:
                client = self._stack.enter_context(self._context.wrap_socket(raw, server_side=True))
            except OSError:  # who does not trust us goes away
                raw.close()
                continue
            server = self._stack.enter_context(socket.create_connection(self._target))
            for one, other in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=_carry, args=(one, other), daemon=True))
                self._threads[-1].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._stack.close()
        for thread in self._threads:
            thread.join(10)


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # either end may go at any time


@pytest.fixture
def tls(tmp_path: Path, redis_url: str) -> Iterator[tuple[str, Path]]:
    """The address of the shared server behind TLS, and the file with the certificate to trust."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine to make a certificate with")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    url = urlsplit(redis_url)
    assert url.hostname is not None
    assert url.port is not None
    front = TlsFront(certificate, key, (url.hostname, url.port))
    yield f"rediss://:{url.password}@localhost:{front.port}/0", certificate
    front.close()


async def test_tls_is_spoken_with_whom_the_certificate_vouches_for(tls):
    url, certificate = tls
    async with RedisBackend(RedisSettings(url=f"{url}?ssl_ca_certs={certificate}")) as backend:
        assert await backend.cache().increment("a") == 1


@pytest.mark.parametrize("wrong", ["an unknown certificate", "another name"])
async def test_tls_is_not_spoken_with_anybody_else(tls, wrong):
    url, certificate = tls
    if wrong == "another name":
        url = f"{url.replace('localhost', '127.0.0.1')}?ssl_ca_certs={certificate}"
    async with RedisBackend(RedisSettings(url=url)) as backend:
        with pytest.raises(StoreAway, match=r"(?i)certificate"):
            await backend.cache().get("a")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\r\n", b"$-9\r\n"])
async def test_what_is_no_redis_is_not_taken_for_one(answer):
    def serve() -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client:
                client.recv(65_536)
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
                client.recv(65_536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        async with RedisBackend(RedisSettings(url=f"redis://127.0.0.1:{listener.getsockname()[1]}")) as backend:
            with pytest.raises(StoreError):
                await backend.cache().within(1).get("a")
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
