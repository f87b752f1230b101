"""The recorder while the books' server is away: whoever commits is answered, whoever needs an account waits for the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest

from tests.unit.runtime.support import World, world
from tradekeel.actors.recorder import Recorder
from tradekeel.domain import records as r
from tradekeel.domain.protocol import Commit, LoadAccount, LoadedAccount, StoreStands
from tradekeel.errors import StoreAway
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.loop import InlineWorker
from tradekeel.runtime.restart import Intensity
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.runtime.watchdog import Watchdog


class OnAServer:
    """Books that note what is done with them; their server comes and goes at a word."""

    tend_every_s = 1.0

    def __init__(self) -> None:
        self.there = True
        self.asks = False
        self.waiting = 0
        self.done: list[str] = []
        self.goes_at_load = False

    def load(self, account: str, progress: Callable[[], object]) -> LoadedAccount:
        if self.goes_at_load:
            self.there = self.goes_at_load = False
            raise StoreAway("it went in the middle of that")
        assert self.there, "it is not asked in vain"
        assert not self.waiting, "what waits is brought there first"
        self.done.append(f"load {account}")
        return LoadedAccount(None, 1, None, (), {})

    def commit(self, groups: Sequence[r.Group]) -> Sequence[Any]:
        self.waiting += 0 if self.there else len(groups)
        self.done.extend(f"commit {group.execution}" for group in groups)
        return [True for _ in groups]

    def tend(self) -> bool:
        """One batch at a time."""
        if self.there and self.waiting:
            self.waiting -= 1
            self.done.append("bring")
        return self.there and self.waiting > 0

    def stands(self) -> StoreStands:
        return StoreStands(mode="direct" if self.there and not self.waiting else "away", batches=self.waiting)

    def close(self) -> None:
        """Nothing is open."""


class Hanging(InlineWorker):
    """A thread that never comes back from a commit."""

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if function.__name__ == "commit":
            await anyio.sleep_forever()
        return await super().call(function, *args, **kwargs)


def alone(books: OnAServer, worker: InlineWorker | None = None) -> Callable[[World], Supervisor]:
    recorder = ChildSpec("recorder", lambda: Recorder(lambda: books, worker or InlineWorker(), groups_max=10))
    return lambda _: Supervisor("root", children=[recorder], intensity=Intensity(0, 1.0))


async def test_an_account_that_is_started_again_meanwhile_waits_and_the_others_commit() -> None:
    books = OnAServer()
    books.there = False
    async with world(alone(books)) as w:
        asked = w.system.ref("recorder").begin(LoadAccount("a"), timeout_s=1e6)
        for number in range(3):
            assert await w.ask("recorder", Commit(r.Group(execution=f"b{number}", records=())))
        await w.clock.advance(10)
        assert not asked.future.done()

        books.there = True
        await w.until(asked.future.done)
        asked.close()

    assert books.done == ["commit b0", "commit b1", "commit b2", "bring", "bring", "bring", "load a"]


async def test_a_server_that_goes_in_the_middle_of_a_load_is_asked_again_when_it_is_back() -> None:
    books = OnAServer()
    books.goes_at_load = True
    async with world(alone(books)) as w:
        asked = w.system.ref("recorder").begin(LoadAccount("a"), timeout_s=1e6)
        assert await w.ask("recorder", Commit(r.Group(execution="b", records=())))
        assert not asked.future.done()
        books.there = True
        await w.until(asked.future.done)
        asked.close()

    assert books.done == ["commit b", "bring", "load a"]


async def test_a_load_that_nobody_waits_for_any_more_is_not_made_when_the_server_is_back() -> None:
    books = OnAServer()
    books.there = False
    async with world(alone(books)) as w:
        asked = w.system.ref("recorder").begin(LoadAccount("a"), timeout_s=1e6)
        await w.clock.settle()
        asked.close()  # as an executor that is stopped
        books.there = True
        assert await w.ask("recorder", LoadAccount("b"))

    assert books.done == ["load b"]


@pytest.mark.parametrize("asks", [False, True])
async def test_a_thread_that_hangs_in_the_disk_is_noticed_though_the_books_are_looked_after_each_second(
    asks: bool,
) -> None:
    """A server that is slow to answer is given up by the books themselves: it is no reason to end the process."""
    books = OnAServer()
    books.asks = asks
    async with world(alone(books, Hanging())) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        asked = w.system.ref("recorder").begin(Commit(r.Group(execution="a", records=())), timeout_s=1e6)
        for _ in range(30):
            await w.clock.advance(1)
            watchdog.look()
        assert [stuck.actor for stuck in watchdog.look()] == ([] if asks else ["recorder"])
        asked.close()


async def test_a_recorder_that_has_much_to_do_makes_progress() -> None:
    books = OnAServer()
    async with world(alone(books)) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        for _ in range(30):
            assert await w.ask("recorder", Commit(r.Group(execution="a", records=())))
            await w.clock.advance(1)
            assert watchdog.healthy()
