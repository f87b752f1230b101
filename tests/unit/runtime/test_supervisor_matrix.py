"""3 strategies × 3 restart types × 5 endings × 5 positions, each against what OTP's rules say, on a manual clock.

Five children start; the one at the position under test ends in one of five ways. What must follow is computed here in the
plainest way, as a diary of who starts and stops in which order, and compared with the diary of the real tree.
"""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest

from tests.unit.runtime.support import Boom, Diarist, World, world
from tradekeel.runtime.restart import Ending, RestartType, Strategy
from tradekeel.runtime.supervisor import ChildSpec, Supervisor

COUNT = 5
SHUTDOWN_S = 3.0

ENDINGS = {
    "normal": Ending.NORMAL,
    "error": Ending.ERROR,
    "cancelled": Ending.KILLED,
    "hangs while stopping": Ending.KILLED,
    "fails while starting": Ending.START_FAILED,
}
COMMAND = {"normal": "finish", "error": "boom", "cancelled": "cancelled", "hangs while stopping": "finish"}


class Child(Diarist):
    """One of five; the first incarnation at the position under test is the one that misbehaves."""

    def __init__(self, world: World, ending: str) -> None:
        super().__init__(world)
        self.ending = ending

    async def on_start(self) -> None:
        if self.ending == "fails while starting":
            self.note("fails to start")
            raise Boom
        await super().on_start()

    async def on_stop(self) -> None:
        await super().on_stop()
        if self.ending == "hangs while stopping":
            await anyio.sleep_forever()


def names() -> list[str]:
    return [f"c{i}" for i in range(COUNT)]


def build(strategy: Strategy, restart: RestartType, ending: str, position: int) -> Any:
    def root(this: World) -> Supervisor:
        def factory(index: int, first: list[bool]) -> Any:
            def make() -> Child:
                misbehaves = index == position and not first
                first.append(True)
                return Child(this, ending if misbehaves else "")

            return make

        specs = [
            ChildSpec(name, factory(index, []), restart, shutdown_s=SHUTDOWN_S) for index, name in enumerate(names())
        ]
        return Supervisor("root", strategy, specs)

    return root


def restarts(restart: RestartType, ending: str) -> bool:
    if restart is RestartType.PERMANENT:
        return True
    return restart is RestartType.TRANSIENT and ending != "normal"


def companions(strategy: Strategy, position: int) -> list[str]:
    """Who else goes down and up."""
    if strategy is Strategy.ONE_FOR_ONE:
        return []
    if strategy is Strategy.REST_FOR_ONE:
        return names()[position + 1 :]
    return [name for i, name in enumerate(names()) if i != position]


def expected(strategy: Strategy, restart: RestartType, ending: str, position: int) -> list[str]:
    """The diary that OTP's rules call for."""
    culprit, everyone = names()[position], names()
    if ending == "fails while starting":
        before, after = everyone[:position], everyone[position + 1 :]
        diary = [f"{name} starts" for name in before] + [f"{culprit} fails to start"]
        if restarts(restart, ending):
            down = before if strategy is Strategy.ONE_FOR_ALL else []
            diary += [f"{name} stops" for name in reversed(down)]
            diary += [f"{name} starts" for name in [*down, culprit]]
        return diary + [f"{name} starts" for name in after]
    diary = [f"{name} starts" for name in everyone]
    if ending in {"normal", "hangs while stopping"}:
        diary.append(f"{culprit} stops")
    if restarts(restart, ending):
        others = companions(strategy, position)
        diary += [f"{name} stops" for name in reversed(others)]
        diary += [f"{name} starts" for name in everyone if name in {*others, culprit}]
    return diary


@pytest.mark.parametrize("position", range(COUNT))
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("restart", RestartType)
@pytest.mark.parametrize("strategy", Strategy)
async def test_the_matrix(strategy, restart, ending, position):
    async with world(build(strategy, restart, ending, position)) as w:
        culprit = names()[position]
        if ending in COMMAND:
            assert await w.system.ref(culprit).send(COMMAND[ending])
        await w.clock.advance(SHUTDOWN_S + 1)

        diary = expected(strategy, restart, ending, position)
        assert w.diary == diary
        (fault,) = w.faults
        assert (fault.child, fault.ending) == (culprit, ENDINGS[ending])

        alive = [name for name in names() if name != culprit or restarts(restart, ending)]
        incarnations = {
            name: sum(line in {f"{name} starts", f"{name} fails to start"} for line in diary) for name in alive
        }
        assert w.alive() == incarnations
        for name in alive:
            assert await w.ask(name, "ping") == (name, incarnations[name])

        w.diary.clear()
        await w.stop()
        assert w.diary == [f"{name} stops" for name in reversed(alive)]
        assert w.outcome is None


@pytest.mark.parametrize("position", range(COUNT))
@pytest.mark.parametrize("strategy", Strategy)
async def test_who_hangs_while_going_down_with_a_sibling_is_cancelled_at_its_deadline(strategy, position):
    """The other half of "hangs while stopping": not the one that failed hangs, but one that goes down with it."""
    failing = 0 if position else COUNT - 1

    async with world(build(strategy, RestartType.PERMANENT, "hangs while stopping", position)) as w:
        await w.system.ref(names()[failing]).send("boom")
        await w.clock.settle()
        if names()[position] in companions(strategy, failing):
            assert set(w.alive().values()) == {1}, "nobody is started before everybody is down"
        await w.clock.advance(SHUTDOWN_S)
        restarted = {names()[failing], *companions(strategy, failing)}
        assert w.alive() == {name: 2 if name in restarted else 1 for name in names()}


def test_the_matrix_is_complete():
    cases = list(itertools.product(Strategy, RestartType, ENDINGS, range(COUNT)))
    assert len(cases) == 225
