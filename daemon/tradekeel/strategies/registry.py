"""Which strategies there are: the built-in kinds, and strategies of the user's own in files.

A file is named in the configuration as ``"my_strategy.py:MyStrategy"``, relative to the folder of the configuration
file. It is imported under a private name, so that it can neither hide nor be hidden by an installed module, and what is
wrong with it is told as an :class:`~tradekeel.errors.InputError` with file, line and what to do. A strategy's file is
code: it runs with the daemon's rights, as a script of yours would.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from msgspec import Struct

from tradekeel.domain.bars import parse_timeframe
from tradekeel.errors import InputError, named, text_of
from tradekeel.strategies.arithmetic import arithmetic
from tradekeel.strategies.base import AnyStrategy, Strategy, check_strategy_class
from tradekeel.strategies.donchian import DonchianBreakout
from tradekeel.strategies.ema_cross import EmaCross
from tradekeel.strategies.floor import FloorStrategy
from tradekeel.strategies.parameters import ParameterSpec, nearest, specs

BUILT_IN: dict[str, type[AnyStrategy]] = {cls.kind: cls for cls in (FloorStrategy, EmaCross, DonchianBreakout)}
"""The strategies that come with Tradekeel, by their kind."""


CODE_DIGITS = 12

MODULE_PREFIX = "_tradekeel_strategy_"
"""Modules of strategies' files are named so."""


class LoadedStrategy(Struct, frozen=True):
    """The class of a kind, and which code that is: the beginning of the file's SHA-256; "" for what comes with Tradekeel."""

    cls: type[AnyStrategy]
    code: str


class KindInfo(Struct, frozen=True, kw_only=True):
    """A kind of strategy as `tradekeel strategies` shows it."""

    kind: str
    doc: str
    parameters: tuple[ParameterSpec, ...]


def describe(kind: str, cls: type[AnyStrategy]) -> KindInfo:
    """What a strategy class says about itself."""
    return KindInfo(kind=kind, doc=inspect.getdoc(cls) or "", parameters=specs(cls.Params))


def catalogue() -> tuple[KindInfo, ...]:
    """The built-in kinds, in the order of their names."""
    return tuple(describe(kind, cls) for kind, cls in sorted(BUILT_IN.items()))


def load_strategy_class(kind: str, base_dir: Path) -> type[AnyStrategy]:
    """The class of a built-in kind, or of ``file.py:ClassName`` relative to ``base_dir``, checked against the contract."""
    return load_strategy(kind, base_dir).cls


def load_strategy(kind: str, base_dir: Path) -> LoadedStrategy:
    """The class as by :func:`load_strategy_class`, and which code it is of."""
    if kind in BUILT_IN:
        return LoadedStrategy(BUILT_IN[kind], "")
    file_name, colon, class_name = kind.rpartition(":")
    if not colon:
        raise InputError(_unknown_kind(kind))
    if not class_name.isidentifier() or not file_name.endswith(".py"):
        raise InputError(f'{kind!r} is no strategy: write a file and a class in it, like "my_strategy.py:MyStrategy"')
    path = _resolved(base_dir / file_name)
    source = _read(path)
    cls = _find_class(_import_file(path, source), class_name, path)
    try:
        check_strategy_class(cls)
    except InputError as error:
        raise InputError(f"{path}, line {_line_of(cls)}: {error}") from None
    return LoadedStrategy(cls, hashlib.sha256(source).hexdigest()[:CODE_DIGITS])


def wanted_timeframes(cls: type[AnyStrategy], params: Struct) -> tuple[str, ...]:
    """Make a strategy with these parameters, and ask which bars it wants.

    What it raises at that, or wants that there is not, is an InputError here, while somebody looks at a configuration: the
    feed of the account, on which its other strategies trade, is built from the answer.
    """
    doing = "making it"
    try:
        with arithmetic():
            strategy = cls(params)
            doing = "timeframes()"
            wanted: object = strategy.timeframes()
        if not isinstance(wanted, Collection) or isinstance(wanted, str):
            raise InputError(f"found {wanted!r}, allowed: a tuple of texts")
        texts = tuple(dict.fromkeys(wanted))
        for text in texts:
            parse_timeframe(text)
    except BaseException as error:  # noqa: BLE001  # whatever a user's code raises is told
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        raise InputError(_problem_with(doing, error, Path(file or cls.__name__))) from None
    return texts


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, or links that lead in a circle
        raise InputError(f"{str(path)!r} is no path of a strategy's file: {error}") from None


def _unknown_kind(kind: str) -> str:
    guess = nearest(kind, sorted(BUILT_IN))
    meant = f"did you mean {guess}?" if guess else f"built in are {', '.join(sorted(BUILT_IN))}."
    return f'unknown strategy {kind!r}: {meant} A strategy of your own is named "my_strategy.py:MyStrategy"'


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist: a strategy's file is looked for relative to the folder of the configuration file"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _import_file(path: Path, source: bytes) -> ModuleType:
    """The module of a strategy file. The same content at the same place is imported once; changed content anew."""
    digest = hashlib.blake2b(bytes(path) + b"\0" + source, digest_size=8).hexdigest()
    name = f"{MODULE_PREFIX}{path.stem}_{digest}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module  # where type annotations are resolved, also while the file runs
    try:
        with arithmetic():
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # what an import is
    except SyntaxError as error:
        del sys.modules[name]
        where = f"{error.filename or path}" + (f", line {error.lineno}" if error.lineno else "")
        shown = f": {error.text.strip()}" if error.text else ""
        raise InputError(f"{where}: {error.msg}{shown}") from None
    except BaseException as error:  # noqa: BLE001  # whatever a user's file raises on import is told, and ends nothing
        del sys.modules[name]
        raise InputError(_problem_with("importing it", error, path)) from None
    return module


def _problem_with(doing: str, error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    if isinstance(error, InputError):
        return f"{where}: {doing}: {text_of(error)}"
    hint = ""
    if isinstance(error, ModuleNotFoundError):
        hint = f". Install {error.name!r} beside tradekeel, or put its code into the strategy's file"
    return f"{where}: {doing} failed with {named(error)}{hint}"


def _find_class(module: ModuleType, name: str, path: Path) -> type[AnyStrategy]:
    found = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]
    cls = getattr(module, name, None)
    if cls is None:
        there = f"it has {', '.join(found)}" if found else "it has no class derived from Strategy"
        raise InputError(f"{path} has no class {name}: {there}")
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        raise InputError(
            f"{path}, line {_line_of(cls)}: {name} is not a strategy. Write `class {name}(Strategy[Params, State])` with "
            "`from tradekeel.strategies.base import Strategy`"
        )
    return cls


def _line_of(thing: object) -> int:
    try:
        return inspect.getsourcelines(thing)[1]  # type: ignore[arg-type]  # anything else raises TypeError
    except (OSError, TypeError):
        return 1
