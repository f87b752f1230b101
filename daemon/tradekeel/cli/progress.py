"""Progress bars of what takes its time: on standard error, and on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[str, int, int], None]
"""Called with the name of a step, what is done of it, and what there is in all; 0: nobody knows yet."""


@contextmanager
def progress_bars(hidden: bool) -> Iterator[Tell]:
    """A bar for each step on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    out = Console(stderr=True)
    with Progress(console=out, transient=True, disable=hidden or not out.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total or None)
            bar.update(tasks[step], completed=done, total=total or None)

        yield tell


@contextmanager
def progress_words(hidden: bool) -> Iterator[Callable[[str], None]]:
    """What is being done, in words, on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    out = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=out, transient=True, disable=hidden or not out.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what: bar.update(task, description=what)
