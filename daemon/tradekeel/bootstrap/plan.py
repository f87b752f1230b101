"""From the configuration to a plan: everything checked, decoded and chosen, nothing opened yet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradekeel.bootstrap.problems import Reader, complete_instruments, look
from tradekeel.config import AccountConfig, Config, Kinds, StrategyConfig, load_config
from tradekeel.config.words import join_path
from tradekeel.domain.goals import GOALS
from tradekeel.domain.instruments import Instrument, days_a_year_of
from tradekeel.domain.matching import PaperAccount, PaperSettings
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.risk_signals import SESSION_NAMES, ModeRule, SignalFilter
from tradekeel.domain.rows import StrategyRow, StrategyStatus
from tradekeel.errors import ConfigError, Defect, InputError
from tradekeel.feeds import FEEDS
from tradekeel.strategies.arithmetic import arithmetic
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.registry import load_strategy, load_strategy_class, wanted_timeframes


class StrategyPlan(Struct, frozen=True, kw_only=True):
    """One strategy, ready to be made."""

    config: StrategyConfig
    cls: type[AnyStrategy]
    params: Struct
    code: str  # which content its file has: a reload compares it
    timeframes: tuple[str, ...]  # the bars that it wants

    def make(self) -> AnyStrategy:
        """The strategy object; pure, so one serves all its incarnations."""
        with arithmetic():
            return self.cls(self.params)


class AccountPlan(Struct, frozen=True, kw_only=True):
    """One account with its strategies, in config order."""

    config: AccountConfig
    paper: PaperAccount
    settings: PaperSettings
    limits: RiskLimits
    strategies: tuple[StrategyPlan, ...]
    drafts: tuple[StrategyConfig, ...]  # those that are not enabled: they are in the books, and nothing of them runs
    exits_at_venue: bool
    days_a_year: int  # that figures are annualised with


class Plan(Struct, frozen=True, kw_only=True):
    """The whole daemon."""

    config: Config
    instruments: Mapping[str, Instrument]
    accounts: tuple[AccountPlan, ...]


def kinds(reader: Reader | None = None) -> Kinds:
    """The kinds that the configuration may name. ``reader`` is who is going to read its files, if not this process."""
    who = reader or Reader()

    def load(kind: str, folder: Path) -> type[AnyStrategy]:
        return load_strategy_class(who.place(kind), folder)

    return Kinds(
        feeds={name: kind.settings for name, kind in FEEDS.items()},
        venues={"paper": PaperSettings},
        strategies=lambda kind, folder: load(kind, folder).Params,
        try_strategy=lambda kind, folder, params: wanted_timeframes(load(kind, folder), params),
        risk=RiskLimits,
        keys={(SignalFilter, "sessions"): SESSION_NAMES, (ModeRule, "sessions"): SESSION_NAMES},
        look=partial(look, reader=who),
        goals=GOALS,
    )


def read_plan(path: Path, environ: Mapping[str, str], *, fetch_secrets: bool = True) -> Plan:
    """Read, decode and check everything that can be checked without opening anything; ConfigError with all problems."""
    return make_plan(load_config(path, environ, kinds(), fetch_secrets=fetch_secrets))


def make_plan(config: Config) -> Plan:
    """The plan for a configuration that was read with :func:`kinds`, and so has no problem any more."""
    instruments = complete_instruments(config.instruments, _nothing_is_wrong)
    accounts = tuple(_account(config, account, instruments) for account in config.accounts.values())
    return Plan(config=config, instruments=instruments, accounts=accounts)


def _nothing_is_wrong(path: str, sentence: str) -> None:
    raise Defect(f"{path}: {sentence}, and it was not found when the file was read")


def _account(config: Config, account: AccountConfig, instruments: Mapping[str, Instrument]) -> AccountPlan:
    own = [strategy for strategy in config.strategies.values() if strategy.account == account.name]
    strategies = [_strategy(config, strategy) for strategy in own if strategy.enabled]
    shared = _shared_instruments(strategies)
    traded = {symbol for strategy in strategies for symbol in strategy.config.instruments}
    return AccountPlan(
        config=account,
        paper=PaperAccount(
            account=account.account_at_venue,
            currency=account.currency,
            deposit=account.balance,
            leverage=account.leverage,
            hedging=account.hedging,
        ),
        settings=account.settings if account.settings is not None else PaperSettings(),
        limits=account.risk_settings if account.risk_settings is not None else RiskLimits(),
        strategies=tuple(strategies),
        drafts=tuple(strategy for strategy in own if not strategy.enabled),
        exits_at_venue=account.exits == "venue" and (not shared or account.hedging),
        days_a_year=account.days_a_year or days_a_year_of(instruments[symbol] for symbol in traded),
    )


def _strategy(config: Config, strategy: StrategyConfig) -> StrategyPlan:
    try:
        loaded = load_strategy(strategy.kind, config.folder)
        if type(strategy.settings) is not loaded.cls.Params:
            raise InputError("its file was changed while it was read: try again")
        timeframes = wanted_timeframes(loaded.cls, strategy.settings)
    except InputError as error:  # its file has changed since it was looked at, or it says something else each time
        raise ConfigError([f"{join_path('strategies', strategy.name)}: {error}"], str(config.source)) from error
    return StrategyPlan(
        config=strategy, cls=loaded.cls, params=strategy.settings, code=loaded.code, timeframes=timeframes
    )


def _shared_instruments(strategies: list[StrategyPlan]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for strategy in strategies:
        for symbol in strategy.config.instruments:
            users.setdefault(symbol, []).append(strategy.config.name)
    return {symbol: names for symbol, names in users.items() if len(names) > 1}


def account_instruments(
    account: AccountPlan, feed_instruments: tuple[str, ...], known: Mapping[str, Instrument]
) -> dict[str, Instrument]:
    """What an account sees: what its feed delivers and what its strategies trade."""
    wanted: dict[str, Any] = dict.fromkeys(feed_instruments)
    for strategy in account.strategies:
        wanted.update(dict.fromkeys(strategy.config.instruments))
    return {symbol: known[symbol] for symbol in wanted if symbol in known}


def strategy_row(config: StrategyConfig, status: StrategyStatus) -> StrategyRow:
    """A strategy as the books have it, before it has an execution."""
    return StrategyRow(
        execution="",
        strategy=config.name,
        kind=config.kind,
        status=status,
        instruments=config.instruments,
        parameters={name: _plain(getattr(config.settings, name)) for name in config.settings.__struct_fields__},
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | bool | float) else str(value)
