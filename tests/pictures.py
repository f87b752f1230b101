"""The pictures of the documentation, taken of the demo as it runs: ``make pictures`` (Chromium is needed, and some two minutes).

    python -m tests.pictures

The live view is drawn from what the daemon shows on a terminal, in the middle of its run; the report's page is photographed.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI

from tests.conftest import ROOT
from tests.integration.backtest.browser import chromium, photograph
from tests.integration.cli_daemon import copy_shipped_files, environment
from tradekeel.bootstrap.launch import RunOptions, launch
from tradekeel.bootstrap.summary import Summary
from tradekeel.cli.live import picture
from tradekeel.runtime.signals import SignalInbox

IMAGES = ROOT / "docs" / "images"
CONFIG = Path("config/demo.toml")
COLUMNS, LINES = 100, 34
PAGE = (1200, 1345)
"""Width and height of the page's part that is shown."""

MIDDLE = 0.6
"""The part of the market that has been seen when the live view is worth a picture."""


class Painter:
    """Looks on as a terminal does, and keeps one view of it as an SVG."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.svg = ""

    def open(self, name: str) -> None:
        """Nothing is to be seen yet."""

    def show(self, status: Mapping[str, Any]) -> None:
        """Keep the view of the middle."""
        feeds = status.get("feeds", {}).values()
        if not self.svg and any((feed["share"] or 0) > MIDDLE for feed in feeds):
            self.svg = _drawn(status)

    def close(self) -> None:
        """What was kept stays."""

    def finish(self, summary: Summary) -> None:
        """The end is not of interest."""

    def give_up(self) -> None:
        """What was kept stays."""


def _drawn(status: Mapping[str, Any]) -> str:
    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, height=LINES, force_terminal=True, highlight=False
    )
    console.print(picture(status, COLUMNS, LINES))
    svg = console.export_svg(title=f"tradekeel run {CONFIG}", theme=MONOKAI)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # a picture loads nothing from anywhere


def main() -> None:
    """Take them all."""
    if chromium() is None:
        raise SystemExit("there is no Chromium on this machine, which the report's page is photographed with")
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        copy_shipped_files(folder)
        painter = Painter()
        code = launch(folder / CONFIG, RunOptions(), SignalInbox([]), environment(), painter)
        if code or not painter.svg:
            raise SystemExit(f"the demo ended with {code}, and its picture {'was' if painter.svg else 'was not'} taken")
        (IMAGES / "live.svg").write_text(painter.svg)
        page = folder / "report.html"
        words = [sys.executable, "-m", "tradekeel", "report", str(CONFIG), "--html", str(page)]
        subprocess.run(words, cwd=folder, env=environment(), check=True)
        photograph(page, folder / "profile", IMAGES / "report.png", *PAGE)


if __name__ == "__main__":
    main()
