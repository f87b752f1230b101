"""Running a daemon: lock, build, run the tree, and say with an exit code how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from loguru import logger

from tradekeel.actors.control import SignalArrived
from tradekeel.bootstrap.plan import Plan
from tradekeel.bootstrap.wiring import Builder
from tradekeel.errors import AlreadyRunning, ExitCode
from tradekeel.runtime import faults
from tradekeel.runtime.fault import Fault
from tradekeel.runtime.loop import LoopGuard, dump_stacks_and_exit
from tradekeel.runtime.loop import run as run_loop
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.signals import SignalInbox
from tradekeel.runtime.system import ActorSystem
from tradekeel.statedir import StateDir
from tradekeel.storage.store import Store

Watcher = Callable[[ActorSystem, StateDir], object]


def run_daemon(plan: Plan, signals: SignalInbox, environ: Mapping[str, str], *, fresh: bool = False) -> ExitCode:
    """Run until stopped. Errors of configuration were found before; what is raised here is documented in ExitCode."""
    statedir = StateDir(plan.config.state_dir)
    statedir.lock()
    faults.arm_from_environment(environ)
    try:
        if fresh:
            forget_paper(plan, statedir)
        if signals.stop_asked:
            return ExitCode.DONE
        return run_loop(_main, plan, statedir, signals, environ)
    finally:
        statedir.release()


def forget_paper(plan: Plan, statedir: StateDir) -> None:
    """`--fresh`: close unfinished paper executions, and let the paper venues begin anew."""
    if statedir.books.exists():
        with Store.open(statedir.books, now_ns=0) as store:
            close_executions(store, [a.config.name for a in plan.accounts])
    for account in plan.accounts:
        base = statedir.paper_ledger(account.config.account_at_venue)
        for path in (base, Path(f"{base}-wal"), Path(f"{base}-shm")):
            path.unlink(missing_ok=True)


def close_executions(store: Store, accounts: list[str]) -> None:
    """Close what is unfinished, as a record like any other."""
    from tradekeel.domain.records import ExecutionClosed, Group
    from tradekeel.domain.recovery import fold
    from tradekeel.storage.loading import AccountBooks

    for account in accounts:
        loaded = AccountBooks(store, {}).load(account)
        if loaded.execution is None:
            continue
        book = _book_of(loaded)
        recovered = fold(book, loaded.journal)
        last_ns = recovered.entries[-1].record.ts_ns if recovered.entries else 0
        record = ExecutionClosed(ts_ns=last_ns, stamp=recovered.book.stamp, reason="started fresh")
        rows = tuple(recovered.book.apply(record))
        store.commit([Group(execution=loaded.execution, records=(record,), rows=rows)])


def _book_of(loaded: object) -> object:
    from tradekeel.domain.book import Book
    from tradekeel.domain.recovery import decode_account_state

    cut = loaded.cut  # type: ignore[attr-defined]
    return Book() if cut is None else Book.load(decode_account_state(cut.state).book)


async def _main(plan: Plan, statedir: StateDir, signals: SignalInbox, environ: Mapping[str, str]) -> ExitCode:
    notify = Notifier.from_environ(environ)
    system = ActorSystem(on_fault=_log_fault)

    async def reload() -> str:
        raise AlreadyRunning("reload is not wired")

    house = Builder(plan, statedir, system, notify, reload).build()
    control = system.ref("control")
    signals.attach(lambda number: control.alive and control.control(SignalArrived(int(number))))
    with LoopGuard(plan.config.daemon.stall_limit_s, dump_stacks_and_exit):
        try:
            await system.run(house.root)
        finally:
            signals.detach()
            for worker in house.workers:
                await worker.close()
    return ExitCode.DONE


def _log_fault(fault: Fault) -> None:
    logger.warning("{}", fault)
