"""From a configuration to a task of optimising: everything read and checked, nothing opened but the data's source.

Every process of a study prepares the task by itself, from the same words, and a study refuses whoever comes to another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from tradekeel import __version__
from tradekeel.backtest.optimising.space import Marks, Range, Space
from tradekeel.backtest.optimising.windows import Cutting, Part, Window, walk_forward, whole
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.source import TickDataSource
from tradekeel.bootstrap.backtesting import setup_of, source_of
from tradekeel.bootstrap.optimising.stores import StoreSettings
from tradekeel.bootstrap.plan import AccountPlan, Plan, StrategyPlan, read_plan
from tradekeel.bootstrap.values import span_ns
from tradekeel.config.optimize import (
    JOBS_MAX,
    TRIALS_MAX,
    OptimizeConfig,
    RangeTable,
    check_study_name,
    check_study_url,
    is_whole,
)
from tradekeel.config.words import join_path
from tradekeel.domain.goals import GOALS, Goal
from tradekeel.domain.money import ZERO, parse_amount
from tradekeel.errors import ConfigError, InputError
from tradekeel.strategies.registry import wanted_timeframes

FOLDER = "optimizations"
PASSWORD = "TRADEKEEL_STUDY_PASSWORD"
"""The environment's variable for the password of the user in the study's URL, where the file says nothing of one."""

TRIALS_DEFAULT = 100
NAME_DIGITS = 12

Identity = dict[str, str]
"""Hashes of all that decides what a trial comes to, by what they are of."""


class Asked(Struct, frozen=True, kw_only=True):
    """What the command line says; None where it leaves a matter to the configuration."""

    config: Path
    account: str | None = None
    start: str | None = None
    end: str | None = None
    balance: str | None = None
    trials: int | None = None
    jobs: int | None = None
    sampler: str | None = None
    storage: str | None = None
    study: str | None = None
    walk_forward: bool | None = None
    warm_up: str | None = None


class Task(Struct, frozen=True, kw_only=True):
    """See the module."""

    asked: Asked  # from which every process prepares it
    plan: Plan
    account: AccountPlan
    options: OptimizeConfig
    space: Space
    goals: tuple[Goal, ...]
    balance: Decimal | None
    start: str | None
    end: str | None
    name: str  # of the study, without its window
    identity: Identity
    store: StoreSettings

    def source(self) -> TickDataSource:
        """The account's feed."""
        return source_of(self.plan, self.account, self.start, self.end)

    @property
    def warm_up_ns(self) -> int:
        """How much before its part each run begins to read."""
        return _span_ns(self.options.warm_up) or 0

    def windows(self, data: Part) -> tuple[Window, ...]:
        """How the data is cut."""
        return walk_forward(data, _cutting(self.options)) if self.options.walk_forward else whole(data)

    def study_of(self, window: Window) -> str:
        """The name of a window's study."""
        return f"{self.name} window {window.number}" if self.options.walk_forward else self.name

    def wanted(self, points: Sequence[Marks] | None) -> int:
        """How many trials a window has. There are never more than points."""
        asked = self.options.trials
        if points is None:
            return asked or TRIALS_DEFAULT
        if asked is None and self.options.sampler_used == "grid":
            return len(points)
        return min(asked or TRIALS_DEFAULT, len(points))

    def allows(self, marks: Marks) -> bool:
        """Whether the strategies take these parameters together."""
        try:
            self.chosen(marks)
        except InputError:
            return False
        return True

    def chosen(self, marks: Marks) -> AccountPlan:
        """The account with these parameters. Raises InputError where a strategy refuses them."""
        values = self.space.values(marks)
        strategies = tuple(
            _with(self.plan, each, values[each.config.name]) if each.config.name in values else each
            for each in self.account.strategies
        )
        return structs.replace(self.account, strategies=strategies)

    def setup(self, chosen: AccountPlan, source: TickDataSource, part: Part) -> Setup:
        """A trial: the execution that `tradekeel backtest` of such a configuration would be, without what is kept for curves."""
        begins_ns = part.start_ns if self.warm_up_ns else 0
        values = dict(self.plan.config.values)
        for each in chosen.strategies:
            path = join_path("strategies", each.config.name)
            values |= {f"{path}.params.{name}": getattr(each.params, name) for name in each.params.__struct_fields__}
        plan = structs.replace(self.plan, config=structs.replace(self.plan.config, values=values))
        return structs.replace(
            setup_of(plan, chosen, source, self.balance, begins_ns), snapshots=None, sample_ticks_every=0
        )


def prepare(asked: Asked, environ: Mapping[str, str]) -> Task:
    """The task. Raises ConfigError, InputError, DataError."""
    plan = read_plan(asked.config, environ)
    options = _options(plan, asked)
    account = _account(plan, options)
    space = _space(account, options)
    if options.sampler_used == "grid" and space.count is None:
        endless = ", ".join(each.name for each in space.ranges if each.count is None)
        raise InputError(f"a grid needs a step for each range; {endless} has none")
    balance = None if asked.balance is None else parse_amount(asked.balance)
    if balance is not None and balance <= ZERO:
        raise InputError(f"--balance {asked.balance}: it must be above zero")
    source = source_of(plan, account, asked.start, asked.end)
    identity = _identity(plan, account, options, space, balance, source.info.fingerprint)
    source.close()
    name = options.study or _hash(*identity.values())[:NAME_DIGITS]
    return Task(
        asked=asked,
        plan=plan,
        account=account,
        options=options,
        space=space,
        goals=tuple(GOALS[name] for name in options.objectives),
        balance=balance,
        start=asked.start,
        end=asked.end,
        name=name,
        identity=identity,
        store=StoreSettings(options.storage, _password(plan, options, environ), plan.config.state_dir / FOLDER / name),
    )


def _password(plan: Plan, options: OptimizeConfig, environ: Mapping[str, str]) -> str | None:
    """Of the user in the study's URL; a file needs none."""
    if not options.storage:
        return None
    if options.password is None:
        return environ.get(PASSWORD)
    try:
        return plan.config.vault.fetched(options.password, plan.config.folder).reveal()
    except InputError as error:
        raise InputError(f"{plan.config.source}: optimize.password: {error}") from None


def _options(plan: Plan, asked: Asked) -> OptimizeConfig:
    options = plan.config.optimize
    if options is None or not any(options.parameters.values()):
        raise InputError(
            f"{plan.config.source}: nothing says which parameters may be what; write for example\n"
            "[optimize.parameters.STRATEGY]\nfast = { from = 5, to = 50, step = 5 }"
        )
    for name, value, check in (
        ("storage", asked.storage, check_study_url),
        ("study", asked.study, check_study_name),
        ("warm-up", asked.warm_up, span_ns),
    ):
        try:
            if value is not None:
                check(value)
        except InputError as error:
            raise InputError(f"--{name}: {error}") from None
    for name, number, least, most in (
        ("trials", asked.trials, 1, TRIALS_MAX),
        ("jobs", asked.jobs, 0, JOBS_MAX),  # as in the file: 0 is one for each core
    ):
        if number is not None and not least <= number <= most:
            raise InputError(f"--{name} {number}: it must be from {least} to {most:,}")
    words = ("account", "trials", "jobs", "sampler", "storage", "study", "walk_forward", "warm_up")
    changes = {word: value for word in words if (value := getattr(asked, word)) is not None}
    return structs.replace(options, **changes)


def _account(plan: Plan, options: OptimizeConfig) -> AccountPlan:
    moved = set(options.parameters)
    found = [each for each in plan.accounts if moved & {strategy.config.name for strategy in each.strategies}]
    if options.account:
        found = [each for each in plan.accounts if each.config.name == options.account]
    if len(found) != 1:
        names = ", ".join(each.config.name for each in found or plan.accounts)
        raise InputError(f"say for which account, with --account NAME or optimize.account; there are: {names}")
    (account,) = found
    for name in sorted(moved - {each.config.name for each in account.strategies}):
        raise InputError(f"optimize.parameters.{name}: this strategy does not trade on account {account.config.name}")
    return account


def _space(account: AccountPlan, options: OptimizeConfig) -> Space:
    ranges = []
    for each in account.strategies:
        types = structs.fields(each.cls.Params)
        whole_ones = {field.encode_name for field in types if is_whole(field.type)}
        for name, table in options.parameters.get(each.config.name, {}).items():
            ranges.append(_range(each.config.name, name, table, name in whole_ones))
    return Space(tuple(ranges))


def _range(strategy: str, parameter: str, table: RangeTable, whole: bool) -> Range:
    if table.choices is not None:
        return Range(strategy=strategy, parameter=parameter, choices=table.choices)
    assert table.from_ is not None
    assert table.to is not None
    step = Decimal(1) if whole and table.step is None else table.step
    return Range(
        strategy=strategy,
        parameter=parameter,
        low=table.from_,
        high=table.to,
        step=step,
        log=table.log,
        whole=whole,
    )


def _with(plan: Plan, strategy: StrategyPlan, values: Mapping[str, Any]) -> StrategyPlan:
    """A strategy with other parameters. Raises InputError."""
    problems: list[str] = []
    table = {**strategy.config.params, **values}
    path = join_path("strategies", strategy.config.name)
    params = plan.config.decode(table, strategy.cls.Params, f"{path}.params", problems)
    if params is None:
        raise ConfigError(problems)
    frames = wanted_timeframes(strategy.cls, params)
    config = structs.replace(strategy.config, params=table, settings=params)
    return structs.replace(strategy, config=config, params=params, timeframes=frames)


def _cutting(options: OptimizeConfig) -> Cutting:
    return Cutting(
        windows=options.windows,
        share=options.out_of_sample_share,
        anchored=options.anchored,
        inside_ns=_span_ns(options.in_sample),
        outside_ns=_span_ns(options.out_of_sample),
    )


def _span_ns(text: str | None) -> int | None:
    return None if text is None else span_ns(text)


def _identity(
    plan: Plan, account: AccountPlan, options: OptimizeConfig, space: Space, balance: Decimal | None, data: str
) -> Identity:
    """Of what decides: not where the state lies or how the log looks, nor the values that are moved."""
    moved = {f"{join_path('strategies', each.strategy)}.params.{each.parameter}" for each in space.ranges}
    parts = (
        join_path("accounts", account.config.name),
        *(join_path("strategies", each.config.name) for each in account.strategies),
        "instruments",
    )
    values = {
        path: value
        for path, value in plan.config.values.items()
        if path not in moved and any(path.startswith(f"{part}.") for part in parts)
    }
    cut = _cutting(options) if options.walk_forward else None
    return {
        "version": __version__,
        "configuration": structs.replace(plan.config, values=values).fingerprint,
        "balance": str(balance),
        "strategies": _hash(*(f"{each.config.name} {each.code}" for each in account.strategies)),
        "data": data,
        "ranges": _hash(repr(space)),
        "windows": _hash(repr(cut), *([] if options.warm_up is None else [options.warm_up])),
        "objective": " ".join((*options.objectives, str(options.trades_min))),
        "sampler": f"{options.sampler_used} {options.seed} {options.pruner}",
    }


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
