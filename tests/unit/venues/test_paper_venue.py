"""The paper venue behind the Protocols: it answers like an exchange, and like one it survives its client."""

from __future__ import annotations

import tomllib
from pathlib import Path

import anyio
import pytest

from tests.unit.domain.matching_desk import NS, START_S, D, stop, target, tell
from tests.unit.venues.paper_desk import ACCOUNT, allow, paper, request, ticks
from tradekeel.config.decode import decode
from tradekeel.domain.evidence import Proof
from tradekeel.domain.matching import Commission, FinancingRate, PaperAccount, PaperSettings, Slippage
from tradekeel.errors import InputError, OutcomeUnknown, VenueUnreachable
from tradekeel.ports import TickMatcher, Venue
from tradekeel.venues.paper import PaperVenue

QUOTES = ("1.10000/1.10010", "1.10020/1.10030", "1.10040/1.10050", "1.10060/1.10070")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "paper-1.ledger"


async def story(venue: PaperVenue, after: int = 0) -> list[str]:
    return [tell(entry) for entry in await venue.transactions(after)]


def test_it_is_a_venue_and_a_tick_matcher(file: Path):
    venue = paper(file)
    assert isinstance(venue, Venue)
    assert isinstance(venue, TickMatcher)
    assert (venue.name, venue.account) == ("paper", "paper-1")
    assert venue.capabilities.proof is Proof.CURSOR
    assert venue.capabilities.matches_ticks
    assert not venue.capabilities.hedging


async def test_an_order_goes_through_its_life(file: Path):
    venue, window = paper(file), ticks(*QUOTES)
    await venue.connect()
    venue.advance(window, 1)
    await venue.place(request("a", "buy", 1000), allow)
    assert venue.quiet_until(window, 1) == 1
    await venue.match(window, 1)
    assert await story(venue) == ["deposited 10000", "a accepted 1000", "a buy 1000 at 1.10030 taker"]
    (position,) = await venue.positions()
    assert (position.instrument, position.quantity, position.cost) == ("EUR_USD", D(1000), D("1100.3"))
    balance = await venue.balance()
    assert (balance.balance, balance.unrealised, balance.last_sequence) == (D(10_000), D("-0.1"), 3)
    await venue.close()


async def test_the_deposit_is_booked_at_the_time_the_account_opens(file: Path):
    venue = paper(file)
    await venue.connect()
    (entry,) = await venue.transactions(0)
    assert entry.ts_ns == START_S * NS
    await venue.close()


async def test_it_goes_on_where_it_was_after_a_restart(file: Path):
    window = ticks(*QUOTES)
    venue = paper(file)
    await venue.connect()
    venue.advance(window, 1)
    exits = (stop("sl", "1.09000"), target("tp", "1.10055"))
    await venue.place(request("e", "buy", 1000, attached=exits), allow)
    await venue.match(window, 1)
    # no close: the process is gone
    again = paper(file)
    await again.connect()
    assert again.position == 2
    assert [o.client_order_id for o in await again.open_orders()] == ["sl", "tp"]
    assert again.quiet_until(window, 0) == 3
    again.advance(window, 3)
    await again.match(window, 3)
    assert (await story(again))[-2:] == ["tp sell 1000 at 1.10060 maker", "sl canceled 1000 (oco)"]
    await again.close()


async def test_ticks_that_were_seen_already_do_nothing(file: Path):
    venue, window = paper(file), ticks(*QUOTES)
    await venue.connect()
    venue.advance(window, 1)
    await venue.place(request("a", "buy", 1000), allow)
    await venue.match(window, 1)
    for index in (0, 1):
        await venue.match(window, index)
        venue.advance(window, index)
    assert venue.position == 2
    assert len(await venue.transactions(0)) == 3
    await venue.close()


async def test_the_position_is_kept_by_a_checkpoint_a_close_and_every_act(file: Path):
    venue, window = paper(file), ticks(*QUOTES)
    await venue.connect()
    venue.advance(window, 2)
    lost = paper(file)
    await lost.connect()
    assert lost.position == 0  # quiet ticks are not worth a commit: after a kill they are seen again
    lost.advance(window, 1)
    await lost.checkpoint()
    await lost.checkpoint()  # nothing more to save
    kept = paper(file)
    await kept.connect()
    assert kept.position == 1
    kept.advance(window, 3)
    await kept.close()
    closed = paper(file)
    await closed.connect()
    assert closed.position == 3
    await closed.close()


async def test_the_record_is_read_from_any_point_in_pages(file: Path):
    venue, window = paper(file), ticks(*QUOTES)
    await venue.connect()
    venue.advance(window, 1)
    for number in range(5):
        await venue.place(request(f"o{number}", "buy", 1000), allow)
    whole = await venue.transactions(0)
    assert [entry.sequence for entry in whole] == [1, 2, 3, 4, 5, 6]
    assert await venue.transactions(2, 3) == whole[2:5]
    assert await venue.transactions(6) == []
    await venue.close()
    reopened = paper(file)  # now from the file instead of from memory
    await reopened.connect()
    assert await reopened.transactions(0) == whole
    assert await reopened.transactions(2, 3) == whole[2:5]
    assert await reopened.transactions(6) == []
    await reopened.place(request("o6", "buy", 1000), allow)
    assert [entry.sequence for entry in await reopened.transactions(4)] == [5, 6, 7]
    await reopened.close()


class TestLookups:
    async def test_find_working_ended_rejected_and_waiting_orders(self, file: Path):
        venue, window = paper(file), ticks(*QUOTES)
        await venue.connect()
        venue.advance(window, 1)
        await venue.place(request("filled", "buy", 1000), allow)
        await venue.match(window, 1)
        await venue.place(request("canceled", "buy", 1000, "limit", price="1.0"), allow)
        await venue.cancel("canceled", allow)
        await venue.place(request("rejected", "buy", "0.1"), allow)
        await venue.place(
            request("working", "buy", 1000, "limit", price="1.0", attached=(stop("waits", "0.9"),)), allow
        )
        for opened in (venue, paper(file)):
            if opened is not venue:
                await opened.connect()
            states: dict[str, tuple[str, D]] = {}
            for name in ("filled", "canceled", "rejected", "working", "waits"):
                found = await opened.order(name)
                assert found is not None
                assert found.client_order_id == name
                states[name] = (found.state, found.filled_quantity)
            assert states == {
                "filled": ("filled", D(1000)),
                "canceled": ("canceled", D(0)),
                "rejected": ("rejected", D(0)),
                "working": ("working", D(0)),
                "waits": ("working", D(0)),
            }
            assert await opened.order("never sent") is None
            assert [o.client_order_id for o in await opened.open_orders()] == ["working"]

    async def test_find_the_latest_order_with_an_id_that_was_used_twice(self, file: Path):
        venue, window = paper(file), ticks(*QUOTES)
        await venue.connect()
        venue.advance(window, 1)
        await venue.place(request("a", "buy", 1000), allow)
        await venue.match(window, 1)
        await venue.place(request("a", "sell", 300), allow)
        found = await venue.order("a")
        assert found is not None
        assert (found.state, found.quantity) == ("working", D(300))
        await venue.match(window, 2)
        found = await venue.order("a")
        assert found is not None
        assert (found.state, found.quantity) == ("filled", D(300))


class TestLastCheck:
    async def test_stops_an_order_before_anything_happened(self, file: Path):
        class Halted(Exception):
            pass

        def halt() -> None:
            raise Halted

        venue = paper(file)
        await venue.connect()
        for act in (
            venue.place(request("a", "buy", 1000), halt),
            venue.cancel("a", halt),
            venue.amend("a", D("1.1"), halt),
        ):
            with pytest.raises(Halted):
                await act
        assert await story(venue) == ["deposited 10000"]
        assert await venue.order("a") is None

    async def test_comes_in_the_same_step_as_the_acceptance(self, file: Path):
        """Whoever is let in between the check and the send could halt the account and be too late."""
        events: list[str] = []

        async def watched(function, *args):
            events.append(f"{function.__name__}: {venue._matcher.sequence if venue._matcher else None}")
            return function(*args)

        venue = paper(file, run=watched)
        await venue.connect()
        events.clear()
        await venue.place(request("a", "buy", 1000), lambda: events.append("checked"))
        assert events == ["checked", "flush: 2"]  # one hop, and the order was taken before it


class TestMisbehaviour:
    async def test_a_timeout_leaves_an_order_that_exists(self, file: Path):
        venue = paper(file, timeout_rate=D(1))
        await venue.connect()
        with pytest.raises(OutcomeUnknown, match="no answer in time"):
            await venue.place(request("a", "buy", "0.1"), allow)
        assert (await story(venue))[1:] == ["a rejected (QUANTITY_TOO_SMALL)"]
        assert await venue.order("a") is not None

    async def test_a_drop_leaves_nothing(self, file: Path):
        venue = paper(file, drop_rate=D(1))
        await venue.connect()
        with pytest.raises(OutcomeUnknown, match="lost"):
            await venue.place(request("a", "buy", 1000), allow)
        assert await story(venue) == ["deposited 10000"]
        assert await venue.order("a") is None

    async def test_a_dropped_order_that_is_decided_again_has_another_chance(self, file: Path):
        venue = paper(file, drop_rate=D("0.5"), seed=1)
        await venue.connect()
        arrived = []
        for number in range(40):
            try:
                await venue.place(request(f"attempt{number}", "buy", 1000), allow)
                arrived.append(number)
            except OutcomeUnknown:
                continue
        assert 10 <= len(arrived) <= 30
        assert len(await story(venue)) == 1 + len(arrived)


class TestOverlap:
    async def test_acts_share_a_commit_and_none_returns_before_it_is_durable(self, file: Path):
        commits: list[str] = []
        gate = anyio.Event()

        async def slow(function, *args):
            if function.__name__ == "flush":
                await gate.wait()
            return function(*args)

        venue = paper(file, run=slow, point=commits.append)
        gate.set()
        await venue.connect()
        gate = anyio.Event()
        commits.clear()
        done: list[str] = []

        async def place(name: str) -> None:
            await venue.place(request(name, "buy", 1000), allow)
            done.append(name)

        async def ask() -> None:
            found = await venue.order("b")
            assert found is not None
            done.append("asked")

        async with anyio.create_task_group() as group:
            group.start_soon(place, "a")
            group.start_soon(place, "b")
            await anyio.wait_all_tasks_blocked()
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert done == []  # a question waits as well: it must not tell what a kill could undo
            assert commits == []
            gate.set()
        assert sorted(done) == ["a", "asked", "b"]
        assert commits == ["paper.place.before_commit", "paper.place.after_commit"]
        assert [entry.client_order_id for entry in (await venue.transactions(1))] == ["a", "b"]

    async def test_an_act_whose_caller_gave_up_is_written_by_the_next(self, file: Path):
        stuck = anyio.Event()
        slow = False

        async def worker(function, *args):
            if slow:
                await stuck.wait()
            return function(*args)

        venue = paper(file, run=worker)
        await venue.connect()
        slow = True
        with anyio.move_on_after(0):
            await venue.place(request("a", "buy", 1000), allow)
        slow = False
        await venue.place(request("b", "buy", 1000), allow)
        assert [entry.client_order_id for entry in await venue.transactions(1)] == ["a", "b"]
        await venue.close()


class TestUnreachable:
    async def test_before_it_is_connected_and_after_it_is_closed(self, file: Path):
        venue = paper(file)
        with pytest.raises(VenueUnreachable, match="not connected"):
            await venue.place(request("a", "buy", 1000), allow)
        await venue.connect()
        await venue.close()
        with pytest.raises(VenueUnreachable, match="closed"):
            await venue.balance()

    async def test_closing_what_was_never_open_does_no_harm(self, file: Path):
        await paper(file).close()

    async def test_the_last_check_is_not_asked_for_what_cannot_be_sent(self, file: Path):
        asked: list[int] = []
        with pytest.raises(VenueUnreachable):
            await paper(file).place(request("a", "buy", 1000), lambda: asked.append(1))
        assert asked == []


@pytest.mark.parametrize(
    "other",
    [
        PaperAccount(account="paper-2", currency="USD", deposit=D(1)),
        PaperAccount(account="paper-1", currency="EUR", deposit=D(1)),
        PaperAccount(account="paper-1", currency="USD", deposit=D(1), hedging=True),
    ],
)
async def test_a_ledger_of_another_account_is_refused(file: Path, other: PaperAccount):
    venue = paper(file)
    await venue.connect()
    await venue.close()
    with pytest.raises(InputError, match="is the ledger of account paper-1"):
        await paper(file, account=other).connect()


async def test_another_deposit_in_the_configuration_changes_nothing(file: Path):
    venue = paper(file)
    await venue.connect()
    await venue.close()
    richer = paper(file, account=PaperAccount(account="paper-1", currency="USD", deposit=D(99_999)))
    await richer.connect()
    assert (await richer.balance()).deposits == ACCOUNT.deposit
    await richer.close()


class TestRuns:
    async def test_another_run_counts_anew_and_is_remembered(self, file: Path):
        venue, window = paper(file), ticks(*QUOTES)
        await venue.connect()
        await venue.begin("first")
        venue.advance(window, 2)
        await venue.place(request("a", "buy", 1000, "limit", price="1.0"), allow)
        await venue.begin("first")
        assert venue.position == 2
        await venue.begin("second")
        assert venue.position == 0
        assert (await story(venue))[-1] == "a canceled 1000 (run_ended)"
        again = paper(file)
        await again.connect()
        await again.begin("second")
        assert again.position == 0
        assert len(await again.transactions(0)) == 3
        await again.close()

    async def test_a_venue_that_is_not_connected_has_seen_nothing(self, file: Path):
        assert paper(file).position == 0


def test_its_settings_are_read_from_the_configuration_strictly():
    table = tomllib.loads("""
        latency_ms = 40
        margin_call_level = "0.4"
        reject_rate = "0.01"
        [slippage]
        model = "random"
        pips = "0.3"
        [commission]
        model = "per_lot"
        taker = "3.5"
        minimum = 1
        [financing.EUR_USD]
        long = "-2.1"
        short = "0.4"
        [conversion_rates]
        USD_JPY = "151.30"
    """)
    problems: list[str] = []
    read = decode(table, PaperSettings, "accounts.main.paper", problems)
    assert problems == []
    assert read == PaperSettings(
        latency_ms=40,
        margin_call_level=D("0.4"),
        reject_rate=D("0.01"),
        slippage=Slippage(model="random", pips=D("0.3")),
        commission=Commission(model="per_lot", taker=D("3.5"), minimum=D(1)),
        financing={"EUR_USD": FinancingRate(long=D("-2.1"), short=D("0.4"))},
        conversion_rates={"USD_JPY": D("151.30")},
    )
    wrong = {
        "latency_ms": -1,
        "drop_rate": "2",
        "slipage": {},
        "slippage": {"model": "fixed"},
        "commission": {"lot": 0},
    }
    assert decode(wrong, PaperSettings, "accounts.main.paper", problems) is None
    assert [problem.split(":")[0] for problem in problems] == [
        "accounts.main.paper.slipage",
        "accounts.main.paper.slippage",
        "accounts.main.paper.latency_ms",
        "accounts.main.paper.commission.lot",
        "accounts.main.paper.drop_rate",
    ]


async def test_amend_and_cancel_are_answered_in_the_record(file: Path):
    venue, window = paper(file), ticks(*QUOTES)
    await venue.connect()
    venue.advance(window, 1)
    await venue.place(request("a", "buy", 1000, "limit", price="1.0"), allow)
    await venue.amend("a", D("1.05"), allow)
    await venue.cancel("a", allow)
    await venue.cancel("a", allow)
    assert (await story(venue, 2)) == [
        "a amended to 1.05",
        "a canceled 1000 (client_request)",
        "a change refused (ORDER_NOT_FOUND)",
    ]
    await venue.close()
