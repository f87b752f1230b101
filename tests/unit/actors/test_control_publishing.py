"""Control and the publisher: it is told how the daemon stands, and what it says of its server is said to people once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.unit.actors.test_control import Drawer
from tests.unit.runtime.support import World, world
from tradekeel.actors.control import AccountRefs, Control, ControlSettings, DescribeProcess
from tradekeel.domain.protocol import AccountReady, DaemonStands, PublisherStands, StoreStands
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.restart import RestartType
from tradekeel.runtime.supervisor import Supervisor

UP = PublisherStands(where="Redis at cache:6379, database 0", state="up")
AWAY = structs.replace(UP, state="degraded", failing=("the server",), reason="it cannot be reached")


class Ears(Actor):
    """Stands where the publisher stands."""

    def __init__(self, told: list[DaemonStands]) -> None:
        self.told = told

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if message == "finish":
            self.finish()
        else:
            self.told.append(message)


def house(
    said: list[tuple[str, str]], told: list[DaemonStands], *, publishes: bool = True
) -> Callable[[World], Supervisor]:
    async def reload() -> str:
        return "nothing has changed"

    def say(level: str, text: str, **fields: str) -> None:
        said.append((level, text))

    def root(this: World) -> Supervisor:
        refs = [AccountRefs("a", this.system.ref("a/executor"), this.system.ref("a/feed"))]
        settings = ControlSettings(
            name="t", on_stop="keep", stop_at_feed_end=False, stop_timeout_s=1, watchdog_every_s=1e6, books="sqlite x"
        )
        publisher = this.system.ref("publisher") if publishes else None

        def control() -> Control:
            return Control(
                settings,
                refs,
                Drawer(),
                Notifier(),
                reload,
                dict,
                say,
                lambda why: pytest.fail(why),
                publisher=publisher,
            )

        ears = ChildSpec("publisher", lambda: Ears(told), restart=RestartType.TRANSIENT)
        return Supervisor("root", children=[ChildSpec("control", control), ears])

    return root


def ready(account: str = "a") -> AccountReady:
    return AccountReady(account, True, "", 0, 0, (), reconciled=True)


async def test_the_publisher_hears_how_the_daemon_stands_from_its_start_to_its_stop() -> None:
    told: list[DaemonStands] = []
    async with world(house([], told)) as this:
        await this.clock.advance(1.1)
        assert told[-1] == DaemonStands("starting", {"accounts": "a", "books": "sqlite x", "trading": "0 of 1"})
        this.system.ref("control").latest("ready", ready())
        await this.clock.advance(1.1)
        assert (told[-1].status, told[-1].metadata["trading"]) == ("running", "1 of 1")
        this.system.actors["control"].begin_stop("a test")  # type: ignore[attr-defined]  # it is control
        await this.clock.settle()
        assert told[-1].status == "stopping"


async def test_an_alert_has_its_time_stands_once_and_goes_when_what_it_tells_of_is_over() -> None:
    def stands(mode: str, reason: str) -> StoreStands:
        return StoreStands(mode=mode, reason=reason)

    async with world(house([], [])) as this:
        control = this.system.ref("control")

        async def alerts() -> list[str]:
            return list((await control.ask(DescribeProcess(), timeout_s=5))["alerts"])

        control.latest("store", stands("direct", ""))
        await this.clock.settle()
        for reason in ("it is gone", "it is gone again"):
            control.latest("store", stands("away", reason))
            await this.clock.settle()
            (alert,) = await alerts()
            assert alert.startswith(f"the books' server is away: {reason}; ")
            assert re.search(r" \(at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\)$", alert)
            control.latest("store", stands("direct", ""))
            await this.clock.settle()
            assert await alerts() == []


async def test_a_server_that_fails_is_said_once_when_it_begins_and_once_when_it_ends() -> None:
    said: list[tuple[str, str]] = []
    async with world(house(said, [])) as this:
        control = this.system.ref("control")
        for stands in (UP, AWAY, structs.replace(AWAY, failures=7), structs.replace(AWAY, failures=9), UP, UP):
            control.latest("publisher", stands)
            await this.clock.settle()
    assert said[:2] == [
        (
            "WARNING",
            "Redis at cache:6379, database 0 fails us (the server), and trading goes on without: it cannot be reached",
        ),
        ("INFO", "Redis at cache:6379, database 0 is back: what was to be published meanwhile is made up for"),
    ]
    assert len([text for _, text in said if "Redis" in text]) == 2


async def test_books_that_cannot_be_read_are_not_blamed_on_the_server_for_outside_readers() -> None:
    said: list[tuple[str, str]] = []
    async with world(house(said, [])) as this:
        control = this.system.ref("control")
        waits = structs.replace(AWAY, failing=("events",), at_books=("events",), reason="postgresql://x is away")
        for stands in (UP, waits, UP):
            control.latest("publisher", stands)
            await this.clock.settle()
            redis = (await this.ask("control", DescribeProcess()))["redis"]
            assert ("waits for the books" in redis["trouble"]) is (stands is waits)
    assert said[:2] == [
        ("WARNING", "publishing waits for the books (events), and trading goes on without: postgresql://x is away"),
        ("INFO", "the books can be read again: what was to be published meanwhile is made up for"),
    ]


async def test_parts_that_fail_in_turn_on_a_full_server_are_said_once_each_until_all_are_well_again() -> None:
    said: list[tuple[str, str]] = []
    async with world(house(said, [])) as this:
        control = this.system.ref("control")
        for parts in (("events",), ("events", "open trades"), ("events",), ("open trades",), ("events", "open trades")):
            control.latest("publisher", structs.replace(AWAY, failing=parts, reason="it is full"))
            await this.clock.settle()
        for stands in (UP, structs.replace(AWAY, failing=("events",), reason="it is full")):
            control.latest("publisher", stands)
            await this.clock.settle()
    told = [
        text.removeprefix("Redis at cache:6379, database 0 ").partition(",")[0] for _, text in said if "Redis" in text
    ]
    assert told == [
        "fails us (events)",
        "fails us (events",
        "is back: what was to be published meanwhile is made up for",
        "fails us (events)",
    ]


async def test_the_status_has_how_it_stands_also_when_there_is_no_publisher_any_more() -> None:
    async with world(house([], [])) as this:
        assert (await this.ask("control", DescribeProcess()))["redis"]["state"] == "connecting"
        this.system.ref("control").latest("publisher", AWAY)
        redis = (await this.ask("control", DescribeProcess()))["redis"]
        assert (redis["state"], redis["reason"]) == ("degraded", "it cannot be reached")
        await this.system.ref("publisher").send("finish")
        await this.clock.settle()
        assert (await this.ask("control", DescribeProcess()))["redis"]["state"] == "down"


async def test_without_a_publisher_the_status_has_nothing_of_it() -> None:
    async with world(house([], [], publishes=False)) as this:
        assert (await this.ask("control", DescribeProcess()))["redis"] is None
