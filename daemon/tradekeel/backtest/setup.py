"""What a backtest is made of, and its cores made from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tradekeel.backtest.account import Account, Hears, Journal
from tradekeel.backtest.exchange import Exchange
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.saving import decode_state
from tradekeel.backtest.snapshots import Snapshots
from tradekeel.domain.book import Book
from tradekeel.domain.execution import ExecutorCore
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.matching import Matcher, PaperAccount, PaperSettings
from tradekeel.domain.money import ZERO
from tradekeel.domain.monitor import MonitorCore
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import ACCOUNT_OWNER, Checkpoint, ExecutionRow, Mode, StrategyRow
from tradekeel.domain.sessions import TRADING_DAYS_A_YEAR
from tradekeel.domain.view import View
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.contexts import StrategySettings
from tradekeel.strategies.core import StrategistCore
from tradekeel.strategies.saving import decode_execution_state


class Traded(Struct, frozen=True, kw_only=True):
    """One strategy that trades."""

    strategy: AnyStrategy
    row: StrategyRow  # as the books have it, before it has an execution


class Setup(Struct, frozen=True, kw_only=True):
    """One account with its strategies, in config order: everything a run depends on but its ticks."""

    execution: str
    number: int = 1
    terms: AccountTerms
    paper: PaperAccount
    settings: PaperSettings = PaperSettings()
    limits: RiskLimits = RiskLimits()
    venue_instruments: Mapping[str, Instrument]  # an exchange knows more than we trade
    traded: tuple[Traded, ...]
    drafts: tuple[StrategyRow, ...] = ()
    snapshots: Snapshots | None = None  # of the account's figures; None: none are taken
    days_a_year: int = TRADING_DAYS_A_YEAR  # that figures are annualised with
    sample_ticks_every: int = 0  # one tick in so many is journaled; 0: none
    begins_ns: int = (
        0  # event time: ticks before it warm strategies up; nothing is entered until then, and no figure counts them
    )
    config_fingerprint: str = ""
    data_fingerprint: str = ""


def begin(setup: Setup, journal: Journal, started_ns: int = 0, hears: Hears | None = None) -> Kernel:
    """A kernel that stands before the first tick, whose time is ``started_ns``, with the execution and the account opened.

    ``hears`` is told of each decision.
    """
    terms = setup.terms
    matcher = Matcher(setup.paper, setup.venue_instruments, setup.settings)
    core = ExecutorCore(Book(), terms, RiskGate(setup.limits))
    account = Account(core, Exchange(matcher, setup.settings), journal, hears=hears)
    row = ExecutionRow(
        execution=setup.execution,
        account=terms.account,
        number=setup.number,
        mode=Mode.BACKTEST,
        venue=terms.venue,
        currency=terms.currency,
        status="running",
        config_fingerprint=setup.config_fingerprint,
        data_fingerprint=setup.data_fingerprint,
        opening_balance=ZERO,
        started_ns=max(started_ns, setup.begins_ns),
    )
    account.begin(row, (*(traded.row for traded in setup.traded), *setup.drafts))
    kernel = _kernel(setup, account, None, {})
    kernel.start()
    return kernel


def resume(setup: Setup, journal: Journal, saved: Sequence[Checkpoint], hears: Hears | None = None) -> Kernel:
    """A kernel that goes on from what :func:`tradekeel.backtest.saving.save` gave. Raises ``msgspec`` errors on anything else."""
    states = {checkpoint.owner: checkpoint.state for checkpoint in saved}
    state = decode_state(states.pop(ACCOUNT_OWNER))
    matcher = Matcher(setup.paper, setup.venue_instruments, setup.settings, state.venue)
    core = ExecutorCore(Book.load(state.book), setup.terms, RiskGate(setup.limits, state.rates))
    core.resume(state.memories, state.position, ())
    core.quotes.update(state.quotes)
    account = Account(
        core,
        Exchange(matcher, setup.settings),
        journal,
        last_ns=state.ts_ns,
        hears=hears,
    )
    account.go_on()
    return _kernel(setup, account, state.monitor, states, state.snapshot_due_ns)


def _kernel(
    setup: Setup,
    account: Account,
    monitor_state: bytes | None,
    states: Mapping[str, bytes],
    snapshot_due_ns: int = 0,
) -> Kernel:
    terms, book = setup.terms, account.book
    monitor = MonitorCore(
        View.of(book, None),
        terms.instruments,
        terms.currency,
        setup.limits,
        monitor_state,
        setup.days_a_year,
        setup.begins_ns,
    )
    strategists = [_strategist(setup, traded, book, states.get(traded.row.strategy)) for traded in setup.traded]
    account.followers = [monitor, *strategists]
    return Kernel(
        account,
        monitor,
        strategists,
        exits_at_venue=terms.exits_at_venue,
        needs_equity=setup.limits.needs_equity,
        snapshots=setup.snapshots,
        snapshot_due_ns=snapshot_due_ns,
        begins_ns=setup.begins_ns,
        sample_ticks_every=setup.sample_ticks_every,
    )


def _strategist(setup: Setup, traded: Traded, book: Book, saved: bytes | None) -> StrategistCore:
    name = traded.row.strategy
    settings = StrategySettings(
        name=name,
        execution=setup.execution,
        instruments={symbol: setup.venue_instruments[symbol] for symbol in traded.row.instruments},
        parameter_mode=setup.terms.parameter_mode or "",
        saves_decisions=False,
        begins_ns=setup.begins_ns,
    )
    state = None if saved is None else decode_execution_state(saved)
    return StrategistCore(traded.strategy, settings, View.of(book, name), state)
