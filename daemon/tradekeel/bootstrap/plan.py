"""From the configuration to a plan: everything checked, decoded and chosen, nothing opened yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.problems import look
from tradekeel.config import AccountConfig, Config, Kinds, StrategyConfig, load_config
from tradekeel.domain.instruments import CATALOGUE, Instrument
from tradekeel.domain.matching import PaperAccount, PaperSettings
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.errors import ConfigError, InputError
from tradekeel.feeds import FEEDS
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.registry import load_strategy_class


class StrategyPlan(Struct, frozen=True, kw_only=True):
    """One strategy, ready to be made."""

    config: StrategyConfig
    cls: type[AnyStrategy]
    params: Struct

    def make(self) -> AnyStrategy:
        """The strategy object; pure, so one serves all its incarnations."""
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


class Plan(Struct, frozen=True, kw_only=True):
    """The whole daemon."""

    config: Config
    instruments: Mapping[str, Instrument]
    accounts: tuple[AccountPlan, ...]


def kinds() -> Kinds:
    """The kinds that the configuration may name."""
    return Kinds(
        feeds={name: kind.settings for name, kind in FEEDS.items()},
        venues={"paper": PaperSettings},
        strategies=lambda kind, folder: load_strategy_class(kind, folder).Params,
        risk=RiskLimits,
        look=look,
    )


def read_plan(path: Path, environ: Mapping[str, str], *, fetch_secrets: bool = True) -> Plan:
    """Read, decode and check everything that can be checked without opening anything; ConfigError with all problems."""
    return make_plan(load_config(path, environ, kinds(), fetch_secrets=fetch_secrets))


def make_plan(config: Config) -> Plan:
    """The plan for a configuration that was decoded with :func:`kinds`."""
    problems: list[str] = []
    instruments = _instruments(config, problems)
    accounts = [_account(config, account, instruments, problems) for account in config.accounts.values()]
    if problems:
        raise ConfigError(problems, str(config.source))
    return Plan(config=config, instruments=instruments, accounts=tuple(a for a in accounts if a is not None))


def _instruments(config: Config, problems: list[str]) -> dict[str, Instrument]:
    known: dict[str, Instrument] = dict(CATALOGUE)
    for symbol, table in config.instruments.items():
        changes = {field: value for field in table.__struct_fields__ if (value := getattr(table, field)) is not None}
        try:
            if symbol in known:
                known[symbol] = msgspec.structs.replace(known[symbol], **changes)
            else:
                known[symbol] = Instrument(symbol=symbol, **changes)
        except InputError as error:
            problems.append(f"instruments.{symbol}: {error}")
        except TypeError as error:
            problems.append(f"instruments.{symbol} is not in the catalogue and not complete: {error}")
    return known


def _account(
    config: Config, account: AccountConfig, instruments: Mapping[str, Instrument], problems: list[str]
) -> AccountPlan | None:
    strategies: list[StrategyPlan] = []
    own = [strategy for strategy in config.strategies.values() if strategy.account == account.name]
    for strategy in own:
        if not strategy.enabled:
            continue
        problems.extend(
            f"strategies.{strategy.name}.instruments: {symbol} is not known; describe it under [instruments.{symbol}]"
            for symbol in strategy.instruments
            if symbol not in instruments
        )
        cls = load_strategy_class(strategy.kind, config.folder)
        strategies.append(StrategyPlan(config=strategy, cls=cls, params=strategy.settings))
    shared = _shared_instruments(strategies)
    if shared and not account.share_instruments and not account.hedging:
        for symbol, names in shared.items():
            problems.append(
                f"accounts.{account.name}: {', '.join(names)} trade {symbol} on one netting account; "
                "set share_instruments = true (stops are then kept by the daemon, per trade), or give each its own account"
            )
        return None
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
