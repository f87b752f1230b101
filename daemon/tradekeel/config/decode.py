"""From a TOML table to a frozen Struct, strictly, with every problem at once.

The table's shape is the Struct's annotations; nothing is converted silently. A problem is a sentence with the path in the
file, what was found, what is allowed, and the nearest known word. :func:`decode` collects problems and never raises for
what is in the table; a type that it cannot decode is a bug of ours and does raise.

msgspec's own converter stops at the first problem and takes ``str | Decimal`` for ambiguous; hence this small walker over
the same Structs. Types: str, int, bool, float (durations and ratios, never money), Decimal, Enum, Literal, list, tuple, set,
frozenset, dict, Struct, datetime, date, Path, :class:`~tradekeel.config.secrets.Secret`, Any, unions of these, ``None`` as
"may be left out"; bounds from ``msgspec.Meta`` (on a Decimal: ``Meta(extra={"ge": …})`` where msgspec reads the Struct, too);
``Meta(extra={"check": function})`` for what no bound can say: the function raises InputError with the sentence.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from tradekeel.config.lines import NO_LINES, Lines
from tradekeel.config.secrets import Secret, Vault
from tradekeel.config.words import (
    DIGITS_MAX,
    allowed,
    bound,
    did_you_mean,
    found,
    join_path,
    nearest,
    printable,
    quoted,
)
from tradekeel.errors import ConfigError, Defect, InputError, named

S = TypeVar("S", bound=Struct)

ITEMS_MAX: Final = 10_000  # entries of one array or table
UNKNOWN_KEYS_SHOWN_MAX: Final = 20  # of one table; each costs a search for the nearest known key


class Origin(Struct, frozen=True):
    """A value that did not come from the file: the environment variable, and its text as it stands there."""

    variable: str
    text: str


STRUCTS_KNOWN_MAX: Final = 256
"""Whose fields are kept: msgspec evaluates their annotations each time that it is asked."""

Keys = Mapping[tuple[type[Struct], str], Collection[str]]
"""Which keys the table in a Struct's field may have, by the Struct and the field's name, where its type takes any text."""


class _Invalid(Enum):
    """Where a value would be, had it been right. ``None`` is a value."""

    INVALID = "invalid"


INVALID: Final = _Invalid.INVALID


def decode(
    table: Mapping[str, Any],
    type_: type[S],
    path: str,
    problems: list[str],
    *,
    vault: Vault | None = None,
    origins: Mapping[str, Origin] | None = None,
    folder: Path | None = None,
) -> S | None:
    """``table`` as a ``type_``; None if anything is wrong, and then ``problems`` has grown.

    ``path`` is where the table stands in the file. ``vault`` fetches secrets (without one they stay references),
    ``origins`` tells which paths the environment has set, and ``folder`` is what relative paths of secrets are relative to.
    """
    decoder = Decoder(problems, vault or Vault({}, fetches=False), origins or {}, folder)
    value = decoder.struct(table, type_, path)
    return None if value is INVALID else value


@functools.lru_cache(STRUCTS_KNOWN_MAX)
def _fields(type_: type[Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """A Struct's fields by their keys in the file."""
    return {field.encode_name: field for field in msgspec.structs.fields(type_)}


class Decoder:
    """One pass over tables; it holds what every step needs."""

    def __init__(
        self,
        problems: list[str],
        vault: Vault,
        origins: Mapping[str, Origin],
        folder: Path | None = None,
        keys: Keys | None = None,
        lines: Lines = NO_LINES,
    ) -> None:
        self.problems = problems
        self.vault = vault
        self.origins = origins
        self.folder = folder
        self.keys = keys or {}
        self.lines = lines

    # --- problems ----------------------------------------------------------------------------------------------------

    def problem(self, path: str, sentence: str) -> Literal[_Invalid.INVALID]:
        """Note a problem, with where the value stands: on which line of the file, or in the environment."""
        origin = self.origins.get(path)
        line = None if origin else self.lines.of(path)
        source = (
            f" (set by the environment variable {origin.variable})" if origin else f" (line {line})" if line else ""
        )
        self.problems.append(printable(f"{path or 'the file'}: {sentence}{source}"))
        return INVALID

    def _mismatch(self, path: str, value: object, type_: Any, bounds: list[Meta]) -> Literal[_Invalid.INVALID]:
        return self.problem(path, f"found {found(value)}, allowed: {allowed(type_, bounds)}")

    def takes(self, value: object, type_: Any) -> bool:
        """Whether a value would be right, noting nothing."""
        return self.taken(value, type_) is not INVALID

    def taken(self, value: object, type_: Any) -> Any:
        """What a value would be taken as, noting nothing; INVALID for one that is refused."""
        return self._noting([]).value(value, type_, "")

    def fetching_nothing(self) -> Decoder:
        """The same, but secrets stay references; see :meth:`~tradekeel.config.secrets.Vault.fetched`."""
        return Decoder(self.problems, Vault({}, fetches=False), self.origins, self.folder, self.keys, self.lines)

    def _noting(self, problems: list[str]) -> Decoder:
        """The same, but for where problems are noted."""
        return Decoder(problems, self.vault, self.origins, self.folder, self.keys, self.lines)

    # --- tables ------------------------------------------------------------------------------------------------------

    def struct(
        self, table: object, type_: type[S], path: str, *, beside: Collection[str] = ()
    ) -> S | Literal[_Invalid.INVALID]:
        """A table as a Struct: unknown keys, missing keys, each value, and the Struct's own checks.

        ``beside`` are keys that the table may have, and that are somebody else's to decode.
        """
        if not isinstance(table, Mapping):
            return self._mismatch(path, table, type_, [])
        fields = _fields(type_)
        right = self._known_keys(table, [*fields, *beside], path)
        values: dict[str, Any] = {}
        for key, field in fields.items():
            at = join_path(path, key)
            if key in table:
                value = self.value(table[key], field.type, at)
                keys = self.keys.get((type_, field.name))
                if keys is not None and isinstance(table[key], Mapping) and not self._known_keys(table[key], keys, at):
                    value = INVALID
                right = right and value is not INVALID
                values[field.name] = value
            elif field.required:
                right = False
                self.problem(at, f"is missing, allowed: {allowed(field.type)}")
        if not right:
            return INVALID
        return self._construct(type_, values, path)

    def _known_keys(self, table: Mapping[str, Any], names: Collection[str], path: str) -> bool:
        unknown = [key for key in table if key not in names]
        left = [name for name in names if name not in table]
        for key in unknown[:UNKNOWN_KEYS_SHOWN_MAX]:
            # A key that is there already cannot be what was meant, unless nothing else is near.
            known = left if nearest(key, left) else names
            self.problem(join_path(path, key), f"unknown key; {did_you_mean(key, known)}")
        if len(unknown) > UNKNOWN_KEYS_SHOWN_MAX:
            self.problem(path, f"{len(unknown) - UNKNOWN_KEYS_SHOWN_MAX} more unknown keys")
        return not unknown

    def _construct(self, type_: type[S], values: dict[str, Any], path: str) -> S | Literal[_Invalid.INVALID]:
        try:
            return type_(**values)
        except ConfigError as error:
            for sentence in error.problems:
                self.problem(path, sentence)
        except (InputError, ValueError) as error:  # ValueError is what msgspec's own decoders expect of a Struct
            self.problem(path, str(error))
        except InvalidOperation:
            self.problem(path, "these numbers cannot be computed with")
        except Defect:
            raise
        except BaseException as error:  # noqa: BLE001  # a Struct of the user's may raise anything, and ends nothing
            self.problem(path, f"{type_.__name__} does not take these: {named(error)}")
        return INVALID

    # --- values ------------------------------------------------------------------------------------------------------

    def value(self, value: object, type_: Any, path: str, meta: tuple[Meta, ...] = ()) -> Any:
        """A value as ``type_``, or INVALID with the problem noted."""
        origin, arguments = get_origin(type_), get_args(type_)
        if origin is Annotated:
            notes = tuple(note for note in arguments[1:] if isinstance(note, Meta))
            return self._checked(self.value(value, arguments[0], path, (*meta, *notes)), notes, path)
        if type_ is Any or type_ is object:
            return value
        if origin in (Union, UnionType):
            return self._union(value, arguments, path, list(meta))
        if origin is Literal:
            return self._choice(value, {choice: choice for choice in arguments}, path, type_)
        if origin in _COLLECTIONS or type_ in _COLLECTIONS:
            return self._collection(value, type_, path, list(meta))
        if origin is dict or type_ is dict or origin is Mapping or type_ is Mapping:
            return self._dict(value, arguments, path)
        if not isinstance(type_, type):
            raise Defect(f"{path}: a setting of the type {type_} cannot be decoded")
        if issubclass(type_, Struct):
            return self.struct(value, type_, path)
        if issubclass(type_, Enum):
            return self._choice(value, {member.value: member for member in type_}, path, type_)
        if issubclass(type_, Secret):
            return self._secret(value, path)
        return self._plain(value, type_, path, list(meta))

    def _checked(self, value: Any, notes: tuple[Meta, ...], path: str) -> Any:
        """A value that is right but for what only a function can tell."""
        checks = [note.extra["check"] for note in notes if note.extra and "check" in note.extra]
        try:
            for check in checks if value is not INVALID else ():
                check(value)
        except InputError as error:
            return self.problem(path, str(error))
        return value

    def _plain(self, value: object, type_: type, path: str, bounds: list[Meta]) -> Any:
        converter = _PLAIN.get(type_)
        if converter is None:
            raise Defect(f"{path}: a setting of the type {type_.__name__} cannot be decoded")
        if type_ in (str, Path) and not isinstance(value, str) and path in self.origins:
            value = self.origins[path].text  # NAME=007 means the text, not the number that it also is
        converted = converter(value)
        if converted is INVALID or not _within(converted, bounds):
            return self._mismatch(path, value, type_, bounds)
        return converted

    def _secret(self, value: object, path: str) -> Any:
        try:
            return self.vault.decode(value, self.folder)
        except InputError as error:
            return self.problem(path, str(error))

    def _choice(self, value: object, choices: dict[Any, Any], path: str, type_: Any) -> Any:
        # By value *and* type: True is not 1, and an array is not hashable.
        for choice, result in choices.items():
            if type(choice) is type(value) and choice == value:
                return result
        words = [choice for choice in choices if isinstance(choice, str)]
        near = nearest(value, words) if isinstance(value, str) else None
        hint = f"; did you mean {quoted(near)}?" if near else ""
        return self.problem(path, f"found {found(value)}, allowed: {allowed(type_)}{hint}")

    def _union(self, value: object, members: tuple[Any, ...], path: str, bounds: list[Meta]) -> Any:
        wanted = [member for member in members if member is not NoneType]
        if len(wanted) == 1:
            return self.value(value, wanted[0], path, tuple(bounds))
        # Text is the type that takes everything, so it is tried last: "0.5" is a number where a number is allowed.
        wanted.sort(key=lambda member: _bare(member) is str)
        attempts: list[list[str]] = []
        for member in wanted:
            attempt: list[str] = []
            result = self._noting(attempt).value(value, member, path, tuple(bounds))
            if result is not INVALID:
                return result
            attempts.append(attempt)
        # A table or a bounded number that only one member could have meant is explained by that member.
        telling = [
            attempt
            for member, attempt in zip(wanted, attempts, strict=True)
            if isinstance(value, Mapping) and _takes_tables(member)
        ]
        if len(telling) == 1:
            self.problems.extend(telling[0])
            return INVALID
        return self._mismatch(path, value, functools.reduce(operator.or_, wanted), bounds)

    def _collection(self, value: object, type_: Any, path: str, bounds: list[Meta]) -> Any:
        build = _COLLECTIONS[get_origin(type_) or type_]
        if not isinstance(value, list) or not _within(value, bounds):
            return self._mismatch(path, value, type_, bounds)
        if len(value) > ITEMS_MAX:
            return self.problem(path, f"found {len(value)} entries, allowed: at most {ITEMS_MAX}")
        arguments = get_args(type_)
        if get_origin(type_) is tuple and arguments and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                return self.problem(path, f"found an array of {len(value)}, allowed: {len(arguments)} entries")
            types = list(arguments)
        else:
            types = [arguments[0] if arguments else Any] * len(value)
        items = [
            self.value(item, item_type, f"{path}[{index}]")
            for index, (item, item_type) in enumerate(zip(value, types, strict=True))
        ]
        return INVALID if any(item is INVALID for item in items) else build(items)

    def _dict(self, value: object, arguments: tuple[Any, ...], path: str) -> Any:
        if not isinstance(value, Mapping):
            return self._mismatch(path, value, dict, [])
        if len(value) > ITEMS_MAX:
            return self.problem(path, f"found {len(value)} entries, allowed: at most {ITEMS_MAX}")
        key_type, item_type = arguments or (str, Any)
        decoded: dict[Any, Any] = {}
        right = True
        for key, item in value.items():
            at = join_path(path, key)
            new_key = self.value(key, key_type, at)
            new_item = self.value(item, item_type, at)
            right = right and new_key is not INVALID and new_item is not INVALID
            if right:
                decoded[new_key] = new_item
        return decoded if right else INVALID


# --- plain types -------------------------------------------------------------------------------------------------------


def _str(value: object) -> Any:
    return value if isinstance(value, str) else INVALID


def _bool(value: object) -> Any:
    return value if isinstance(value, bool) else INVALID


def _int(value: object) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else INVALID


def _decimal(value: object) -> Any:
    """Exactly the number that was written: TOML integers and floats arrive as text, strings are read the same way."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return INVALID
    if isinstance(value, int) and value.bit_length() > 128:
        return INVALID
    try:
        number = Decimal(value)
    except InvalidOperation:
        return INVALID
    if not number.is_finite() or len(number.as_tuple().digits) > DIGITS_MAX or abs(number.adjusted()) > DIGITS_MAX:
        return INVALID
    return number


def _float(value: object) -> Any:
    number = INVALID if isinstance(value, str) else _decimal(value)
    return number if number is INVALID else float(number)


def _datetime(value: object) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return INVALID
    return value if isinstance(value, datetime) and value.tzinfo is not None else INVALID


def _date(value: object) -> Any:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            return INVALID
    return value if isinstance(value, date) and not isinstance(value, datetime) else INVALID


def _path(value: object) -> Any:
    return Path(value) if isinstance(value, str) and value and "\0" not in value else INVALID


_PLAIN: dict[type, Callable[[object], Any]] = {
    str: _str,
    bool: _bool,
    int: _int,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
    date: _date,
    Path: _path,
}
_COLLECTIONS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    Sequence: tuple,
    set: set,
    frozenset: frozenset,
}


def _bare(type_: Any) -> Any:
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


def _takes_tables(type_: Any) -> bool:
    bare = _bare(type_)
    return get_origin(bare) is dict or bare is dict or (isinstance(bare, type) and issubclass(bare, Struct | Secret))


def _within(value: Any, bounds: list[Meta]) -> bool:
    """Whether a value keeps every bound. Text and arrays are measured by their length."""
    return all(_keeps(value, meta) for meta in bounds)


def _keeps(value: Any, meta: Meta) -> bool:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = _exact(value)
        return all(
            holds(number, _exact(limit))
            for name, holds in _NUMBER_CHECKS.items()
            if (limit := bound(meta, name)) is not None
        )
    if isinstance(value, str | list):
        return (
            (meta.min_length is None or len(value) >= meta.min_length)
            and (meta.max_length is None or len(value) <= meta.max_length)
            and (meta.pattern is None or not isinstance(value, str) or re.search(meta.pattern, value) is not None)
        )
    return True


def _exact(number: Any) -> Decimal:
    # A bound of 0.1 means the 0.1 that was written, not the float beside it.
    return number if isinstance(number, Decimal) else Decimal(str(number))


_NUMBER_CHECKS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "multiple_of": lambda number, step: number % step == 0,
}
