"""The log: one line an event where a machine reads it, everything at a terminal, and no secret anywhere."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from tradekeel import logs
from tradekeel.config import LoggingConfig

SECRET = 'pä55"word\\with\ttab'


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError


@contextmanager
def logging_to(stream: io.StringIO, settings: LoggingConfig | None = None, **options: Any) -> Iterator[io.StringIO]:
    undo = logs.setup(settings or LoggingConfig(), stream, **options)
    try:
        yield stream
    finally:
        undo()


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_pipe_gets_one_line_an_event_with_time_level_and_fields() -> None:
    with logging_to(io.StringIO()) as stream:
        logger.bind(correlation_id="c1", account="paper-1").info("order {} accepted", "tk1")
    (line,) = lines(stream)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO order tk1 accepted correlation_id=c1 account=paper-1", line
    )


def test_fields_with_spaces_can_be_cut_out_again() -> None:
    with logging_to(io.StringIO()) as stream:
        logger.bind(reason="not enough margin", empty="").warning("denied")
    assert lines(stream)[0].endswith('WARNING denied reason="not enough margin" empty=""')


@pytest.mark.parametrize("forged", ["a\nERROR forged", "a\r\x1b[2Jb", "a\u2028b", "nul\0"])
def test_what_somebody_sends_us_cannot_forge_a_line(forged: str) -> None:
    for stream in (io.StringIO(), Terminal()):
        with logging_to(stream):
            logger.bind(text=forged).info("said: {}", forged)
        text = re.sub(r"\x1b\[\d*m", "", stream.getvalue())
        assert len(text.splitlines()) == 1
        assert text[:-1].isprintable()


def test_an_exception_is_folded_into_its_line_with_the_place_and_the_cause() -> None:
    def inner() -> None:
        raise KeyError("EUR_USD")

    with logging_to(io.StringIO()) as stream:
        try:
            try:
                inner()
            except KeyError as error:
                raise RuntimeError("no\nprice") from error
        except RuntimeError:
            logger.exception("tick failed")
    (line,) = lines(stream)
    assert "ERROR tick failed !! RuntimeError: no\\nprice (at test_logs.py:" in line
    assert line.endswith("because of KeyError: 'EUR_USD'")


def test_a_terminal_gets_colours_and_the_whole_traceback() -> None:
    with logging_to(Terminal()) as stream:
        try:
            raise RuntimeError("oh")
        except RuntimeError:
            logger.exception("failed")
    assert "\x1b[31mERROR" in stream.getvalue()
    assert "Traceback (most recent call last):" in stream.getvalue()
    assert lines(stream)[-1] == "RuntimeError: oh"


def test_json_is_one_object_a_line_with_every_field() -> None:
    with logging_to(io.StringIO(), LoggingConfig(format="json"), under_systemd=True) as stream:
        logger.bind(correlation_id="c1", message="mine", path=Path("/x")).info("line\nbreak")
        try:
            raise RuntimeError("oh")
        except RuntimeError:
            logger.exception("failed")
    first, second = map(json.loads, lines(stream))
    assert first["message"] == "line\nbreak"
    assert first["level"] == "info"
    assert (first["correlation_id"], first["extra_message"], first["path"]) == ("c1", "mine", "/x")
    assert first["time"].endswith("Z")
    assert second["exception"].endswith("RuntimeError: oh\n")


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
)
def test_the_journal_is_told_the_priority(level: str, priority: int) -> None:
    with logging_to(io.StringIO(), LoggingConfig(level="debug"), under_systemd=True) as stream:
        logger.log(level.upper(), "x")
    assert stream.getvalue().startswith(f"<{priority}>")


def test_what_is_below_the_level_is_not_written() -> None:
    with logging_to(io.StringIO(), LoggingConfig(level="warning")) as stream:
        logger.info("no")
        logger.warning("yes")
    assert [line.split(" ", 1)[1] for line in lines(stream)] == ["WARNING yes"]


def test_the_standard_librarys_logging_and_warnings_arrive_too() -> None:
    with logging_to(io.StringIO()) as stream:
        logging.getLogger("alembic").warning("migrating %s {braces}", "x")
        logging.getLogger("chatty").info("not this")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old thing", stacklevel=1)
        logging.captureWarnings(False)
    text = stream.getvalue()
    assert "WARNING migrating x {braces}" in text
    assert "old thing" in text
    assert "not this" not in text


def test_setting_up_twice_and_undoing_leaves_the_standard_librarys_logging_as_it_was() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    with logging_to(io.StringIO()) as one, logging_to(io.StringIO()) as two:
        logger.info("x")
    assert one.getvalue() == ""
    assert len(lines(two)) == 1
    assert (root.handlers, root.level) == before


def test_braces_and_tags_are_text() -> None:
    with logging_to(io.StringIO()) as stream:
        logger.bind(x="{y}").info("{{}} <red>{z}</red>", z="{0}")
    assert lines(stream)[0].endswith("INFO {} <red>{0}</red> x={y} z={0}")


# --- secrets -------------------------------------------------------------------------------------------------------------


def say_it_everywhere(secret: str) -> None:
    log = logger.bind(token=secret, nested={"deep": [secret], "both": [secret + "'"]}, json=json.dumps([secret]))
    message = f"connecting with {secret}, that is {secret!r}"
    log.info(message)
    log.info("connecting with {token}")
    local = secret
    try:
        raise ValueError(f"bad token {local}")
    except ValueError:
        log.exception("refused")


@pytest.mark.parametrize("settings", [LoggingConfig(), LoggingConfig(format="json"), LoggingConfig(format="text")])
@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
def test_a_secret_is_blanked_out_of_messages_fields_and_exceptions(
    settings: LoggingConfig, stream_type: Callable[[], io.StringIO]
) -> None:
    with logging_to(stream_type(), settings, secrets=lambda: [SECRET]) as stream:
        say_it_everywhere(SECRET)
    assert logs.REDACTED in stream.getvalue()
    for spelling in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "word\\\\with", "55\\"):
        assert spelling not in stream.getvalue()


@given(st.text(min_size=6, max_size=20).filter(lambda text: len(set(text) - set("0123456789 abcdefghij")) > 3))
def test_any_secret_is(secret: str) -> None:
    for settings in (LoggingConfig(), LoggingConfig(format="json")):
        with logging_to(io.StringIO(), settings, secrets=lambda: [secret]) as stream:
            logger.bind(token=secret).info("said: {}", secret)
        assert secret not in stream.getvalue()
        if settings.format == "json":
            assert json.loads(stream.getvalue())["token"] == logs.REDACTED


def test_a_secret_that_is_a_part_of_another_leaves_nothing_of_either() -> None:
    with logging_to(io.StringIO(), secrets=lambda: ["abcdef", "abcdefghij"]) as stream:
        logger.info("abcdefghij abcdef")
    assert lines(stream)[0].endswith("INFO [secret] [secret]")


@pytest.mark.parametrize("settings", [LoggingConfig(format="json"), LoggingConfig(format="text")])
@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
def test_of_a_secret_where_a_long_text_is_cut_nothing_is_left(
    settings: LoggingConfig, stream_type: Callable[[], io.StringIO]
) -> None:
    secret = "qwertzuiopqwertzuiop"
    before = "." * (logs.MESSAGE_CHARACTERS_MAX - len(secret) + 1)
    with logging_to(stream_type(), settings, secrets=lambda: [secret]) as stream:
        logger.bind(field=before + secret).info(before + secret + "....")
        try:
            raise ValueError("....." + secret + before) from KeyError(before + secret)
        except ValueError:
            logger.exception("refused")
    assert not re.search("qwertz|uiop", stream.getvalue())


def test_what_goes_elsewhere_is_blanked_out_too_also_when_the_log_has_ended() -> None:
    with logging_to(io.StringIO(), secrets=lambda: ["abcdefghij"]):
        assert logs.without_secrets("of abcdefghij") == "of [secret]"
    assert logs.without_secrets("of abcdefghij") == "of [secret]"


def test_a_secret_fetched_later_is_hidden_from_then_on() -> None:
    known: list[str] = []
    with logging_to(io.StringIO(), secrets=lambda: known) as stream:
        known.append("abcdefghij")
        logger.info("abcdefghij")
    assert "abcdefghij" not in stream.getvalue()


def test_the_log_file_is_ours_alone_and_keeps_secrets_too(tmp_path: Path) -> None:
    path = tmp_path / "keel.log"
    with logging_to(io.StringIO(), LoggingConfig(file=str(path)), under_systemd=True, secrets=lambda: [SECRET]):
        say_it_everywhere(SECRET)
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_text(encoding="utf-8")
    assert len(content.splitlines()) == 3
    assert SECRET not in content
    assert not content.startswith("<")


def test_a_log_file_does_not_grow_without_end(tmp_path: Path) -> None:
    settings = LoggingConfig(file=str(tmp_path / "keel.log"), file_bytes_max=10_000, files_kept=2)
    with logging_to(io.StringIO(), settings):
        for _ in range(60):
            logger.info("x" * 1000)
    files = list(tmp_path.iterdir())
    assert len(files) <= 3
    assert all(file.stat().st_size <= 10_000 for file in files)


# --- streams -------------------------------------------------------------------------------------------------------------


def test_a_reader_that_left_does_not_end_the_daemon() -> None:
    stream = Gone()
    with logging_to(stream):
        logger.info("one")
        logger.info("two")
    assert stream.writes == 1


class Troubled(io.StringIO):
    """A stream that takes nothing for a while."""

    def __init__(self, number: int, fails_at: range) -> None:
        super().__init__()
        self.writes = 0
        self._number, self._fails_at = number, fails_at

    def write(self, text: str) -> int:
        self.writes += 1
        if self.writes in self._fails_at:
            raise OSError(self._number, os.strerror(self._number))
        return super().write(text)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOSPC])
def test_lines_that_could_not_be_written_are_counted_and_told_when_it_works_again(number: int) -> None:
    stream = Troubled(number, range(2, 5))
    with logging_to(stream, LoggingConfig(format="json")):
        for line in range(6):
            logger.bind(line=line).info("line {}", line)
    first, told, *rest = map(json.loads, lines(stream))
    assert [first["message"], *[line["message"] for line in rest]] == ["line 0", "line 4", "line 5"]
    assert told["message"] == f"3 lines of the log could not be written, and may be missing here: {os.strerror(number)}"
    assert (told["level"], "line" in told) == ("warning", False)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.EBADF])
def test_a_stream_whose_other_side_is_gone_is_given_up(number: int) -> None:
    stream = Troubled(number, range(1, 2))
    with logging_to(stream):
        logger.info("one")
        logger.info("two")
    assert (stream.writes, stream.getvalue()) == (1, "")


def test_a_stream_that_cannot_write_umlauts_gets_their_names() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    undo = logs.setup(LoggingConfig(), stream)
    logger.info("Grüße \ud800")
    undo()
    assert raw.getvalue().endswith(b"INFO Gr\\xfc\\xdfe \\ud800\n")


def test_a_very_long_message_is_cut() -> None:
    with logging_to(io.StringIO()) as stream:
        logger.info("x" * 100_000)
    assert len(stream.getvalue()) < 20_000


def test_the_journal_is_recognised_by_its_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as file:
        status = os.fstat(file.fileno())
        ours = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert logs.to_journal(ours, file.fileno())
        assert not logs.to_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, file.fileno())
        descriptor = file.fileno()
    assert not logs.to_journal(ours, descriptor)
    for odd in ("", ":", "a:b", "1", "²:²"):
        assert not logs.to_journal({"JOURNAL_STREAM": odd}, 0)


def test_importing_sets_nothing_up() -> None:
    code = "import tradekeel.logs, logging; from loguru import logger; print(len(logger._core.handlers), logging.root.handlers)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "1 []\n"
