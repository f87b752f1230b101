"""Fresh processes of the daemon, watched from outside: when the first tick arrives, what it holds in memory, how fast it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

NOTES = "TRADEKEEL_BENCH_NOTES"
"""Names the file, less its ending, in which the strategies of these processes note what they saw."""

WITNESS = Path(__file__).with_name("witness.py")
HOARDER = Path(__file__).with_name("hoarder.py")
WAIT_MAX_S = 600.0
LOOK_EVERY_S = 0.002
NS_PER_S = 1e9
KIB_PER_MB = 1_000.0 / 1.024


class Started(NamedTuple):
    """A daemon that has seen its first tick."""

    process: subprocess.Popen[bytes]
    first_tick_s: float  # after the process was asked for
    cpu_s: float  # what the process had computed by then


def environment(config: Path) -> dict[str, str]:
    """Ours, without any setting of the daemon's, and with modules compiled once, as where it is installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEKEEL")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {NOTES: str(config), "PYTHONPYCACHEPREFIX": str(COMPILED)}


COMPILED = Path(tempfile.gettempdir()) / f"tradekeel-bench-compiled-{os.getuid()}"


@contextmanager
def daemon(config: Path) -> Iterator[Started]:
    """`tradekeel run` on a configuration whose strategy is the witness; killed at the end if it still runs."""
    note = noted(config, "first")
    note.unlink(missing_ok=True)
    with config.with_suffix(".log").open("wb") as log:
        asked_ns = time.monotonic_ns()
        process = subprocess.Popen(
            [sys.executable, "-m", "tradekeel", "run", str(config), "--plain"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(config),
        )
        try:
            wait_for(lambda: note.is_file() and note.stat().st_size > 0, process, config)
            seen_ns, cpu_ns = map(int, note.read_text().split())
            yield Started(process, (seen_ns - asked_ns) / NS_PER_S, cpu_ns / NS_PER_S)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def noted(config: Path, what: str) -> Path:
    """The file in which a strategy notes something."""
    return config.with_suffix(f".{what}")


def warm_up() -> None:
    """Compile all modules: whoever installs the daemon has done so."""
    subprocess.run([sys.executable, "-c", "import tradekeel.bootstrap.launch"], check=True, env=environment(WITNESS))


def wait_for(there: Callable[[], bool], process: subprocess.Popen[bytes], config: Path) -> None:
    """Look until it is there; a process that ends before is an error with its log."""
    until_s = time.monotonic() + WAIT_MAX_S
    while not there():
        if process.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"the daemon did not come so far: {config.with_suffix('.log').read_text()[-4000:]}")
        time.sleep(LOOK_EVERY_S)


def stop(process: subprocess.Popen[bytes]) -> float:
    """Seconds from SIGTERM until the process is gone, with exit code 0."""
    began_s = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=60)
    took_s = time.perf_counter() - began_s
    if code != 0:
        raise RuntimeError(f"the daemon ended with {code}")
    return took_s


def resident_mb(pid: int) -> float:
    """What a process holds in memory now, in MB (a million bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / KIB_PER_MB
    raise RuntimeError(f"process {pid} is gone")


def python_s(code: str, rounds: int) -> float:
    """The shortest of a few runs of an interpreter with this code."""

    def one() -> float:
        began_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment(WITNESS))
        return time.perf_counter() - began_s

    return min(one() for _ in range(rounds))
