"""A real Chromium without a screen and without a network: what it says of a page, and what the page looks like.

The network is not there in three ways: no name resolves, the proxy is a closed port of this machine, and where the kernel lets us
the process has a network of its own with nothing in it.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 120
ROWS_READ = 200
"""Of an image: enough to see that something is there, and in which colours."""

SETTLE_MS = 10_000
"""Of the page's own time, which passes as fast as it is done with its work."""

FLAGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"),
    *("--enable-logging=stderr", "--v=0", f"--virtual-time-budget={SETTLE_MS}"),
)


def chromium() -> str | None:
    """Where it is; None on a machine without one."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


class Looked:
    """What came of looking at a page: its elements as they were at the end, and what the console said."""

    def __init__(self, dom: str, log: str) -> None:
        self.dom = dom
        self.log = log

    @property
    def console(self) -> list[str]:
        """Lines of the page's console: errors, refusals of its policy, failed requests."""
        return [line for line in self.log.splitlines() if ":CONSOLE" in line]


def look(page: Path, profile: Path, *more: str) -> Looked:
    """Open a file and wait until it has come to rest."""
    done = _start(page, profile, "--dump-dom", *more)
    return Looked(done.stdout, done.stderr)


def size_of(image: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    width, height = struct.unpack(">II", image.read_bytes()[16:24])
    return width, height


def photograph(
    page: Path, profile: Path, image: Path, width: int, height: int, *more: str
) -> list[list[tuple[int, int, int]]]:
    """A screenshot of a window of this size; the colours of its first rows."""
    _start(page, profile, f"--screenshot={image}", f"--window-size={width},{height}", *more)
    return pixels(image.read_bytes())


def _start(page: Path, profile: Path, *more: str) -> subprocess.CompletedProcess[str]:
    program = chromium()
    assert program is not None
    words = [*_alone(), program, *FLAGS, f"--user-data-dir={profile}", *more, page.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    shutil.rmtree(profile, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-4_000:]
    return done


def _alone() -> list[str]:
    """What gives a program a network of its own, where that is allowed."""
    words = ["unshare", "--map-root-user", "--net"]
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return []
    tried = subprocess.run([*words, "true"], capture_output=True, timeout=TIMEOUT_S, check=False)
    return words if tried.returncode == 0 else []


def pixels(png: bytes) -> list[list[tuple[int, int, int]]]:
    """The colours of the first rows of a PNG of eight bits, whose format is told at https://www.w3.org/TR/png/."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind in (2, 6)) == (8, True)
    data, at = b"", 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + size]
        at += 12 + size
    step = 3 if kind == 2 else 4
    return _unfiltered(zlib.decompress(data), width, min(height, ROWS_READ), step)


def _unfiltered(raw: bytes, width: int, height: int, step: int) -> list[list[tuple[int, int, int]]]:
    rows: list[list[tuple[int, int, int]]] = []
    before = bytearray(width * step)
    length = width * step
    for number in range(height):
        start = number * (length + 1)
        filter_, line = raw[start], bytearray(raw[start + 1 : start + 1 + length])
        for i in range(length) if filter_ else ():
            left = line[i - step] if i >= step else 0
            up, corner = before[i], before[i - step] if i >= step else 0
            line[i] = (line[i] + _predicted(filter_, left, up, corner)) & 255
        rows.append([(line[i], line[i + 1], line[i + 2]) for i in range(0, length, step)])
        before = line
    return rows


def _predicted(filter_: int, left: int, up: int, corner: int) -> int:
    if filter_ == 1:
        return left
    if filter_ == 2:
        return up
    if filter_ == 3:
        return (left + up) // 2
    guess = left + up - corner
    return min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]


def drawn_charts(dom: str) -> list[str]:
    """The names of the charts that plotly has drawn something into."""
    found = re.findall(
        r'id="chart-([a-z0-9-]+)"[^>]*class="[^"]*js-plotly-plot|class="[^"]*js-plotly-plot[^"]*"[^>]*id="chart-([a-z0-9-]+)"',
        dom,
    )
    return [one or other for one, other in found]
