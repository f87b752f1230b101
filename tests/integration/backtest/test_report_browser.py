"""The report as a person opens it: a real browser, no network, no error in its console, readable at a desk and on a phone.

With TRADEKEEL_SCREENSHOTS=DIR the images are kept there, for somebody to look at.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.integration.backtest.browser import chromium, drawn_charts, look, photograph, size_of
from tests.scenarios import support_configs as configs
from tests.unit.backtest.reporting.reports import evil
from tradekeel.backtest.reporting.page import make_page, plotly_script
from tradekeel.bootstrap.backtests import execute, prepare
from tradekeel.bootstrap.reports import make_report, only_run, write_page

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="there is no Chromium on this machine (apt-get install chromium)"
)

DESK, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a backtest of several days and two strategies, one of them in layers."""
    folder = tmp_path_factory.mktemp("report")
    toml = (
        configs.head()
        + configs.market(6_000, more="").replace("interval_ms = 500", "interval_ms = 60000")
        + configs.account("b", exits="monitor")
        + configs.strategy("floor", "b", "floor", configs.FLOOR)
        + configs.strategy("ema", "b")
    )
    return page_of(folder, toml)


def page_of(folder: Path, toml: str) -> Path:
    """The page of a backtest of this configuration."""
    config = folder / "report.toml"
    config.write_text(toml.replace("{state}", str(folder / "state")))
    (prepared,) = prepare(config, {})
    executed = execute(prepared)
    run = only_run(executed.folder, config, {})
    assert run is not None
    write_page(make_report(run, {}), folder / "report.html")
    return folder / "report.html"


def keep(image: Path) -> None:
    wanted = os.environ.get("TRADEKEEL_SCREENSHOTS")
    if wanted:
        shutil.copy(image, Path(wanted) / image.name)


def test_it_opens_without_network_and_without_an_error(page: Path, tmp_path: Path) -> None:
    looked = look(page, tmp_path / "profile")
    assert looked.console == []
    assert re.search(r'data-drawn="(\d+)"', looked.dom), "the script came to its end"
    assert {"equity", "under-water", "months", "distribution", "durations", "price-0", "layers", "layer-times"} <= set(
        drawn_charts(looked.dom)
    )


@pytest.mark.parametrize("ticks", [1, 300])
def test_a_run_without_a_trade_has_a_page_without_an_error(tmp_path: Path, ticks: int) -> None:
    slow = configs.strategy("ema", "b", params="fast = 8, slow = 5000")
    made = page_of(tmp_path, configs.head() + configs.market(ticks) + configs.account("b") + slow)
    looked = look(made, tmp_path / "profile")
    assert looked.console == []
    assert {"equity", "under-water", "months"} <= set(drawn_charts(looked.dom))
    assert "1970" not in re.sub("<script.*?</script>", "", looked.dom, flags=re.DOTALL)
    assert "NaN" not in re.sub("<script.*?</script>", "", looked.dom, flags=re.DOTALL)


def test_what_stands_in_the_books_does_nothing_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "evil.html"
    page.write_text(make_page(evil(), plotly_script()), encoding="utf-8")
    looked = look(page, tmp_path / "profile")
    assert looked.console == []
    assert "equity" in drawn_charts(looked.dom)
    assert not re.search(r"<(img|iframe)\b", looked.dom)
    assert not re.search(r"<a\b[^>]*javascript", looked.dom)


def test_an_error_in_a_page_would_be_seen(tmp_path: Path) -> None:
    """The witness is tested, too: an error, something that a policy refuses, and a name that is not there."""
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><script>throw new Error('seen')</script><img src='https://example.com/x.png'>")
    assert any("seen" in line for line in look(bad, tmp_path / "profile").console)


@pytest.mark.parametrize(("name", "size"), [("desk", DESK), ("phone", PHONE)])
def test_it_fits_the_window_and_something_is_drawn(
    page: Path, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    image = tmp_path / f"report-{name}.png"
    rows = photograph(page, tmp_path / "profile", image, *size)
    keep(image)
    assert size_of(image) == size
    colours = {colour for row in rows for colour in row}
    assert len(colours) > 50, "the page is not empty"


def test_nothing_is_wider_than_a_phone(page: Path, tmp_path: Path) -> None:
    """A page in a frame of a phone's width tells how wide it would like to be."""
    copy = tmp_path / "measured.html"
    measure = (
        "<script>addEventListener('load', () => setTimeout(() => {"
        "const main = document.querySelector('main'), charts = [...document.querySelectorAll('.chart svg.main-svg')];"
        "document.documentElement.dataset.wide = Math.max(document.documentElement.scrollWidth, "
        "...charts.map((c) => Math.ceil(c.getBoundingClientRect().right))) + ' of ' + innerWidth; "
        "parent.postMessage(document.documentElement.dataset.wide, '*'); }, 500));</script></body>"
    )
    copy.write_text(page.read_text().replace("</body>", measure))
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<!doctype html><script>addEventListener('message', (e) => document.documentElement.dataset.told = e.data)</script>"
        f"<iframe src={copy.name} style='width:390px;height:844px;border:0'></iframe>"
    )
    dom = look(frame, tmp_path / "profile").dom
    told = re.search(r'data-told="(\d+) of (\d+)"', dom)
    assert told is not None, dom[-2_000:]
    assert told[2] == "390"
    assert int(told[1]) <= 390


def test_it_is_dark_where_people_like_it_dark(page: Path, tmp_path: Path) -> None:
    image = tmp_path / "report-dark.png"
    rows = photograph(page, tmp_path / "profile", image, *DESK, "--blink-settings=preferredColorScheme=0")
    keep(image)
    assert sum(rows[2][2]) < 150, "the corner of the page is dark"


def test_a_table_is_sorted_by_a_click(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sorted.html"
    click = (
        "<script>addEventListener('load', () => {"
        "const table = document.getElementById('table-trades');"
        "const pnl = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[11].dataset.order));"
        "const button = table.tHead.rows[0].cells[11].querySelector('button');"
        "button.click(); const down = pnl(); button.click(); const up = pnl();"
        "const ordered = (list) => list.every((v, i) => !i || list[i - 1] <= v);"
        "document.documentElement.dataset.sorted = ordered(up) && ordered(down.reverse()) && up.length > 10;"
        "});</script></body>"
    )
    copy.write_text(page.read_text().replace("</body>", click))
    assert 'data-sorted="true"' in look(copy, tmp_path / "profile").dom
