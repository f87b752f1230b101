"""How long a lease is ours: by two clocks, of which either may be wrong."""

from __future__ import annotations

from tradekeel.runtime.clock import NS_PER_S, ManualClock
from tradekeel.storage.postgres.lease import Holder, Term

START_NS = 1_700_000_000 * NS_PER_S


class Machine:
    """Its clocks, and a lease of 30 s."""

    def __init__(self) -> None:
        self.clock = ManualClock(START_NS)
        self.term = Term(*self.times(), 30 * NS_PER_S)

    def times(self) -> tuple[int, int]:
        return self.clock.now_ns(), round(self.clock.monotonic() * NS_PER_S)

    @property
    def left_s(self) -> float:
        return self.term.left_ns(*self.times()) / NS_PER_S


async def test_it_ends_when_its_time_has_passed():
    machine = Machine()
    await machine.clock.advance(29)
    assert machine.left_s == 1
    await machine.clock.advance(1)
    assert machine.left_s == 0


async def test_a_wall_clock_that_is_set_back_does_not_make_it_longer():
    machine = Machine()
    machine.clock.set_wall(START_NS - 3_600 * NS_PER_S)
    await machine.clock.advance(29)
    assert machine.left_s == 1


async def test_a_machine_that_slept_has_lost_that_time_though_its_monotonic_clock_stood_still():
    machine = Machine()
    machine.clock.set_wall(START_NS + 31 * NS_PER_S)
    assert machine.left_s == -1


def test_a_holder_is_read_as_it_was_written_and_a_script_has_no_installation():
    holder = Holder(host="here", installation="a1", place="7-9", run="r1")
    assert Holder.of(str(holder)) == holder
    assert Holder.of("a script") == Holder(host="a script", installation="", place="", run="")
    assert Holder.of("here/a1") == Holder(host="here", installation="a1", place="", run="")
