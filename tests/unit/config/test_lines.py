"""Where something stands in a file: each path of a file that is shipped, and what makes it hard to tell."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tradekeel.config.lines import LINES_MAX, STATEMENT_LINES_MAX, Lines
from tradekeel.config.words import join_path

SHIPPED = sorted((ROOT / "config").glob("*.toml"))

HARD = """\
# [accounts.none]
title = \"\"\"
[accounts.text]
a = 1
\"\"\"

[accounts."odd name"] # a comment = 1
  list = [
    1, # [accounts.none]
    2,
  ]
risk.limits.most = 3
risk.limits.least = { "at.all" = 1, no = { more = 2 } }
'quoted' = '''
x = 1'''

[accounts.later.paper]
[accounts . later]
feed = "x"
[[many]]
a = 1
[[many]]
a = 2
[many.inside]
a = 3
[after]
a = 4
"""


def paths(table: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in table.items():
        path = join_path(above, key)
        yield path
        if isinstance(value, dict):
            yield from paths(value, path)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_each_path_of_a_file_is_on_the_line_behind_which_the_file_has_it_for_the_first_time(file: Path) -> None:
    text = file.read_text("utf-8")
    rows, lines, seen = text.split("\n"), Lines(text), dict[str, int]()
    begun = 1
    for end in range(1, len(rows) + 1):
        with suppress(tomllib.TOMLDecodeError):
            for path in paths(tomllib.loads("\n".join(rows[:end]) + "\n")):
                seen.setdefault(path, begun)
            begun = end + 1
    assert {path: lines.of(path) for path in seen} == seen
    assert set(seen) == set(paths(tomllib.loads(text)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("title", 2),
        ("accounts.text", 7),
        ("accounts.none", 7),
        ('accounts."odd name"', 7),
        ('accounts."odd name".list', 8),
        ('accounts."odd name".list[1]', 8),
        ('accounts."odd name".risk', 12),
        ('accounts."odd name".risk.limits.least."at.all"', 13),
        ('accounts."odd name".risk.limits.least.no.more', 13),
        ('accounts."odd name".quoted', 14),
        ('accounts."odd name".missing', 7),
        ("accounts.later", 17),
        ("accounts.later.feed", 19),
        ("after.a", 27),
        ("after.a.no.such.thing", 27),
    ],
)
def test_what_makes_it_hard_to_tell(path: str, line: int) -> None:
    tomllib.loads(HARD)
    assert Lines(HARD).of(path) == line
    assert Lines(HARD.replace("\n", "\r\n")).of(path) == line


@pytest.mark.parametrize(
    "path", ["many", "many[1].a", "nowhere", "nowhere.at[0].all", "", "the file", "a b.c", "..", "[x"]
)
def test_what_cannot_be_told_is_not_guessed(path: str) -> None:
    assert Lines(HARD).of(path) is None


def test_a_name_too_long_to_be_shown_whole_is_told_of_as_its_table() -> None:
    one, other = "a" * 70 + "1", "a" * 70 + "2"
    lines = Lines(f"[feeds]\n{one} = 1\n{other} = 2\n[feeds.b]\n[feeds.{one}s]\nx = 1\n")
    assert {lines.of(join_path("feeds", name)) for name in (one, other)} == {1}
    assert lines.of("feeds.b") == 4


def test_a_very_long_file_or_statement_ends_what_is_told() -> None:
    list_ = "x = [\n" + "1,\n" * STATEMENT_LINES_MAX + "]\n"
    assert [Lines(f"a = 1\n{list_}b = 2\n").of(path) for path in ("a", "x", "b")] == [1, None, None]
    assert Lines("a = 1\n" * (LINES_MAX + 1)).of("a") is None
