"""The page of a report: whole in one file, and whatever stands in the books is text in it and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

from msgspec import structs

from tests.unit.backtest.reporting.reports import evil, report
from tradekeel.backtest.reporting.cells import moment
from tradekeel.backtest.reporting.charts import all_charts
from tradekeel.backtest.reporting.page import make_page, plotly_script
from tradekeel.domain.times import NS_PER_S


class Seen(HTMLParser):
    """Which elements and attributes a page has, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href", "action", "data", "poster", "srcset"):
                self.addresses.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


YEAR_NS = 365 * 86_400 * NS_PER_S

SMALL = "var Plotly = {}; // </script> <!-- "
"""In the place of plotly's five megabytes, which a parser takes seconds for."""


def test_whatever_the_books_say_is_text() -> None:
    plain, seen = Seen(make_page(report(), SMALL)), Seen(make_page(evil(), SMALL))
    assert seen.elements["script"] == plain.elements["script"] == 3
    assert not {"img", "iframe", "object", "base"} & seen.elements.keys()
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert "alert(1)" in "".join(seen.text), "it is shown, as text"


def test_its_head_has_the_times_of_the_market_that_was_played_and_not_when_that_was() -> None:
    plain = report()
    assert plain.figures is not None
    played_later = structs.replace(
        plain, run=structs.replace(plain.run, started_ns=plain.run.started_ns + 10 * YEAR_NS)
    )
    first = moment(plain.figures.first_ns).text
    assert f"{first} to {moment(plain.as_of.ts_ns).text} UTC" in make_page(played_later, SMALL)


def test_what_no_text_may_have_is_marked_and_the_page_can_be_written() -> None:
    made = make_page(evil(), SMALL)
    made.encode("utf-8")
    assert "\x00" not in made
    assert "\ufffd" in made


def test_nothing_is_asked_of_anybody() -> None:
    made = make_page(report(), SMALL)
    assert all(address.startswith(("#", "data:")) for address in Seen(made).addresses)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', made)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "http" not in policy[1]


def test_no_two_elements_have_one_name() -> None:
    names = Seen(make_page(report(), SMALL)).ids
    assert [name for name, count in names.items() if count > 1] == []


def test_the_charts_are_data_that_ends_nothing() -> None:
    made = make_page(evil(), SMALL)
    text = re.search(r'id="chart-data">(.*?)</script>', made, re.DOTALL)
    assert text is not None
    charts = json.loads(text[1])
    assert {"equity", "under-water", "months", "distribution", "durations", "price-0", "layers"} <= {
        chart["name"] for chart in charts
    }
    assert "<" not in text[1]
    assert not [name for name in strings(charts) if "<a " in name or "<img" in name]


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def test_a_run_without_anything_has_a_page_all_the_same() -> None:
    empty = report([], [], figures=None, prices={}, stops={}, strategies=())
    bare = structs.replace(empty, curve=structs.replace(empty.curve, equity=(), under_water=(), benchmark=()))
    assert all_charts(bare) == ()
    assert "exec-1" in make_page(bare, SMALL)


def test_orders_that_came_to_nothing_are_told_at_the_top_with_their_reasons() -> None:
    """They may be why a strategy did not do what was meant."""
    made = make_page(report(denied={"paused": 2}, rejections={"NO_PRICE": 3, "WRONG_SIDE": 1}), SMALL)
    said = "2 orders denied by the gate (paused 2); 4 orders rejected by the venue (NO_PRICE 3, WRONG_SIDE 1)."
    assert said in made.split("<nav>")[0]
    assert "denied by the gate" not in make_page(report(denied={}, rejections={}), SMALL)


def test_the_whole_of_plotly_is_in_it_once() -> None:
    made = make_page(report(), plotly_script())
    assert made.count("plotly.js v") == 1
    assert len(made) > 1_000_000


def test_without_plotly_the_extra_is_named() -> None:
    """In a process of its own, in which plotly cannot be imported."""
    program = (
        "import sys; sys.modules['plotly'] = None\n"
        "from tradekeel.backtest.reporting.page import plotly_script\n"
        "from tradekeel.errors import InputError\n"
        "try: plotly_script()\n"
        "except InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'tradekeel[report]'" in done.stdout
