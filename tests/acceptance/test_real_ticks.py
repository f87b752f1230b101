"""EUR/USD of 2014-05-08 through FloorStrategy and EmaCross, and both sides' books recomputed by another program.

`make check` runs parts of the day: a quarter of an hour of the press conference, and the evening with the roll at 17:00 New York.
`make campaign` runs the whole day, all 87,833 ticks, and all the dirty files; `pytest -m campaign tests/acceptance` does so, too.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance import dumb
from tests.acceptance.real import APART, TOGETHER, Run, config_of, run
from tradekeel.bootstrap.audit import audit
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.summary import bad_rows
from tradekeel.runtime.loop import InlineWorker
from tradekeel.runtime.loop import run as run_loop
from tradekeel.venues.paper import PaperVenue

DAY = "20140508"
ROWS = 87_833
MS_PER_HOUR = 3_600_000


class Part(NamedTuple):
    """A part of the day, in hours UTC."""

    start: float
    end: float

    def options(self) -> dict[str, str]:
        """What the feed is told."""
        if (self.start, self.end) == (0, 24):
            return {}
        return {key: f"2014-05-08T{_clock(hours)}Z" for key, hours in (("start", self.start), ("end", self.end))}


def _clock(hours: float) -> str:
    return f"{int(hours):02d}:{int(hours * 60) % 60:02d}:00"


PRESS = Part(12.5, 12.75)  # the busiest quarter of an hour
EVENING = Part(20, 22)
DAY_LONG = Part(0, 24)
CASES = [
    pytest.param(PRESS, False, id="press conference"),
    pytest.param(EVENING, True, id="evening, with costs"),
    pytest.param(DAY_LONG, False, id="whole day", marks=pytest.mark.campaign),
    pytest.param(DAY_LONG, True, id="whole day, with costs", marks=pytest.mark.campaign),
]


@pytest.fixture(scope="session")
def day(data_dir: Path) -> Path:
    path = data_dir / "oanda" / "tick" / "eurusd" / f"{DAY}_quote.zip"
    if not path.is_file():
        pytest.skip(f"no recorded ticks at {path}")
    return path


@pytest.fixture(scope="session")
def rows(day: Path) -> list[dumb.Row]:
    return list(dumb.recorded(day))


def rows_in(rows: list[dumb.Row], part: Part) -> list[dumb.Row]:
    return [row for row in rows if part.start * MS_PER_HOUR <= row.ms < part.end * MS_PER_HOUR]


def test_the_day_is_the_one_that_is_meant(rows: list[dumb.Row]) -> None:
    assert len(rows) == ROWS


# --- every tick reaches every strategy, and the books balance --------------------------------------------------------------


@pytest.mark.parametrize(("part", "costs"), CASES)
def test_separate_accounts(tmp_path: Path, day: Path, rows: list[dumb.Row], part: Part, costs: bool) -> None:
    done = run(config_of(tmp_path, APART, day, costs=costs, **part.options()))
    delivered = rows_in(rows, part)
    for account, strategy in (("trend", "ema"), ("layers", "floor")):
        check_run(done, account, [strategy], delivered)
        check_books(done, account, delivered[-1], costs=costs)
    # One trade at a time on an account of its own: netting has nothing to save.
    assert netting(done, "trend") == 0
    check_financing(done, ["trend", "layers"], part, costs)


@pytest.mark.parametrize(("part", "costs"), CASES)
def test_one_account(tmp_path: Path, day: Path, rows: list[dumb.Row], part: Part, costs: bool) -> None:
    done = run(config_of(tmp_path, TOGETHER, day, costs=costs, **part.options()))
    delivered = rows_in(rows, part)
    check_run(done, "both", ["ema", "floor"], delivered)
    check_books(done, "both", delivered[-1], costs=costs)
    check_financing(done, ["both"], part, costs)


def check_run(done: Run, account: str, strategies: list[str], delivered: list[dumb.Row]) -> None:
    """It ended well, every tick reached every strategy, and everything that happened is in the journal."""
    assert done.code == 0, done.log
    books = done.books(account)
    for strategy in strategies:
        state = books.checkpoint(strategy)
        assert (state["ticks_processed"], state["position"]) == (len(delivered), len(delivered))
        assert any(trade["strategy"] == strategy for trade in books.trades), f"{strategy} traded nothing"
    numbers = books.journal_numbers()
    assert numbers == list(range(1, len(numbers) + 1))
    summary = next(a for a in done.summary.accounts if a.account == account)
    assert (summary.status, summary.latch) == ("closed", "open")
    feed = next(f for f in done.summary.feeds if f.account == account)
    assert feed.quality["ticks"] == feed.position == len(delivered)


def check_books(done: Run, account: str, mark: dumb.Row, *, costs: bool) -> None:
    """Both sides, each added up from its own file by another program, and against each other: to the last digit."""
    ledger, books = done.ledger(account), done.books(account)
    check_our_own_proof(done)
    check_fills(ledger, books)
    check_trades(ledger, books)
    summary = next(a for a in done.summary.accounts if a.account == account)
    assert Fraction(summary.balance) == ledger.balance
    assert Fraction(summary.pnl) + Fraction(summary.attribution) == ledger.balance - ledger.deposits
    assert Fraction(summary.attribution) == netting(done, account)
    assert (ledger.fees > 0) is costs
    check_equity(done, account, ledger, mark)


def check_our_own_proof(done: Run) -> None:
    """`tradekeel verify` finds nothing, in our books or between them and the venue's."""
    found = audit(Place(done.state.path, done.config), lambda step, at, total: None)
    assert found.ok, found.lines()
    assert len(found.comparisons) == len(done.summary.accounts)


def check_fills(ledger: dumb.Ledger, books: dumb.Books) -> None:
    """The venue's fills are ours, each once, with the same figures."""
    exact = ("quantity", "price", "fee", "realised", "rate")
    same = ("fill_id", "instrument", "side", "ts_ns", "venue_order_id", "client_order_id", "liquidity")

    def figures(fill: dict[str, object]) -> tuple[object, ...]:
        return (*(Fraction(str(fill[name])) for name in exact), *(fill[name] for name in same))

    ours, theirs = [figures(fill) for fill in books.fills], [figures(fill) for fill in ledger.fills]
    assert ours == theirs
    assert len(set(ours)) == len(ours)
    orders = [order["client_order_id"] for order in books.orders]
    assert len(set(orders)) == len(orders)


def check_trades(ledger: dumb.Ledger, books: dumb.Books) -> None:
    """Every trade is what its orders' fills come to, and together they are what the account paid and holds."""
    figures = books.values_by_order()
    names = ("entered_quantity", "entry_value", "exited_quantity", "exit_value")
    for trade in books.trades:
        assert [Fraction(trade[name]) for name in names] == figures[trade["trade_id"]], trade
        bought, paid, sold, got = figures[trade["trade_id"]]
        if bought == sold:
            sign = 1 if trade["side"] == "LONG" else -1
            assert abs(Fraction(trade["gross_pnl"]) - sign * (got - paid)) <= dumb.BOOKED / 2 * len(books.fills)
            assert Fraction(trade["open_cost"]) == 0
    assert books.sum("entry_fee", "exit_fee") == ledger.fees
    assert books.sum("financing") == ledger.financing
    signed = sum(
        (
            (Fraction(t["entered_quantity"]) - Fraction(t["exited_quantity"])) * (1 if t["side"] == "LONG" else -1)
            for t in books.trades
        ),
        dumb.ZERO,
    )
    assert signed == ledger.net("EUR_USD")


def netting(done: Run, account: str) -> Fraction:
    """What the account realised less what its trades did: the attribution, from both files."""
    return done.ledger(account).realised - done.books(account).sum("gross_pnl")


def check_equity(done: Run, account: str, ledger: dumb.Ledger, mark: dumb.Row) -> None:
    """What the venue itself says it is worth is the equation of the books, and agrees with the cash that changed hands."""
    plan = read_plan(done.config, {})
    terms = next(a for a in plan.accounts if a.config.name == account)
    worker = InlineWorker()

    async def ask() -> Fraction:
        venue = PaperVenue(
            done.state.paper_ledger(account), terms.paper, plan.instruments, terms.settings, run=worker.call
        )
        await venue.connect()
        try:
            balance = await venue.balance()
            held = {p.instrument: Fraction(p.quantity) for p in await venue.positions()}
        finally:
            await venue.close()
        assert held.get("EUR_USD", dumb.ZERO) == ledger.net("EUR_USD")
        return Fraction(balance.equity)

    said = run_loop(ask)
    assert said == ledger.equity("EUR_USD", mark)
    # Cash knows no lots and no rounding: the two may differ by half a step for each amount that was booked, and no more.
    assert abs(said - ledger.equity_by_cash("EUR_USD", mark)) <= dumb.BOOKED / 2 * (ledger.closes + 1)


def check_financing(done: Run, accounts: list[str], part: Part, costs: bool) -> None:
    """Positions held over 17:00 New York (21:00 UTC) pay, and no others do."""
    paid = sum(done.ledger(account).financed for account in accounts)
    assert (paid > 0) is (costs and part.start < 21 < part.end)


# --- the same again ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [APART, TOGETHER], ids=["separate accounts", "one account"])
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(Part(12.5, 12.6), id="six minutes"),
        pytest.param(DAY_LONG, id="whole day", marks=pytest.mark.campaign),
    ],
)
def test_the_same_ticks_give_the_same_trades(tmp_path: Path, day: Path, part: Part, shape: str) -> None:
    first = run(config_of(tmp_path / "first", shape, day, costs=True, **part.options()))
    again = run(config_of(tmp_path / "again", shape, day, costs=True, **part.options()))
    for account in (a.account for a in first.summary.accounts):
        one, other = first.books(account), again.books(account)
        assert one.execution != other.execution
        assert one.trades
        for name in ("trades", "orders", "fills", "signals", "events"):
            assert dumb.without_ids(one, name) == dumb.without_ids(other, name), name


# --- dirty files ---------------------------------------------------------------------------------------------------------------


def bad_rows_of(paths: list[Path]) -> tuple[Counter[str], int]:
    """What is wrong with recorded rows and what the defaults do about it, and how many rows are good."""
    found: Counter[str] = Counter()
    good = 0
    for path in paths:
        before: dumb.Row | None = None  # the last one that was in time
        for row in dumb.recorded(path):
            if before is not None and row.ms < before.ms:
                found["out_of_order_dropped"] += 1
                continue
            if row == before:
                found["duplicate_accepted"] += 1
            before = row
            if row.bid > row.ask:
                found["crossed_dropped"] += 1
            elif row.bid == row.ask:
                found["zero_spread_dropped"] += 1
            else:
                good += 1
    return found, good


SUNDAY = pytest.param("20140504_quote.zip", id="a sunday")
FIVE_DAYS = pytest.param("*_quote.zip", id="five days", marks=pytest.mark.campaign)


@pytest.mark.parametrize("pattern", [SUNDAY, FIVE_DAYS])
def test_dirty_files_run_and_the_summary_says_what_was_wrong(tmp_path: Path, data_dir: Path, pattern: str) -> None:
    folder = data_dir / "fxcm" / "tick" / "eurusd"
    paths = sorted(folder.glob(pattern))
    if not paths:
        pytest.skip(f"no recorded ticks at {folder / pattern}")
    expected, good = bad_rows_of(paths)
    done = run(config_of(tmp_path, TOGETHER, folder / pattern, time_zone="UTC-05:00"))
    assert done.code == 0, done.log
    check_our_own_proof(done)
    (feed,) = done.summary.feeds
    gaps = bad_rows(feed.quality).get("gap_accepted", 0)
    assert bad_rows(feed.quality) == {**expected, **({"gap_accepted": gaps} if gaps else {})}
    assert (
        feed.quality["rows"]
        == good + expected["crossed_dropped"] + expected["zero_spread_dropped"] + expected["out_of_order_dropped"]
    )
    for strategy in ("ema", "floor"):
        assert done.books("both").checkpoint(strategy)["ticks_processed"] == good
    told = next(line for line in done.log.splitlines() if "bad rows:" in line)
    for kind in ("crossed_dropped", "zero_spread_dropped"):
        assert expected[kind] > 0
        assert f"{expected[kind]:,} {kind.replace('_', ' ')}" in told
