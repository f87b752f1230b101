"""Backtests of a configuration: each account's strategies, gate and venue, on the ticks of its feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec import structs

from tradekeel import __version__
from tradekeel.actors.scheduler import EPOCH, NS_PER_US, Trigger
from tradekeel.backtest.around import HoursSource, SpanSource
from tradekeel.backtest.leaps import LeapsSource
from tradekeel.backtest.setup import Setup, Traded
from tradekeel.backtest.snapshots import Snapshots, every, thinning
from tradekeel.backtest.source import CutSource, FeedSource, TickDataSource
from tradekeel.backtest.streamed import RedisTickDataSource
from tradekeel.bootstrap.plan import AccountPlan, Plan, account_instruments, strategy_row
from tradekeel.bootstrap.schedule import trigger_of
from tradekeel.bootstrap.sharing import READS_A_STREAM, password_of, stream_of
from tradekeel.bootstrap.values import span_ns
from tradekeel.config import FeedConfig
from tradekeel.domain.ids import derived_id
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.matching import PaperAccount
from tradekeel.domain.rows import StrategyStatus
from tradekeel.domain.sessions import EVERY_DAY_A_YEAR
from tradekeel.domain.ticks import NEVER_NS
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.errors import InputError
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.feeds.stream import Watch
from tradekeel.feeds.zones import parse_instant
from tradekeel.runtime.loop import Stepper

FULL_SPEED = {"speed": "max", "wait_max_s": None}
"""A backtest waits for nobody."""


HOURS_SAY_NOTHING = ("gap_on_weekends", "weekends", "hides_hours")
"""What is true of a feed whose ticks' hours say nothing: its market trades at the weekend, or its bars last longer than hours."""


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


def source_of(
    plan: Plan, account: AccountPlan, start: str | None = None, end: str | None = None, watch: Watch | None = None
) -> TickDataSource:
    """The account's feed, at full speed, between two times. Raises InputError where it cannot be replayed.

    Where no tick lies there, whoever reads it is told from when to when there are some: DataError. ``watch`` looks on while rows
    are read, where a feed has any.
    """
    start_ns, end_ns = (None if text is None else parse_instant(text) for text in (start, end))
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise InputError(f"--start {start} is not before --end {end}")
    settings: Any = plan.config.feeds[account.config.feed].settings
    if _cuts_itself(settings):
        asked = {name: text for name, text in (("start", start), ("end", end)) if text is not None}
        source = _feed_source(plan, account, asked, watch)
        is_cut, everything = bool(asked or settings.start or settings.end), {"start": None, "end": None}
    else:
        source = _cut(_feed_source(plan, account, {}), start_ns, end_ns, timeframes_of(account))
        is_cut, everything = start_ns is not end_ns and not _is_made_up(settings), {}
    return SpanSource(source, lambda: _feed_source(plan, account, everything)) if is_cut else source


def _feed_source(
    plan: Plan, account: AccountPlan, cut: Mapping[str, str | None], watch: Watch | None = None
) -> TickDataSource:
    """All of the account's feed, where that cuts itself between the times of ``cut``."""
    feed = plan.config.feeds[account.config.feed]
    timeframes = timeframes_of(account)
    if feed.kind == READS_A_STREAM:
        return shared_ticks(plan, feed, timeframes)
    settings: Any = feed.settings
    changes: dict[str, Any] = {name: value for name, value in FULL_SPEED.items() if name in settings.__struct_fields__}
    try:
        settings = structs.replace(settings, **changes, **cut)
    except ValueError as error:  # one of the two times is the configuration's
        raise InputError(f"feed {feed.name}, cut by --start and --end: {error}") from None
    context = FeedContext(
        name=feed.name,
        sleeper=NO_CLOCK,
        base=plan.config.folder,
        instruments=plan.instruments,
        timeframes=timeframes,
        watch=watch,
        password=password_of(feed),
    )
    source: TickDataSource = FeedSource(FEEDS[feed.kind].build(settings, context))
    if not _is_made_up(settings):
        source = LeapsSource(source)
    if not _is_made_up(settings) and not any(getattr(settings, name, False) for name in HOURS_SAY_NOTHING):
        resting = [s for s in source.info.instruments if plan.instruments[s].days_a_year < EVERY_DAY_A_YEAR]
        source = HoursSource(source, resting)
    return source


def _is_made_up(settings: Any) -> bool:
    """Such a market rests by itself, and any place in it is reached at once."""
    return "weekends" in settings.__struct_fields__


def warmed_up(plan: Plan, account: AccountPlan, start: str | None, warm_up: str | None) -> tuple[str | None, int]:
    """From when on the feed is read, and from when on it is traded (ns; 0: from the first tick on). Raises InputError."""
    if warm_up is None:
        return start, 0
    settings = plan.config.feeds[account.config.feed].settings
    if start is None and _cuts_itself(settings):
        start = settings.start
    if start is None:
        raise InputError(f"--warm-up {warm_up} is read before the start: say where that is, with --start")
    begins_ns = parse_instant(start)
    try:
        return iso(max(0, begins_ns - span_ns(warm_up))), begins_ns
    except InputError as error:
        raise InputError(f"--warm-up: {error}") from None


def _cuts_itself(settings: Any) -> bool:
    """A made-up market begins at its start: with another one it would be another market."""
    return "end" in settings.__struct_fields__


def timeframes_of(account: AccountPlan) -> dict[str, tuple[str, ...]]:
    """The bars that its strategies want, by instrument."""
    wanted: dict[str, dict[str, None]] = {}
    for strategy in account.strategies:
        for symbol in strategy.config.instruments:
            wanted.setdefault(symbol, {}).update(dict.fromkeys(strategy.timeframes))
    return {symbol: tuple(frames) for symbol, frames in wanted.items()}


def shared_ticks(plan: Plan, feed: FeedConfig, timeframes: Mapping[str, Sequence[str]]) -> TickDataSource:
    """All that the stream of a feed holds now. Raises InputError where the feed's table says something else, DataError."""
    make = stream_of(plan.config, feed)
    if make is None:
        raise InputError(f"feed {feed.name} reads from Redis, and no server is named: give redis.url")
    source = RedisTickDataSource(make(feed.settings.stream), Stepper(), timeframes=timeframes)
    has, says = source.info.instruments, feed.settings.instruments
    if sorted(has) != sorted(says):
        source.close()
        raise InputError(
            f"feed {feed.name}: the stream {feed.settings.stream!r} has {', '.join(has)}, and the feed's table says "
            f"{', '.join(says)}: write what it has into instruments"
        )
    return source


def _cut(
    source: TickDataSource, start_ns: int | None, end_ns: int | None, timeframes: Mapping[str, Sequence[str]]
) -> TickDataSource:
    return source if start_ns is end_ns is None else CutSource(source, start_ns, end_ns, timeframes)


def setup_of(
    plan: Plan, account: AccountPlan, source: TickDataSource, balance: Decimal | None = None, begins_ns: int = 0
) -> Setup:
    """What is run: the account as the daemon would trade it, on this source, from ``begins_ns`` on."""
    config = account.config
    paper = account.paper if balance is None else _with_deposit(account.paper, balance)
    fingerprint = source.info.fingerprint
    return Setup(
        execution=_name(plan, account, paper, fingerprint, begins_ns),
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
        snapshots=snapshots_of(plan.config.storage.snapshot_schedule),
        days_a_year=account.days_a_year,
        sample_ticks_every=plan.config.storage.sample_ticks_every,
        begins_ns=begins_ns,
        config_fingerprint=plan.config.fingerprint,
        data_fingerprint=fingerprint,
    )


def snapshots_of(schedule: float | str | None) -> Snapshots | None:
    """The daemon's schedule by the market's time, with what it saves at each; without one only what curves need."""
    if schedule is None:
        return Snapshots(thinning)
    trigger = trigger_of(schedule)
    if trigger is None:
        return None
    if isinstance(schedule, str):
        return Snapshots(partial(_fires_after, trigger), with_metrics=True)
    return Snapshots(every(int(Decimal(str(schedule)) * NS_PER_S)), with_metrics=True)


def _fires_after(trigger: Trigger, now_ns: int, first_ns: int) -> int:
    now = EPOCH + timedelta(microseconds=now_ns // NS_PER_US)
    due = trigger.after(now, now)
    return NEVER_NS if due is None else (due - EPOCH) // timedelta.resolution * NS_PER_US


def _with_deposit(paper: PaperAccount, deposit: Decimal) -> PaperAccount:
    return structs.replace(paper, deposit=deposit)


def _name(plan: Plan, account: AccountPlan, paper: PaperAccount, data: str, begins_ns: int) -> str:
    """The hash of all that decides what comes out: configuration, strategies' code, data, deposit, and this version."""
    begins = [str(begins_ns)] if begins_ns else []
    codes = [f"{strategy.config.name} {strategy.code}" for strategy in account.strategies]
    deposit = f"{paper.deposit:f}"
    return derived_id(
        "", "backtest", __version__, plan.config.fingerprint, account.config.name, deposit, data, *begins, *codes
    )
