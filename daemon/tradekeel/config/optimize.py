"""``[optimize]``: which parameters `tradekeel optimize` may move, how far, and towards what.

The ranges are checked against the strategy's own parameters (:func:`check_ranges`), so that a misspelt name or a value that the
strategy would refuse is found by `tradekeel check` and not behind the first hundred trials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Protocol, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, field

from tradekeel.config.model import IN_MEMORY, REDIS_SCHEMES, check_database_url, check_redis_url
from tradekeel.config.secrets import Secret
from tradekeel.config.words import did_you_mean, join_path, quoted
from tradekeel.errors import InputError

GOALS_MAX: Final = 2
STEPS_MAX: Final = 1_000_000  # values of one range
TRIALS_MAX: Final = 1_000_000
JOBS_MAX: Final = 1_024
SPAN: Final = re.compile(r"\A([1-9][0-9]{0,5})([mhdw])\Z")
_SPAN = Meta(pattern=SPAN.pattern, extra={"allowed": 'how long, a number and one of m, h, d, w: "30d"'})
STUDY: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


def check_study_name(text: str) -> None:
    """The name of a study that several machines join. Raises InputError."""
    if text and not STUDY.fullmatch(text):
        raise InputError(
            f"found {quoted(text)}, allowed: 1 to 64 letters, digits and _ . -, the first a letter or digit"
        )


def is_redis_url(text: str) -> bool:
    """Whether studies are kept on a Redis server."""
    return text.partition(":")[0] in REDIS_SCHEMES


def check_study_url(text: str) -> None:
    """The URL of a server that keeps studies, without a password in it. Raises InputError."""
    if text == IN_MEMORY or is_redis_url(text):
        check_redis_url(text)
    elif text and not text.startswith(("postgresql:", "postgres:")):
        raise InputError(
            "found another text than a URL of PostgreSQL or Redis, allowed: postgresql://user@host:5432/database, "
            "redis://host:6379/0, rediss://…, unix://…"
        )
    else:
        check_database_url(text)


def _is_finite(value: object) -> bool:
    """Whether a value is finite, and all that is in it."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, Decimal) or value.is_finite()


class RangeTable(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What one parameter may be: ``from`` and ``to``, both included, or ``choices``."""

    from_: Decimal | None = None
    to: Decimal | None = None
    step: Annotated[Decimal, Meta(extra={"gt": 0})] | None = None  # None: 1 of whole numbers, else any number
    log: bool = False  # small values are tried as closely as large ones
    choices: Annotated[tuple[Any, ...], Meta(min_length=1, max_length=1_000)] | None = None

    def __post_init__(self) -> None:
        if self.choices is not None:
            if (self.from_, self.to, self.step, self.log) != (None, None, None, False):
                raise InputError("choices stand alone; leave from, to, step and log out, or the choices")
            if len(set(map(str, self.choices))) < len(self.choices):
                raise InputError("a choice is named twice")
            if not all(map(_is_finite, self.choices)):
                raise InputError("nan and inf are no choice: nothing can be computed with them")
        elif self.from_ is None or self.to is None:
            raise InputError("say from and to, or choices")
        elif self.from_ > self.to:
            raise InputError(f"from {self.from_} is above to {self.to}")
        elif self.log and (self.step is not None or self.from_ <= 0):
            raise InputError("log goes with a from above 0 and without a step")
        elif self.step is not None and (self.to - self.from_) / self.step > STEPS_MAX:
            raise InputError(f"these are more than {STEPS_MAX:,} values; take a larger step")


class OptimizeConfig(Struct, frozen=True, kw_only=True):
    """``[optimize]``. See docs/optimisation.md."""

    account: str = ""  # empty: the only one
    objective: str | Annotated[tuple[str, ...], Meta(min_length=1, max_length=GOALS_MAX)] = "sharpe"
    sampler: Literal["", "tpe", "random", "grid", "nsga2"] = ""  # empty: tpe, with two objectives nsga2
    trials: Annotated[int, Meta(ge=1, le=TRIALS_MAX)] | None = None  # of each window; None: 100, of a grid all
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 1
    pruner: Literal["none", "median", "halving"] = "none"
    trades_min: Annotated[int, Meta(ge=0, le=1_000_000)] = 1  # with fewer closed trades a trial has failed
    walk_forward: bool = True  # false: one study over everything, and nothing is out of sample
    windows: Annotated[int, Meta(ge=1, le=1_000)] = 4
    out_of_sample_share: Annotated[Decimal, Meta(extra={"ge": "0.05", "le": "0.95"})] = Decimal("0.25")
    in_sample: Annotated[str, _SPAN] | None = None  # instead of windows and the share: how long each part is
    out_of_sample: Annotated[str, _SPAN] | None = None
    warm_up: Annotated[str, _SPAN] | None = None  # each run reads so much before its part, and enters nothing there
    anchored: bool = False  # every window begins where the data begins
    jobs: Annotated[int, Meta(ge=0, le=JOBS_MAX)] = 0  # processes; 0: one for each core
    storage: Annotated[str, Meta(max_length=1_000, extra={"check": check_study_url})] = ""  # empty: a SQLite file
    password: Secret | None = None  # of the user in the URL
    study: Annotated[str, Meta(extra={"check": check_study_name})] = ""  # empty: a hash of all that decides
    beat_every_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 5.0  # six beats missed, and a trial is run again
    parameters: dict[str, dict[str, RangeTable]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.objectives)) < len(self.objectives):
            raise InputError(f"objective {self.objectives[0]} is named twice")
        if (self.in_sample is None) != (self.out_of_sample is None):
            raise InputError("in_sample and out_of_sample are given together, or neither is")
        if len(self.objectives) > 1 and self.pruner != "none":
            raise InputError("pruning compares one objective, and there are two; leave the pruner out")
        if self.sampler == "nsga2" and len(self.objectives) == 1:
            raise InputError('sampler "nsga2" is for two objectives; with one allowed: "tpe", "random", "grid"')

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is looked for, one or two."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def sampler_used(self) -> str:
        """The sampler, chosen by the number of objectives where none is named."""
        return self.sampler or ("tpe" if len(self.objectives) == 1 else "nsga2")


# --- against the strategies -----------------------------------------------------------------------------------------------


class Decoding(Protocol):
    """The part of :class:`~tradekeel.config.decode.Decoder` that is asked here."""

    def problem(self, path: str, sentence: str) -> Any: ...
    def taken(self, value: object, type_: Any) -> Any: ...
    def takes(self, value: object, type_: Any) -> bool: ...


def check_ranges(
    config: OptimizeConfig,
    strategies: Mapping[str, Mapping[str, Any]],
    params_of: Callable[[str], type[Struct] | None],
    decoder: Decoding,
) -> None:
    """Note what of ``[optimize.parameters]`` the strategies do not have, or would refuse.

    ``strategies`` are the tables as written; ``params_of`` gives a strategy's parameters, None where its kind is not known.
    """
    for name, ranges in config.parameters.items():
        path = join_path("optimize.parameters", name)
        if name not in strategies:
            decoder.problem(path, f"there is no strategy {quoted(name)}; {did_you_mean(name, strategies, 'there are')}")
            continue
        if strategies[name].get("enabled") is False:
            decoder.problem(
                path, f"strategy {quoted(name)} is not enabled, so it trades in no trial; set enabled = true"
            )
        type_ = params_of(name)
        fields = {} if type_ is None else {each.encode_name: each.type for each in msgspec.structs.fields(type_)}
        for key, range_ in ranges.items() if type_ is not None else ():
            at = join_path(path, key)
            if key not in fields:
                decoder.problem(at, f"the strategy has no such parameter; {did_you_mean(key, fields)}")
                continue
            for sentence in _refused(range_, fields[key], decoder):
                decoder.problem(at, sentence)


def is_whole(type_: Any) -> bool:
    """Whether a parameter's type takes whole numbers alone."""
    members = [type_]
    while members:
        member = members.pop()
        if get_origin(member) is Annotated:
            members.append(get_args(member)[0])
        elif get_args(member):
            members.extend(get_args(member))
        elif member in (Decimal, float):
            return False
    return True


def _refused(range_: RangeTable, type_: Any, decoder: Decoding) -> Iterator[str]:
    if range_.choices is not None:
        values: list[Any] = []
        for choice in range_.choices:
            if not decoder.takes(choice, type_):
                yield f"the strategy refuses the choice {choice}; see `tradekeel strategies` for what it takes"
                continue
            value = decoder.taken(choice, type_)
            if value in values:  # 5 and "5.0" would be tried as two points
                yield f"the choice {choice} is named twice, in other words"
            values.append(value)
        return
    ends = {"from": range_.from_, "to": range_.to} | ({} if range_.step is None else {"step": range_.step})
    whole = is_whole(type_)
    for word, value in ends.items():
        assert value is not None
        if whole and value != int(value):
            yield f"{word} {value} is no whole number, and the parameter takes no other"
        elif word != "step" and not decoder.takes(int(value) if whole else value, type_):
            yield f"the strategy refuses {word} {value}; see `tradekeel strategies` for what it takes"
