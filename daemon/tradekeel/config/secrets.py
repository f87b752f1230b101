"""Secrets by reference: the file says where a secret is, never what it is.

    token = { credential = "oanda-token" }    systemd hands it over: $CREDENTIALS_DIRECTORY/oanda-token
    token = { file = "/etc/…/token" }         a file of ours that nobody else may read (mode 0600 or stricter)
    token = { env = "OANDA_TOKEN" }           a variable of the environment

A configuration file is shown, copied, mailed and committed; a secret in it would be, too. So a literal is refused.

:class:`Secret` is what a field holds: its repr and its comparison never show the value. :class:`Vault` fetches values
and remembers all of them, so that the log can blank them out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tradekeel.config.words import did_you_mean, quoted
from tradekeel.errors import InputError

SOURCES = ("credential", "file", "env")
SECRET_BYTES_MAX = 64 * 1024
SECRET_CHARACTERS_MIN = 6  # anything shorter guards nothing, and blanking it would tear holes into every log line
CREDENTIAL_PREFIX = "tradekeel_"  # systemd names the files of a folder ID_FILENAME; the unit's ID is "tradekeel"

_CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_HOW = '{ credential = "NAME" }, { file = "/path" } or { env = "VARIABLE" }'


class Secret:
    """A secret value and where it came from. Only :meth:`reveal` shows it."""

    __hash__ = None  # type: ignore[assignment]  # its only use would be to find out whether two are equal
    __slots__ = ("_value", "name", "source")

    def __init__(self, source: str, name: str, value: str | None = None) -> None:
        self.source = source
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """The value itself. Call it where the value is handed to a library, and keep the result nowhere."""
        if self._value is None:
            raise InputError(f"the secret {self.reference} was not fetched: this command reads the file only")
        return self._value

    @property
    def reference(self) -> str:
        """Where it comes from, as the file says it."""
        return f"{{{self.source} = {quoted(self.name)}}}"

    def __repr__(self) -> str:
        return f"Secret({self.reference})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        same_place = (self.source, self.name) == (other.source, other.name)
        if self._value is None or other._value is None:
            return same_place and self._value is other._value
        return same_place and hmac.compare_digest(self._digest(), other._digest())

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled or copied, a secret is its reference only.
        return (Secret, (self.source, self.name))

    def _digest(self) -> bytes:
        return hashlib.sha256((self._value or "").encode("utf-8", "surrogateescape")).digest()


class Vault:
    """Fetches secrets and remembers their values for whoever must blank them out.

    One that does not fetch is asked on behalf of somebody else; ``why_closed`` then says why that one could not read a file.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        fetches: bool = True,
        why_closed: Callable[[str], str | None] = lambda path: None,
    ) -> None:
        self._environ = environ
        self._fetches = fetches
        self._why_closed = why_closed
        self._values: set[str] = set()

    def values(self) -> frozenset[str]:
        """All values fetched so far."""
        return frozenset(self._values)

    def decode(self, value: object, folder: Path | None = None) -> Secret:
        """The secret that a reference from the file names. Raises :class:`InputError`, which never shows what was found."""
        source, name = _reference(value)
        if not self._fetches:
            why = self._why_closed(name) if source == "file" else None
            if why is not None:
                raise InputError(why)
            return Secret(source, name)
        text = self._fetch(source, name, folder or Path())
        if len(text) < SECRET_CHARACTERS_MIN:
            raise InputError(f"the secret in {source} {quoted(name)} has fewer than {SECRET_CHARACTERS_MIN} characters")
        self._values.add(text)
        return Secret(source, name, text)

    def fetched(self, secret: Secret, folder: Path | None = None) -> Secret:
        """The same with its value, of one that has stayed a reference. Raises :class:`InputError` as :meth:`decode` does."""
        return self.decode({secret.source: secret.name}, folder)

    def _fetch(self, source: str, name: str, folder: Path) -> str:
        if source == "env":
            if name not in self._environ:
                raise InputError(f"the environment has no variable {name}")
            return self._environ[name].strip("\r\n")
        if source == "credential":
            return _read(self._credential(name), private=False)
        return _read(folder / name, private=True)

    def _credential(self, name: str) -> Path:
        directory = self._environ.get("CREDENTIALS_DIRECTORY", "")
        if not directory:
            raise InputError(
                f"there are no systemd credentials here ($CREDENTIALS_DIRECTORY is not set), so {quoted(name)} cannot be "
                "read; run the daemon as a systemd service, or use { file = … } or { env = … }"
            )
        for candidate in (Path(directory, name), Path(directory, CREDENTIAL_PREFIX + name)):
            if candidate.is_file():
                return candidate
        raise InputError(
            f"systemd handed over no credential {quoted(name)}; put it into the unit's credentials folder, mode 0600"
        )


def _reference(value: object) -> tuple[str, str]:
    if isinstance(value, str):
        raise InputError(f"a secret may not stand in the file (it was not read); say where it is: {_HOW}")
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InputError(f"allowed is {_HOW}")
    source, name = next(iter(value.items()))
    if source not in SOURCES:
        raise InputError(
            f"unknown place for a secret, {quoted(str(source))}: {did_you_mean(str(source), SOURCES, 'places')}"
        )
    if not isinstance(name, str) or "\0" in name:
        raise InputError(f"{source} takes a string")
    if source == "credential" and not _CREDENTIAL_NAME.fullmatch(name):
        raise InputError("a credential's name has letters, digits, dots, hyphens and underscores only")
    if source == "env" and not _VARIABLE_NAME.fullmatch(name):
        raise InputError("a variable's name has letters, digits and underscores only")
    if source == "file" and not name:
        raise InputError("file takes a path")
    return source, name


def _read(path: Path, *, private: bool) -> str:
    """The text of a file. The checks look at the open file, so that it cannot be exchanged between check and reading."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{quoted(str(path))} is not a file")
            if private:
                _check_private(path, status)
            content = file.read(SECRET_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a usable path"
        raise InputError(f"the file {quoted(str(path))} cannot be read: {reason}") from None
    if len(content) > SECRET_BYTES_MAX:
        raise InputError(f"the file {quoted(str(path))} is larger than {SECRET_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"the file {quoted(str(path))} is not UTF-8 text") from None


def _check_private(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise InputError(
            f"the file {quoted(str(path))} belongs to somebody else (uid {status.st_uid}); "
            f"chown it to the user the daemon runs as (uid {os.geteuid()})"
        )
    if mode & 0o177:
        raise InputError(
            f"the file {quoted(str(path))} has mode {mode:04o}; chmod 0600 it, and change the secret "
            "if somebody else could have read it"
        )
