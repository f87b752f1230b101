"""Which execution is meant, of a daemon's or of a backtest's: by its id, by the beginning of it, or the newest.

A place may have books of its own (a daemon's, or one backtest's), and backtests in a folder below it; the folder of backtests
itself is a place, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct, structs

from tradekeel.bootstrap.backtestbooks import look
from tradekeel.bootstrap.backtests import TASK_DIGITS, listed
from tradekeel.bootstrap.place import Place, find_place, is_service
from tradekeel.domain.counting import counted
from tradekeel.domain.rows import ExecutionRow, Mode
from tradekeel.domain.tasks import TaskExecution, TaskRow, TaskStatus
from tradekeel.errors import InputError, StoreError
from tradekeel.storage.backend import Backend
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.whose import not_elsewhere

NAMED_MAX = 8
"""Executions that are named where several could be meant."""

ID_DIGITS_MIN = 4
"""Of the beginning of an id: fewer are as good as none."""


class Run(Struct, frozen=True):
    """One execution and where its books are."""

    row: ExecutionRow
    books: Backend
    number: int  # of a backtest's execution, or the account's
    began_ns: int  # by the clock on the wall
    is_backtest: bool
    place: Place
    file: str = ""  # of a backtest: the configuration's, as far as its books say
    remarks: tuple[str, ...] = ()  # why it is this one, where another could have been meant

    def __str__(self) -> str:
        return f"{self.row.execution[:TASK_DIGITS]}#{self.number} ({self.row.mode}, {self.row.account})"


def runs_at(place: Place) -> Iterator[Run]:
    """Every execution of a place that can be read, in no order. Raises StoreError for a daemon's books that cannot."""
    if place.has_books:
        yield from _in_books(place)
    yield from _backtests_at(place)


def _backtests_at(place: Place) -> Iterator[Run]:
    folders = dict.fromkeys(each.folder for root in _roots(place) for each in listed(root) if each.name)
    for folder in folders:
        yield from _in_books(Place(folder, place.config, environ=place.environ))


def _in_books(place: Place) -> Iterator[Run]:
    books = place.books()
    with one_moment(books, "looking for executions") as db:
        mapping = mapping_of(ExecutionRow)
        where = f" WHERE {not_elsewhere(books)}" if books.daemon else ""
        rows = [mapping.decode(values) for values in db.execute(f"{mapping.select_sql}{where}")]
    told = _task_of(books)
    for row in rows:
        if told is None or row.mode is not Mode.BACKTEST:  # scripts keep tasks of their own in a daemon's books
            yield Run(row, books, row.number, row.started_ns, False, place)
        else:
            task, execution = told
            file = str(task.config.get("file", ""))
            yield Run(row, books, execution.number, execution.started_ns or 0, True, place, file)


def _task_of(books: Backend) -> tuple[TaskRow, TaskExecution] | None:
    """Of a backtest's books."""
    path = getattr(books, "path", None)
    return look(path) if isinstance(path, Path) else None


def only_run(folder: Path, config: Path | None, environ: Mapping[str, str]) -> Run | None:
    """The execution of a backtest's own folder; None where nothing was saved of it yet."""
    place = Place(folder, config, environ=environ)
    return next(_in_books(place), None) if place.has_books else None


def find_run(
    place: Place, execution: str | None = None, account: str | None = None, preferred: str | None = None
) -> Run:
    """The execution whose id begins so, ``ID#2`` for the second one of a backtest; without an id the newest, of the place's own
    configuration and of the ``preferred`` account where there is one.

    Raises InputError where there is none, or where several could be meant.
    """
    try:
        found = list(runs_at(place))
    except StoreError:  # the daemon's may be on a server that is away
        found = _backtests_named(place, execution)
        if not found:
            raise
    runs = [run for run in found if account is None or run.row.account == account]
    if not runs:
        failed = _unsaved(place, account)
        whose = "" if account is None else f" of account {account!r}"
        raise InputError(
            f"there is no execution{whose} at {place}: run one with `tradekeel run` or `tradekeel backtest` first"
            f"{_unreadable(place)}{f'. {failed}' if failed else ''}"
        )
    if execution is not None:
        return max(_named(runs, execution, place), key=_age)
    # What scripts have written down is no run of anybody's, unless it is named.
    runs = [run for run in runs if run.row.mode is not Mode.MANUAL] or runs
    run = _newest([run for run in runs if _is_of(run.file, place.config)] or runs, preferred)
    failed = _unsaved(place, account, run.began_ns)
    return structs.replace(run, remarks=(*run.remarks, failed)) if failed else run


def _backtests_named(place: Place, words: str | None) -> list[Run]:
    """The backtests of an id: their books are files, wherever the daemon's are."""
    beginning = "" if words is None else words.partition("#")[0]
    if len(beginning) < ID_DIGITS_MIN:
        return []
    return [run for run in _backtests_at(place) if run.row.execution.startswith(beginning)]


def _newest(runs: list[Run], preferred: str | None) -> Run:
    """The newest, with what else could have been meant."""
    run = max([run for run in runs if run.row.account == preferred] or runs, key=_age)
    remarks = []
    if not _is_of(run.file, run.place.config):
        remarks.append(f"{run} is of {run.file}: there is none of {run.place.config}")
    others = sorted({each.row.account for each in runs} - {run.row.account})
    if others and run.row.account != preferred:
        remarks.append(
            f"{run} is the newest; there is also account {', '.join(others)}: --account NAME says which is meant"
        )
    return structs.replace(run, remarks=tuple(remarks))


def _age(run: Run) -> tuple[int, int, str]:
    return run.began_ns, run.number, run.row.account


def _is_of(name: str, config: Path | None) -> bool:
    """Whether a backtest of the file of this name is one of this configuration; what is of no file that anybody knows may be."""
    if config is None or not name:
        return True
    file = Path(name)
    return file.resolve() == config.resolve() if file.is_absolute() else file.name == config.name


def _unreadable(place: Place) -> str:
    """What to say of backtests that cannot be read: one of them may be what is meant."""
    broken = [each for root in _roots(place) for each in listed(root) if not each.name]
    return (
        f". {counted(len(broken), 'backtest')} cannot be read: {broken[0].error} ({broken[0].folder})" if broken else ""
    )


def _unsaved(place: Place, account: str | None, after_ns: int = 0) -> str:
    """What to say of the newest backtest that began after that and of which nothing was saved, but for those that were left for
    a new one; "" for none.
    """
    unsaved = [
        each
        for root in _roots(place)
        for each in listed(root)
        if each.name and not each.has_execution and (each.started_ns or 0) > after_ns
        if each.status is not TaskStatus.STOPPED
        if _is_of(each.config, place.config) and (account is None or each.name.endswith(f"/{account}"))
    ]
    if not unsaved:
        return ""
    newest = max(unsaved, key=lambda each: each.started_ns or 0)
    what = f"backtest {newest.task}#{newest.number}"
    if newest.error:
        return f"{what} has failed before anything of it was saved: {newest.error}"
    if newest.alive:
        return f"{what} is being run, and nothing of it was saved yet"
    return f"{what} was interrupted before anything of it was saved: the same command begins it again"


def _roots(place: Place) -> tuple[Path, Path]:
    """Where backtests may lie."""
    return place.backtests, place.state_dir


def _named(runs: list[Run], words: str, place: Place) -> list[Run]:
    beginning, hash_, number = words.partition("#")
    newest = sorted(runs, key=lambda run: run.began_ns, reverse=True)[:NAMED_MAX]
    there_are = f"there are: {', '.join(map(str, newest))}{_unreadable(place)}"
    if len(beginning) < ID_DIGITS_MIN or (hash_ and not number.isdecimal()):
        raise InputError(
            f"{words!r} names no execution: write its id or the beginning of it, {ID_DIGITS_MIN} characters or more, and "
            f"#2 behind it for the second one of a backtest; {there_are}"
        )
    found = [
        run for run in runs if run.row.execution.startswith(beginning) and (not hash_ or run.number == int(number))
    ]
    if not found:
        raise InputError(
            f"no execution at {place} begins with {words!r}, and it is no state directory and no configuration; {there_are}"
        )
    if len({run.row.execution for run in found}) > 1:
        listed_ = ", ".join(map(str, found[:NAMED_MAX]))
        raise InputError(f"several executions begin with {words!r}: {listed_}. Write more of the id")
    return found


def reported_run(words: str | None, place: Place | None, account: str | None, environ: Mapping[str, str]) -> Run:
    """What `tradekeel report` is asked for: a state directory, a configuration, or an id, which is looked for at the place.

    Of a directory and of a configuration it is the newest execution, a daemon's or a backtest's, and without a word that of the
    place. Raises InputError, also where a place is named twice.
    """
    named = None if words is None else _place_named(words, place, environ)
    if named is None:
        return find_run(_searched(words, place, environ), words, account)
    if place is not None and (place.config is None or named.config != place.config):
        raise InputError(
            f"{words} and {place} are two places: behind a state directory stands its configuration, or nothing"
        )
    return find_run(named, None, account)


def run_of(
    words: str,
    place: Place | None,
    environ: Mapping[str, str],
    account: str | None = None,
    preferred: str | None = None,
) -> Run:
    """What one word of `tradekeel compare` means: a state directory, a configuration, or an id.

    Of a directory and of a configuration it is the daemon's newest execution, and where there is none the newest backtest's: of
    ``account`` alone, or of the ``preferred`` one where there is that.
    """
    named = _place_named(words, place, environ)
    if named is None:
        return find_run(_searched(words, place, environ), words, account)
    return _of_a_daemon(named, account, preferred)


def both_runs(
    first: str, second: str, place: Place | None, account: str | None, environ: Mapping[str, str]
) -> tuple[Run, Run]:
    """What two words mean, see :func:`run_of`: of the same account, if both have it. Raises InputError."""
    if _place_named(first, place, environ) is not None and _place_named(second, place, environ) is None:
        of_id = run_of(second, place, environ, account)  # an id says which account is meant
        return run_of(first, place, environ, account, of_id.row.account), of_id
    found = run_of(first, place, environ, account)
    return found, run_of(second, place, environ, account, found.row.account)


def _place_named(words: str, place: Place | None, environ: Mapping[str, str]) -> Place | None:
    """The state directory, with the place's configuration, or the configuration that a word names; None for an id."""
    path = Path(words)
    if path.is_dir():
        found = find_place(None, path, environ)
        return found if place is None else structs.replace(found, config=place.config)
    is_configuration = path.is_file() or words.endswith(".toml") or is_service(words)
    return find_place(words, None, environ) if is_configuration else None


def _searched(words: str | None, place: Place | None, environ: Mapping[str, str]) -> Place:
    """Where an id is looked for."""
    if place is not None:
        return place
    try:
        return find_place(None, None, environ)
    except InputError as error:
        if words is None:
            raise
        raise InputError(
            f"{words!r} is no state directory and no configuration, and where is its execution? {error}"
        ) from error


def _of_a_daemon(place: Place, account: str | None, preferred: str | None) -> Run:
    daemons = [run for run in _in_books(place) if not run.is_backtest] if place.has_books else []
    wanted = [run for run in daemons if account is None or run.row.account == account]
    return _newest(wanted, preferred) if wanted else find_run(place, None, account, preferred)
