"""The log: text for a terminal, one line an event for a pipe or the journal, JSON on request; never a secret.

Modules write ``from loguru import logger`` and log; nothing is set up at import. :func:`setup` is called once by whoever owns the
process. Correlation ids and the like travel in loguru's extra (``logger.bind(correlation_id=…)``, ``logger.contextualize``)
and are shown behind the message. What the standard library's logging and ``warnings`` say arrives here, too.

Secrets are blanked out of the finished text, so it does not matter how one got into a message, a field or an exception; and
before that out of what is cut, because half a secret would not be known for one. What leaves the process beside the log goes
through :func:`without_secrets`.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import traceback
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message, Record

REDACTED = "[secret]"
MESSAGE_CHARACTERS_MAX = 16_384
ESCAPES_MAX = 3  # escapes inside each other in which a secret is still found
FRAMES_MAX = 12  # of a traceback that is folded into one line; the innermost ones

# syslog priorities, which the journal reads from "<N>" at the start of a line.
_PRIORITIES = {"TRACE": 7, "DEBUG": 7, "INFO": 6, "SUCCESS": 5, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
_LINE = "_line"  # the finished text on its way through loguru's formatter


class LogSettings(Protocol):
    """What the ``[logging]`` section says."""

    @property
    def level(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def file(self) -> str | None: ...
    @property
    def file_bytes_max(self) -> int: ...
    @property
    def files_kept(self) -> int: ...


def setup(
    settings: LogSettings,
    stream: TextIO,
    *,
    under_systemd: bool = False,
    secrets: Callable[[], Iterable[str]] = tuple,
) -> Callable[[], None]:
    """Log to ``stream`` and, if one is configured, to a file. Returns what undoes it.

    A terminal's stream whose ``brief`` is true gets time, level and message alone: a person watches, and ids would fill the
    screen. ``secrets`` is asked for every line, so values fetched later are hidden from then on. Raises OSError if the file
    cannot be opened.
    """
    level = settings.level.upper()
    _shown[:] = [_NUMBERS[level]]
    shape = settings.format
    if shape == "auto":
        shape = "terminal" if stream.isatty() and not under_systemd else "text"
        if shape == "terminal" and getattr(stream, "brief", False):
            shape = "brief"
    hide = _Redactor(secrets)
    _hiding[:] = [hide]
    logger.remove()
    render = _Renderer(shape, hide, priorities=under_systemd and shape != "json")
    # Our own exception text: loguru's would show the values of local variables, and a secret may be one of them.
    common: dict[str, Any] = {"level": level, "backtrace": False, "diagnose": False, "colorize": False}
    logger.add(_Stream(stream, render).write, format=render.template, **common)
    if settings.file:
        in_file = _Renderer("json" if shape == "json" else "text", hide)
        logger.add(
            settings.file,
            format=in_file.template,
            rotation=settings.file_bytes_max,
            retention=settings.files_kept,
            opener=_private,
            encoding="utf-8",
            **common,
        )
    return _take_over_standard_logging(level)


_NUMBERS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "SUCCESS": 25, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_shown = [0]
"""The number of the lowest level that is written."""

_hiding: list[Hide] = []
"""What hides the secrets of the log that was set up last; it stays when the log ends, because the secrets do."""


def without_secrets(text: str) -> str:
    """Text that goes elsewhere than to the log, with everything blanked out that the log would blank out."""
    for hide in _hiding:
        text = hide(text)
    return text


def shows(level: str) -> bool:
    """Whether lines of this level are written: what is costly to say need not be said to nobody."""
    return _NUMBERS[level] >= _shown[0]


def to_journal(environ: Mapping[str, str], fileno: int) -> bool:
    """Whether this descriptor is the one that systemd connected to the journal ($JOURNAL_STREAM names its device and inode)."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    if not (device.isascii() and device.isdigit() and inode.isascii() and inode.isdigit()):
        return False
    try:
        status = os.fstat(fileno)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (int(device), int(inode))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


# --- secrets -----------------------------------------------------------------------------------------------------------


Hide = Callable[[str], str]


class _Redactor:
    """Replaces secrets in finished text, in every spelling that a log gives a string."""

    def __init__(self, secrets: Callable[[], Iterable[str]]) -> None:
        self._secrets = secrets
        self._known: frozenset[str] = frozenset()
        self._spellings: list[str] = []

    def __call__(self, text: str) -> str:
        current = frozenset(self._secrets())
        if current != self._known:
            self._known = current
            spellings = {spelling for secret in current for spelling in _spellings(secret)}
            # Longest first: of two secrets, one may be a part of the other.
            self._spellings = sorted(spellings, key=len, reverse=True)
        for spelling in self._spellings:
            text = text.replace(spelling, REDACTED)
        return text


def _spellings(secret: str) -> set[str]:
    """A secret as it may stand in a line: as it is, in a URL, and escaped up to three times (the repr of a dictionary in a
    JSON string). For a secret of plain letters these are all the same.
    """
    spellings = {
        secret,
        urllib.parse.quote(secret, safe="", errors="surrogateescape"),
        urllib.parse.quote_plus(secret, errors="surrogateescape"),
    }
    newest = spellings
    for _ in range(ESCAPES_MAX):
        newest = {escape(spelling) for spelling in newest for escape in _ESCAPES} - spellings
        spellings |= newest
    return spellings - {""}


# --- text --------------------------------------------------------------------------------------------------------------


class _Renderer:
    """Turns loguru's record into the finished line."""

    def __init__(self, shape: str, hide: Hide, *, priorities: bool = False) -> None:
        self._render = {"terminal": _terminal, "brief": _brief, "text": _text, "json": _json}[shape]
        self._hide = hide
        self._priorities = priorities

    def line(self, record: Record) -> str:
        """The finished line, without its end."""
        line = self._hide(self._render(record, self._hide))
        if self._priorities:
            line = f"<{_PRIORITIES.get(record['level'].name, 6)}>{line}"
        return line.encode("utf-8", "backslashreplace").decode()

    def template(self, record: Record) -> str:
        """loguru's formatter: it leaves the finished line in the record and says where it is."""
        record["extra"][_LINE] = self.line(record)
        return f"{{extra[{_LINE}]}}\n"


_COLOURS = {
    "TRACE": "\x1b[2m",
    "DEBUG": "\x1b[36m",
    "INFO": "\x1b[1m",
    "SUCCESS": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[41m",
}
_DIM, _RESET = "\x1b[2m", "\x1b[0m"


def _terminal(record: Record, hide: Hide) -> str:
    return _for_a_person(record, f"{_DIM}{_extra(record, hide)}{_RESET}", hide)


def _brief(record: Record, hide: Hide) -> str:
    return _for_a_person(record, "", hide)


def _for_a_person(record: Record, fields: str, hide: Hide) -> str:
    level = record["level"].name
    mark = f"{_COLOURS.get(level, '')}{level:<8}{_RESET}"
    message = _one_line(record["message"], hide)
    line = f"{record['time'].strftime('%H:%M:%S.%f')[:-3]} {mark} {message}{fields}"
    exception = record["exception"]
    if exception is None or exception.value is None:
        return line
    # Hidden as a whole first: a secret may have several lines.
    lines = hide("".join(traceback.format_exception(exception.value))).rstrip("\n").split("\n")
    return "\n".join([line, *(_one_line(text, hide) for text in lines)])


def _text(record: Record, hide: Hide) -> str:
    stamp = record["time"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    exception = record["exception"]
    cause = f" !! {_folded(exception.value, hide)}" if exception and exception.value else ""
    return f"{stamp} {record['level'].name} {_one_line(record['message'], hide)}{_extra(record, hide)}{cause}"


def _json(record: Record, hide: Hide) -> str:
    exception = record["exception"]
    fields: dict[str, Any] = {
        "time": record["time"].astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": record["level"].name.lower(),
        "message": hide(record["message"])[:MESSAGE_CHARACTERS_MAX],
        "logger": record["name"],
    }
    for key, value in _fields(record).items():
        fields[key if key not in fields else f"extra_{key}"] = value
    if exception and exception.value:
        fields["exception"] = hide("".join(traceback.format_exception(exception.value)))[-MESSAGE_CHARACTERS_MAX:]
    return json.dumps(fields, default=str, ensure_ascii=False)


def _fields(record: Record) -> dict[str, Any]:
    return {str(key): value for key, value in record["extra"].items() if key != _LINE}


def _extra(record: Record, hide: Hide) -> str:
    return "".join(f" {_one_line(key, hide)}={_word(value, hide)}" for key, value in _fields(record).items())


def _word(value: object, hide: Hide) -> str:
    """A value that can be cut out of the line again: in quotes if it has a space."""
    text = _one_line(str(value), hide)
    return text if text and " " not in text and '"' not in text else json.dumps(text, ensure_ascii=False)


def _one_line(text: str, hide: Hide) -> str:
    """Text without line breaks and control characters, and cut where it is too long."""
    if len(text) > MESSAGE_CHARACTERS_MAX:
        text = hide(text)
    return _printable(text if len(text) <= MESSAGE_CHARACTERS_MAX else text[:MESSAGE_CHARACTERS_MAX] + "…")


def _printable(text: str) -> str:
    """What somebody sends us cannot forge a line or move a cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    lambda text: repr(text + "'\"")[1:-4],  # as a part of a text that has both quotes
    _printable,
)


def _folded(error: BaseException, hide: Hide) -> str:
    """An exception and where it came from in one line, innermost place first."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    places = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames))
    text = "".join(traceback.format_exception_only(error)).strip()
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    because = f" because of {type(cause).__name__}: {_one_line(str(cause), hide)}" if cause else ""
    return f"{_one_line(text, hide)} (at {places or 'no place'}){because}"


# --- where it goes -----------------------------------------------------------------------------------------------------


_GONE = frozenset({errno.EIO, errno.EBADF})
"""Beside a broken pipe: nobody is there any more. Anything else may pass: a full disk, a pipe that is full for now."""


class _Stream:
    """Writes lines at once. A reader that is gone must not end a daemon with open positions: the stream is given up.

    What cannot be written for another reason is counted, and told as soon as something can be written again. The
    stream's own buffer may have kept a part of it.
    """

    def __init__(self, stream: TextIO, renderer: _Renderer) -> None:
        self._stream: TextIO | None = stream
        self._renderer = renderer
        self._lost = 0
        self._why = ""

    def write(self, message: Message) -> None:
        if self._stream is None:
            return
        if self._lost and self._write(self._renderer.line(self._told_of_loss(message.record)) + "\n"):
            self._lost = 0
        if self._lost or not self._write(message):
            self._lost += 1

    def _told_of_loss(self, record: Record) -> Record:
        told: dict[str, Any] = dict(record)
        lines = "1 line" if self._lost == 1 else f"{self._lost} lines"
        told["message"] = f"{lines} of the log could not be written, and may be missing here: {self._why}"
        told.update(level=logger.level("WARNING"), name=__name__, extra={}, exception=None)
        return cast("Record", told)

    def _write(self, text: str) -> bool:
        assert self._stream is not None
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "backslashreplace").decode())
            self._stream.flush()
        except OSError as error:
            self._why = error.strerror or str(error)
            if isinstance(error, BrokenPipeError) or error.errno in _GONE:
                self._stream = None
            return False
        except ValueError:  # it was closed
            self._stream = None
            return False
        return True


class _Intercept(logging.Handler):
    """Hands what the standard library's logging says over to loguru, with the caller's place."""

    def emit(self, record: logging.LogRecord) -> None:
        level: str | int = record.levelname if record.levelname in _PRIORITIES else record.levelno
        frame: FrameType | None = sys._getframe(1)
        depth = 1
        while frame is not None and frame.f_code.co_filename == logging.__file__:
            frame, depth = frame.f_back, depth + 1
        logger.opt(depth=depth, exception=record.exc_info).log(level, "{}", record.getMessage())


def _take_over_standard_logging(level: str) -> Callable[[], None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    handler = _Intercept()
    root.handlers = [handler]
    # Libraries are chatty below warnings; they may say more only where somebody asked for everything.
    root.setLevel(logging.DEBUG if level in ("TRACE", "DEBUG") else logging.WARNING)
    logging.captureWarnings(True)

    def undo() -> None:
        logger.remove()
        _shown[:] = [0]
        logging.captureWarnings(False)
        root.handlers = before[0]
        root.setLevel(before[1])

    return undo
