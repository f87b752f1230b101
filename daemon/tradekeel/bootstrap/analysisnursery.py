"""Where the runs of an analysis are born: a process that has everything loaded but strategies, and forks itself for each.

    python -m tradekeel.bootstrap.analysisnursery FOLDER

takes the numbers of jobs from its standard input, a line each, reads ``NUMBER.job`` in the folder and writes ``NUMBER.outcome``.
On its standard output it says ``NUMBER at TICK`` now and then, and ``NUMBER end CODE`` when the process is gone. When nobody
gives it numbers any more it ends with all that it has started, which a strategy's endless loop would otherwise outlive: so it is
begun in a group of its own.

What a strategy keeps in its class, its module or a set is its run's alone, and nobody waits for modules to load. With another
PYTHONHASHSEED it is another nursery, in whose sets everything stands in another order.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

from tradekeel.bootstrap.analysisruns import ENCODER, JOBS, Watch, perform

FAILED = 1
"""The code of a run that failed in our hands."""


def main(words: list[str]) -> None:
    """See the module."""
    assert os.getpgrp() == os.getpid(), "its end is that of its group"
    folder, pipe = Path(words[0]), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)  # what a strategy prints is not said dozens of times
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody is waited for here
    for line in sys.stdin.buffer:
        if os.fork() == 0:
            os.dup2(nowhere, 0)
            os._exit(_attend(folder, int(line), pipe))
    os.killpg(0, signal.SIGKILL)


def _attend(folder: Path, number: int, pipe: int) -> int:
    """Have a process do it, and say when that is gone, by whatever hand."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    runner = os.fork()
    if runner == 0:
        os._exit(_run(folder, number, pipe))
    _, status = os.waitpid(runner, 0)
    _say(pipe, f"{number} end {os.waitstatus_to_exitcode(status)}")
    return 0


def _run(folder: Path, number: int, pipe: int) -> int:
    errors = os.open(folder / f"{number}.errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(errors, 2)
    try:
        job = JOBS.decode((folder / f"{number}.job").read_bytes())
        watch = Watch()
        sys.addaudithook(watch.hear)
        outcome = perform(job, watch, lambda position: _say(pipe, f"{number} at {position}"))
        (folder / f"{number}.outcome").write_bytes(ENCODER.encode(outcome))
    except BaseException:  # noqa: BLE001  # whatever it is: the other side tells it
        traceback.print_exc()
        sys.stderr.flush()
        return FAILED
    return 0


def _say(pipe: int, words: str) -> None:
    """A line at once, so that lines of several do not mix. Whoever reads them being gone, nobody needs the rest."""
    try:
        os.write(pipe, f"{words}\n".encode())
    except BrokenPipeError:
        os._exit(FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
