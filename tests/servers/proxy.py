"""A proxy between a client and a server, with every fault that a network has, each one at a word.

It knows nothing of the protocol it carries. Each connection has two threads, one a direction; what the proxy does stands in one
place, under one lock, and holds for the next bytes of every connection.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.servers.ports import HOST, Port

CHUNK_BYTES = 65_536
CONNECT_TIMEOUT_S = 10.0
JOIN_TIMEOUT_S = 10.0
SEND_LOOK_S = 0.2
"""How often a thread looks whether its connection was cut, where the other end takes no more bytes."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER, on, 0 s: closing sends a reset, as the network's own stack does for a peer that is gone."""


class Mode(enum.Enum):
    """What the proxy does with bytes."""

    NORMAL = "normal"
    STALLED = "stalled"  # connections are taken and kept, nothing passes


class Loss:
    """A loss that was asked for: what it waits for, and whether it came."""

    def __init__(self, containing: bytes, *, of_answer: bool, delivered_bytes: int = 0) -> None:
        self.containing = containing
        self.of_answer = of_answer
        self.delivered_bytes = delivered_bytes
        self._came = threading.Event()

    @property
    def happened(self) -> bool:
        """Whether the connection was cut for it."""
        return self._came.is_set()

    def wait(self, timeout_s: float = JOIN_TIMEOUT_S) -> bool:
        """Wait until it has happened; whether it did."""
        return self._came.wait(timeout_s)

    def happen(self) -> None:
        """Note that it has."""
        self._came.set()


class Moment:
    """A moment that was asked for: what a client sends then, and what is done while its bytes are still here."""

    def __init__(self, containing: bytes, action: Callable[[], object]) -> None:
        self.containing = containing
        self._action = action
        self._came = threading.Event()
        self._error: BaseException | None = None

    def wait(self, timeout_s: float = JOIN_TIMEOUT_S) -> bool:
        """Wait until it has come and what was to be done is done; whether it did. Raises what that raised."""
        came = self._came.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return came

    def happen(self) -> None:
        """Do what was to be done."""
        try:
            self._action()
        except BaseException as error:  # for whoever waits: this thread is the proxy's
            self._error = error
        finally:
            self._came.set()


Meaning = Callable[[bytes], bytes]
"""Gets each piece that a client sends on one connection, and says what it stands for."""


def as_it_is(piece: bytes) -> bytes:
    """A piece stands for itself."""
    return piece


class TcpProxy:
    """Listens on a port of 127.0.0.1 and passes on to another, until it is told otherwise. Use as a context manager."""

    def __init__(self, host: str, port: int, meaning: Callable[[], Meaning] = lambda: as_it_is) -> None:
        """Where the server is; whether it is there is seen with each connection.

        ``meaning`` makes what tells for a connection what its bytes stand for, where that is not seen in themselves: a statement
        that was prepared goes by a number.
        """
        self._meaning = meaning
        self._target = (host, port)
        self._port = Port()
        self._changed = threading.Condition()
        self._mode = Mode.NORMAL
        self._delay_s = 0.0
        self._losses: list[Loss] = []
        self._moments: list[Moment] = []
        self._links: set[_Link] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._closed = False
        self.accepted = 0
        """How many connections it has taken so far."""
        self.asked_for = 0
        """The same with those for which the server was not there."""
        self._listen()

    @classmethod
    def before(cls, url: str) -> Self:
        """A proxy before the server of this address."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None, f"{url} names no port"
        return cls(parts.hostname, parts.port)

    @property
    def host(self) -> str:
        """Where it listens."""
        return HOST

    @property
    def port(self) -> int:
        """The port it listens on; it keeps it while it refuses."""
        return self._port.number

    def url(self, url: str) -> str:
        """The same address by way of this proxy."""
        parts = urlsplit(url)
        who = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{who}@{HOST}:{self.port}" if who else f"{HOST}:{self.port}"))

    @property
    def connections(self) -> int:
        """How many connections it carries now."""
        with self._changed:
            return len(self._links)

    # --- faults --------------------------------------------------------------------------------------------------------

    def refuse(self) -> None:
        """Refuse every new connection, as a machine whose server is not there; those that are there stay."""
        with self._changed:
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
            listener.close()

    def cut(self, *, reset: bool = True) -> int:
        """Cut every connection now, with a reset or in order; how many it cut."""
        with self._changed:
            links = set(self._links)
            for link in links:
                link.end(reset=reset)
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not links & self._links, JOIN_TIMEOUT_S)
        assert done, "connections were cut and did not end"
        return len(links)

    def away(self) -> None:
        """Refuse and cut: the server is not there any more."""
        self.refuse()
        self.cut()

    def stall(self) -> None:
        """Take connections and bytes and pass nothing on, either way, until `normal`; nothing is lost."""
        self._set(Mode.STALLED, self._delay_s)

    def delay(self, delay_s: float) -> None:
        """Hold each piece of bytes this long, in each direction."""
        self._set(Mode.NORMAL, delay_s)

    def lose_request(self, containing: bytes = b"") -> Loss:
        """Cut the next connection on which a client sends this: the server never sees it, nor what came with it."""
        return self._arm(Loss(containing, of_answer=False))

    def lose_answer(self, containing: bytes = b"", *, delivered_bytes: int = 0) -> Loss:
        """Cut the next connection on which a client sends this, when the server answers it.

        The server has done what it was asked (a COMMIT is durable); of its answer the client gets the first ``delivered_bytes``.
        Clients that send on before they have an answer may lose an earlier one.
        """
        return self._arm(Loss(containing, of_answer=True, delivered_bytes=delivered_bytes))

    def call_at(self, containing: bytes, action: Callable[[], object]) -> Moment:
        """Do this when a client sends these bytes next, while they are still here; then they are passed on, if they can be.

        For faults that shall come in the middle of something. ``action`` runs in a thread of the proxy: it may not `cut`, which
        would wait for that very thread.
        """
        moment = Moment(containing, action)
        with self._changed:
            self._moments.append(moment)
        return moment

    def call_off(self, moment: Moment) -> bool:
        """It shall not come any more; False where it has begun already."""
        with self._changed:
            if moment in self._moments:
                self._moments.remove(moment)
                return True
        return False

    def normal(self) -> None:
        """Back to passing on at once; losses and moments that did not happen yet are called off."""
        with self._changed:
            self._losses.clear()
            self._moments.clear()
        self._set(Mode.NORMAL, 0.0)
        if self._listener is None and not self._closed:
            self._listen()

    def close(self) -> None:
        """Cut everything and end all its threads; again is fine."""
        with self._changed:
            self._closed = True
        self.away()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
            assert not thread.is_alive(), f"{thread.name} did not end"
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- how -----------------------------------------------------------------------------------------------------------

    def _set(self, mode: Mode, delay_s: float) -> None:
        with self._changed:
            self._mode, self._delay_s = mode, delay_s
            self._changed.notify_all()

    def _arm(self, loss: Loss) -> Loss:
        with self._changed:
            self._losses.append(loss)
        return loss

    def _listen(self) -> None:
        listener = self._port.listen()
        with self._changed:
            self._listener = listener
        self._spawn(lambda: self._accept(listener), "accepts")

    def _spawn(self, work: Callable[[], None], what: str) -> None:
        thread = threading.Thread(target=work, name=f"proxy {self.port} {what}", daemon=True)
        with self._changed:
            self._threads = [one for one in self._threads if one.is_alive() or one.ident is None]
            self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:  # it was closed: refusing, or the end
                return
            self.asked_for += 1
            try:
                server = socket.create_connection(self._target, timeout=CONNECT_TIMEOUT_S)
            except OSError:  # a proxy can only refuse after it has accepted
                close(client, reset=True)
                continue
            link = _Link(client, server, self._meaning())
            with self._changed:
                self.accepted += 1
                self._links.add(link)
                if self._closed or self._listener is not listener:
                    link.end(reset=True)  # it came in the moment of `refuse`
            self._spawn(partial(self._carry, link, client, server), "asks")
            self._spawn(partial(self._carry, link, server, client), "answers")

    def _carry(self, link: _Link, source: socket.socket, target: socket.socket) -> None:
        """One direction of one connection, to its end."""
        asks = source is link.client
        try:
            while piece := link.receive(source):
                if not self._may_pass(link):
                    break
                if asks and self._taken(link, link.meaning(piece)):
                    break
                loss = link.loses
                if not asks and loss is not None:
                    link.send(target, piece[: loss.delivered_bytes])
                    self._end(link, reset=loss.delivered_bytes == 0)
                    loss.happen()
                    break
                link.send(target, piece)
            else:
                if self._may_pass(link):  # the end of a stream is held up like its bytes
                    target.shutdown(socket.SHUT_WR)
        except OSError:  # one side is gone; so is the other, then
            self._end(link, reset=True)
        with self._changed:
            link.directions -= 1
            if link.directions == 0:
                link.close()
                self._links.discard(link)
                self._changed.notify_all()

    def _end(self, link: _Link, *, reset: bool) -> None:
        """Let both of its threads come to their ends; the last one closes it."""
        with self._changed:
            link.end(reset=reset)
            self._changed.notify_all()

    def _may_pass(self, link: _Link) -> bool:
        """Wait as long as bytes are held up now; whether the connection is still there then."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or link.gone, self._delay_s or 0)
            self._changed.wait_for(lambda: self._closed or link.gone or self._mode is Mode.NORMAL)
            return not (self._closed or link.gone)

    def _taken(self, link: _Link, meant: bytes) -> bool:
        """Whether what a client asks goes no further: lost, or the connection has gone in a moment that came with it."""
        return (self._moment_came(meant) and not self._may_pass(link)) or self._lost_as_request(link, meant)

    def _moment_came(self, piece: bytes) -> bool:
        """Whether something was done before these bytes are passed on."""
        with self._changed:
            moment = next((one for one in self._moments if one.containing in piece), None)
            if moment is None:
                return False
            self._moments.remove(moment)
        moment.happen()
        return True

    def _lost_as_request(self, link: _Link, piece: bytes) -> bool:
        """Whether a loss that waits for these bytes takes them; one that waits for the answer is noted in the connection."""
        with self._changed:
            seen = link.tail + piece
            loss = next((one for one in self._losses if one.containing in seen), None)
            longest = max((len(one.containing) for one in self._losses), default=0)
            link.tail = seen[-longest:] if longest else b""
            if loss is None:
                return False
            self._losses.remove(loss)
            if loss.of_answer:
                link.loses = loss
                return False
        self._end(link, reset=True)
        loss.happen()
        return True


class _Link:
    """One connection of a client, and ours to the server."""

    def __init__(self, client: socket.socket, server: socket.socket, meaning: Meaning) -> None:
        self.meaning = meaning
        self.client = client
        self.server = server
        self.directions = 2
        self.loses: Loss | None = None
        self.tail = b""  # the end of what was asked last: what a loss waits for may come in pieces
        self.gone = False
        self._reset = False
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(SEND_LOOK_S)

    def receive(self, source: socket.socket) -> bytes:
        """The next bytes; none at the end."""
        while True:
            try:
                return source.recv(CHUNK_BYTES)
            except TimeoutError:
                if self.gone:
                    return b""

    def send(self, target: socket.socket, piece: bytes) -> None:
        """Send it all, unless the connection is cut meanwhile: nobody may be reading at the other end."""
        rest = memoryview(piece)
        while rest and not self.gone:
            with contextlib.suppress(TimeoutError):
                rest = rest[target.send(rest) :]

    def end(self, *, reset: bool) -> None:
        """Wake whoever waits for bytes. (A shutdown of reading tells the peer nothing; closing does.)"""
        if not self.gone:
            self.gone, self._reset = True, reset
            for one in (self.client, self.server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close both sides, as it was asked for."""
        for one in (self.client, self.server):
            close(one, reset=self._reset)


def close(connection: socket.socket, *, reset: bool) -> None:
    """Close it, in order or with a reset."""
    if reset:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()
