"""Backtests of a configuration: each account's strategies, gate and venue, on the ticks of its feed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import structs

from tradekeel.backtest.setup import Setup, Traded
from tradekeel.backtest.source import CutSource, FeedSource, TickDataSource
from tradekeel.bootstrap.plan import AccountPlan, Plan, account_instruments, strategy_row
from tradekeel.bootstrap.sharing import password_of
from tradekeel.domain.ids import derived_id
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.matching import PaperAccount
from tradekeel.domain.rows import StrategyStatus
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.feeds.zones import parse_instant

SNAPSHOT_EVERY_NS = 3_600 * NS_PER_S
"""Event time between two points of a curve."""

FULL_SPEED = {"speed": "max", "wait_max_s": None}
"""A backtest waits for nobody."""


class _NoClock:
    """For feeds that never wait."""

    def now_ns(self) -> int:
        raise AssertionError("a replay reads no clock")

    def monotonic(self) -> float:
        raise AssertionError("a replay reads no clock")

    async def sleep(self, seconds: float) -> None:
        """Nobody else is to run."""


NO_CLOCK = _NoClock()


def accounts_of(plan: Plan, name: str | None) -> Sequence[AccountPlan]:
    """The account of this name; without one all that have a strategy. InputError where there is none."""
    if name is None:
        chosen = [account for account in plan.accounts if account.strategies]
        if not chosen:
            raise InputError(f"{plan.config.source}: no strategy is enabled: nothing would happen")
        return chosen
    found = next((account for account in plan.accounts if account.config.name == name), None)
    if found is None:
        names = ", ".join(account.config.name for account in plan.accounts)
        raise InputError(f"{plan.config.source}: there is no account {name!r}; there are: {names}")
    if not found.strategies:
        raise InputError(f"{plan.config.source}: account {name} has no strategy that is enabled: nothing would happen")
    return [found]


def source_of(plan: Plan, account: AccountPlan, start: str | None = None, end: str | None = None) -> TickDataSource:
    """The account's feed, at full speed, between two times. Raises InputError where it cannot be replayed."""
    feed = plan.config.feeds[account.config.feed]
    kind = FEEDS[feed.kind]
    settings: Any = feed.settings
    fields = settings.__struct_fields__
    changes: dict[str, Any] = {name: value for name, value in FULL_SPEED.items() if name in fields}
    start_ns, end_ns = (None if text is None else parse_instant(text) for text in (start, end))
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise InputError(f"--start {start} is not before --end {end}")
    cuts_itself = "end" in fields  # a made-up market begins at its start: with another one it would be another market
    if cuts_itself:
        changes |= {name: text for name, text in (("start", start), ("end", end)) if text is not None}
    wanted: dict[str, dict[str, None]] = {}
    for strategy in account.strategies:
        for symbol in strategy.config.instruments:
            wanted.setdefault(symbol, {}).update(dict.fromkeys(strategy.timeframes))
    context = FeedContext(
        name=feed.name,
        sleeper=NO_CLOCK,
        base=plan.config.folder,
        instruments=plan.instruments,
        timeframes={symbol: tuple(frames) for symbol, frames in wanted.items()},
        password=password_of(feed),
    )
    source = FeedSource(kind.build(structs.replace(settings, **changes), context))
    if cuts_itself or start_ns is end_ns is None:
        return source
    return CutSource(source, start_ns, end_ns, context.timeframes)


def setup_of(plan: Plan, account: AccountPlan, source: TickDataSource, balance: Decimal | None = None) -> Setup:
    """What is run: the account as the daemon would trade it, on this source."""
    config = account.config
    paper = account.paper if balance is None else _with_deposit(account.paper, balance)
    fingerprint = source.info.fingerprint
    return Setup(
        execution=derived_id("", "backtest", plan.config.fingerprint, config.name, f"{paper.deposit:f}", fingerprint),
        terms=AccountTerms(
            account=config.name,
            venue="paper",
            currency=config.currency,
            instruments=account_instruments(account, source.info.instruments, plan.instruments),
            exits_at_venue=account.exits_at_venue,
            hedging=config.hedging,
            leverage=config.leverage,
            parameter_mode=config.parameter_mode,
        ),
        paper=paper,
        settings=account.settings,
        limits=account.limits,
        venue_instruments=plan.instruments,
        traded=tuple(
            Traded(strategy=strategy.make(), row=strategy_row(strategy.config, StrategyStatus.ACTIVE))
            for strategy in account.strategies
        ),
        drafts=tuple(strategy_row(draft, StrategyStatus.DRAFT) for draft in account.drafts),
        snapshot_every_ns=SNAPSHOT_EVERY_NS,
        sample_ticks_every=plan.config.storage.sample_ticks_every,
        config_fingerprint=plan.config.fingerprint,
        data_fingerprint=fingerprint,
    )


def _with_deposit(paper: PaperAccount, deposit: Decimal) -> PaperAccount:
    return structs.replace(paper, deposit=deposit)
