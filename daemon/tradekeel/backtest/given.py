"""What a program gives to a backtest, looked at before anything is made of it.

Python takes whatever is handed in, and would tell of it somewhere deep in a run, or not at all: a float for money is an amount
that nobody meant. So each thing is refused here that is of another kind than what is asked for, with what to give instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct, structs

from tradekeel.backtest.source import FeedSource, TickDataSource, TicksSource
from tradekeel.backtest.tickchecks import HOW_TO_TICK, TIMES_NS
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.matching import PaperSettings
from tradekeel.domain.money import ZERO, parse_amount
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.ticks import Tick
from tradekeel.errors import InputError
from tradekeel.ports import Feed, FeedInfo
from tradekeel.strategies.base import AnyStrategy, Strategy, check_strategy_class

SHOWN_MAX = 60
"""Characters of a wrong value that are shown."""

SOURCE_METHODS = ("windows", "quality", "progress", "close")
JOURNAL_METHODS = ("append", "cut", "last_cut")
"""Of a :class:`~tradekeel.backtest.source.TickDataSource`, and of a :class:`~tradekeel.backtest.run.Keeper`."""

_CURRENCY = re.compile(r"[A-Z0-9]{2,10}")


def given(value: object) -> str:
    """A wrong value in words: ``a float, 10000.0``."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None:
        return "None"
    name = type(value).__name__
    article = "an" if name[0] in "aeiouAEIO" else "a"
    if type(value).__repr__ is object.__repr__ or isinstance(value, Iterator):
        return f"{article} {name}"  # where it lies in memory tells nobody anything
    text = " ".join(repr(value).split())
    return f"{article} {name}, {text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + '…'}"


# --- the data -------------------------------------------------------------------------------------------------------------


def refuse_unknown(symbols: Iterable[str], known: Mapping[str, Instrument]) -> None:
    """InputError for instruments of which nobody knows the steps."""
    unknown = [symbol for symbol in dict.fromkeys(symbols) if symbol not in known]
    if unknown:
        raise InputError(f"instrument {', '.join(unknown)} is not known: give it with instruments={{…}}")


def source_given(value: object, known: Mapping[str, Instrument]) -> TickDataSource:
    """The source that is meant: as it is, or made from a feed or from ticks of instruments that are known. Raises InputError."""
    if isinstance(value, (str, bytes, os.PathLike)):
        path = os.fsdecode(value)
        raise InputError(
            f'data_source is a path, {path!r}, and has to be read: tick_data("{path}", instrument="EUR_USD"), with '
            "`from tradekeel.scripting import tick_data`"
        )
    if isinstance(value, Iterator):
        raise InputError(
            f"data_source is {given(value)}, which can be gone through once, and a backtest that goes on begins again: give "
            "list(…) of it"
        )
    if isinstance(value, type):
        raise InputError(f"data_source is {given(value)}: give one that is made, such as TicksSource(ticks)")
    if isinstance(value, Sequence):
        symbols: Iterator[Any] = (tick.instrument for tick in value if isinstance(tick, Tick))
        refuse_unknown((symbol for symbol in symbols if isinstance(symbol, str)), known)
        return TicksSource(value, steps={symbol: instrument.tick_size for symbol, instrument in known.items()})
    if isinstance(value, Feed):
        return FeedSource(value)
    source: Any = value
    lacking = [name for name in SOURCE_METHODS if not callable(getattr(source, name, None))]
    if not isinstance(getattr(source, "info", None), FeedInfo):
        lacking.insert(0, "info (a FeedInfo)")
    if len(lacking) > len(SOURCE_METHODS):
        raise InputError(
            f'data_source is {given(value)}: give tick_data("ticks.csv"), with `from tradekeel.scripting import tick_data`, or a '
            f"list of ticks, and {HOW_TO_TICK}"
        )
    if lacking:
        raise InputError(
            f"data_source is {given(value)}, which lacks {', '.join(lacking)}: a source of ticks has all that TickDataSource has "
            "(tradekeel.backtest)"
        )
    refuse_wrong_fields("data_source: info", source.info)
    if not source.info.instruments:
        raise InputError("data_source: its info names no instruments: name those of its ticks")
    found: TickDataSource = source
    return found


# --- the strategies -------------------------------------------------------------------------------------------------------


def strategies_given(value: object) -> dict[str, AnyStrategy]:
    """The strategies by their names. Raises InputError."""
    if isinstance(value, (list, tuple, set, frozenset)):
        raise InputError(
            f"strategy is a {type(value).__name__}: give one strategy, or several by their names: "
            '{"fast": EmaCross(EmaCrossParameters(fast=5, slow=20)), "slow": EmaCross(EmaCrossParameters())}'
        )
    found: dict[Any, Any]
    found = dict(value) if isinstance(value, Mapping) else {name_of(_strategy("strategy", value)): value}
    if not found:
        raise InputError("a backtest needs a strategy")
    for name, each in found.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"strategy has {given(name)} for a name: the names of several strategies are text")
        _strategy("strategy" if each is value else f"strategy {name!r}", each)
    return found


def _strategy(what: str, value: object) -> AnyStrategy:
    if isinstance(value, type) and issubclass(value, Strategy):
        parameters = getattr(getattr(value, "Params", None), "__name__", "Params")
        raise InputError(f"{what} is {given(value)}: give an instance of it, {value.__name__}({parameters}(…))")
    if not isinstance(value, Strategy):
        raise InputError(
            f"{what} is {given(value)}: give an instance of a class that is derived from tradekeel.strategies.base.Strategy, "
            "such as EmaCross(EmaCrossParameters(fast=10, slow=100))"
        )
    cls = type(value)
    check_strategy_class(cls)
    params: object = getattr(value, "params", None)
    if not isinstance(params, cls.Params):
        raise InputError(
            f"{what}: the parameters of {cls.__name__} are {given(params)}: make it with {cls.__name__}({cls.Params.__name__}(…))"
        )
    refuse_wrong_fields(f"{what}: {cls.Params.__name__}", params)
    return value


def name_of(strategy: AnyStrategy) -> str:
    """What a strategy is called to whom nobody gave a name."""
    return strategy.kind or type(strategy).__name__


# --- amounts and words ----------------------------------------------------------------------------------------------------


def amount_given(name: str, value: object, example: str) -> Decimal:
    """An exact amount above zero, from a Decimal, a whole number or text. Raises InputError."""
    if isinstance(value, str):
        try:
            found = parse_amount(value)
        except InputError as error:
            raise InputError(f'{name}: {error}: give for example Decimal("{example}")') from None
    elif isinstance(value, (Decimal, int)) and not isinstance(value, bool):
        found = Decimal(value)
    else:
        why = ", and binary fractions are not exact" if isinstance(value, float) else ""
        raise InputError(f'{name} is {given(value)}{why}: give Decimal("{example}"), a whole number or text')
    if not (found.is_finite() and found > ZERO):
        raise InputError(f'{name} must be above zero, found {value}: give for example Decimal("{example}")')
    return found


def refuse_wrong_terms(
    currency: object,
    settings: object,
    limits: object,
    days_a_year: object,
    begins_ns: object,
    *,
    hedging: object,
    exits_at_venue: object,
) -> None:
    """InputError for what is not of the kind that :class:`~tradekeel.backtest.BacktestExecutor` asks for."""
    if not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
        raise InputError(f'currency is {given(currency)}: give one in capitals, like "USD"')
    for name, flag in (("hedging", hedging), ("exits_at_venue", exits_at_venue)):
        if not isinstance(flag, bool):  # "no" would be taken for yes
            raise InputError(f"{name} is {given(flag)}: give True or False")
    if settings is not None:
        _refuse_other("settings", settings, PaperSettings, "PaperSettings(latency_ms=50)")
    if limits is not None:
        _refuse_other("limits", limits, RiskLimits, "RiskLimits(quantity_max=Decimal(20_000))")
    if days_a_year is not None and _whole("days_a_year", days_a_year, "such as 252") < 1:
        raise InputError(f"days_a_year must be 1 or more, found {days_a_year}")
    if _whole("begins_ns", begins_ns, "nanoseconds UTC, as ts_ns of a tick") not in TIMES_NS:
        raise InputError(f"begins_ns is {begins_ns}, which is not between 1970 and 2200: it is nanoseconds UTC")


def _whole(name: str, value: object, example: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} is {given(value)}: give a whole number, {example}")
    return value


def _refuse_other(name: str, value: object, cls: type[Struct], example: str) -> None:
    """InputError for what is no ``cls``, or has fields of another kind than it says."""
    if not isinstance(value, cls):
        raise InputError(f"{name} is {given(value)}: give {cls.__name__}, like {example}")
    refuse_wrong_fields(name, value)


def instruments_given(value: object) -> dict[str, Instrument]:
    """Instruments of one's own by their symbols. Raises InputError."""
    example = 'instruments={"XAU_USD": Instrument(symbol="XAU_USD", base="XAU", quote="USD", tick_size=…, pip_size=…)}'
    if not isinstance(value, Mapping):
        raise InputError(f"instruments is {given(value)}: give them by their symbols, {example}")
    for symbol, instrument in value.items():
        if not isinstance(instrument, Instrument):
            raise InputError(f"instruments[{symbol!r}] is {given(instrument)}: give an Instrument, {example}")
        if symbol != instrument.symbol:
            raise InputError(
                f"instruments[{symbol!r}] is the instrument {instrument.symbol!r}: give it by its own symbol"
            )
        refuse_wrong_fields(f"instruments[{symbol!r}]", instrument)
    return dict(value)


def refuse_no_journal(value: object) -> None:
    """InputError for what cannot keep a run; None is none of one's own."""
    if value is None:
        return
    lacking = [name for name in JOURNAL_METHODS if not callable(getattr(value, name, None))]
    if isinstance(value, type) or lacking:
        lacks = f", which lacks {', '.join(lacking)}" if lacking else ""
        raise InputError(
            f"journal is {given(value)}{lacks}: leave it out to keep the journal in memory, as the result's entries"
        )


def refuse_wrong_fields(what: str, value: Struct) -> None:
    """InputError for a field of another kind than its Struct says, which nobody looks at when a program makes one.

    A whole number may stand for a Decimal: it is exact. What msgspec cannot write is not looked at.
    """
    for field in structs.fields(type(value)):
        here: Any = getattr(value, field.name)
        if isinstance(here, Struct):
            refuse_wrong_fields(f"{what}: {field.name}", here)
            continue
        try:
            plain = msgspec.to_builtins(here, builtin_types=(Decimal,))
        except TypeError:
            continue
        problems = [_problem(plain, field.type), _problem(_with_decimals(plain), field.type)]
        if all(problems):
            hint = f'; write Decimal("{plain}")' if isinstance(plain, float) and "`decimal" in problems[0] else ""
            raise InputError(f"{what}: {field.name} is {given(here)}: {problems[0]}{hint}")


def _problem(plain: object, type_: Any) -> str:
    try:
        msgspec.convert(plain, type_, builtin_types=(Decimal,))
    except msgspec.ValidationError as error:
        text = str(error)
        return text[0].lower() + text[1:]
    return ""


def _with_decimals(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {name: _with_decimals(each) for name, each in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_with_decimals(each) for each in plain]
    return Decimal(plain) if isinstance(plain, int) and not isinstance(plain, bool) else plain
