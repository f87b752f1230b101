"""The determinism check: nothing but the runtime reads a clock, starts a task or thread, or draws a random number.

Everything that decides takes its time, its ids and its randomness as arguments; that is why a backtest, a
simulation and a killed-and-resumed run write the same journal byte for byte. One forgotten `time.time()` breaks
that promise without breaking a test, so this check reads the syntax tree of every module of the package. Only
the `free` files of `[tool.tradekeel.determinism]` in pyproject.toml, the clock and the loop, may touch the
outside world. An exception is an entry of `allow` with the file, the exact thing it uses and a reason; an entry
that is no longer needed is an error too.

    python -m tools.determinism            check the package named in pyproject.toml
    python -m tools.determinism FILE...    check these files, with no file free

Names are followed through imports and their aliases (`from time import monotonic as now`), through `getattr`
and `import_module` with a literal name, and through plain references: handing `time.monotonic` to someone else
is as much a reading of the clock as calling it. Annotations are free: an argument of the type `random.Random`
is randomness handed in. What the check cannot see is a name built at run time.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CLOCK = "take `now` as an argument, or ask the injected clock of runtime/clock.py"
TASK = "start it in a task group, through runtime/loop.py, so that someone owns its end"
THREAD = "threads belong to runtime/loop.py; ask it, or keep the work in the actor that owns it"
RANDOM = "take the number as an argument; model randomness is a hash of seed, order and position"
DATABASE = "the database's clock and dice are not ours: pass the value as a parameter"
HASH = "hash() differs from process to process: use hashlib.blake2b over the bytes"

# What is forbidden, by its full name. A name covers everything below it: `random` covers `random.Random.seed`.
FORBIDDEN: dict[str, str] = {
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "time.monotonic": CLOCK,
    "time.monotonic_ns": CLOCK,
    "time.perf_counter": CLOCK,
    "time.perf_counter_ns": CLOCK,
    "time.process_time": CLOCK,
    "time.process_time_ns": CLOCK,
    "time.thread_time": CLOCK,
    "time.thread_time_ns": CLOCK,
    "time.clock_gettime": CLOCK,
    "time.clock_gettime_ns": CLOCK,
    "time.localtime": CLOCK,
    "time.gmtime": CLOCK,
    "time.ctime": CLOCK,
    "time.asctime": CLOCK,
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "datetime.date.today": CLOCK,
    "anyio.current_time": CLOCK,
    "anyio.lowlevel.current_time": CLOCK,
    "os.times": CLOCK,
    "asyncio.create_task": TASK,
    "asyncio.ensure_future": TASK,
    "asyncio.gather": TASK,
    "asyncio.run_coroutine_threadsafe": TASK,
    "asyncio.Task": TASK,
    "asyncio.to_thread": THREAD,
    "anyio.to_thread": THREAD,
    "anyio.from_thread": THREAD,
    "anyio.to_process": THREAD,
    "anyio.to_interpreter": THREAD,
    "threading.Thread": THREAD,
    "threading.Timer": THREAD,
    "_thread": THREAD,
    "concurrent.futures": THREAD,
    "multiprocessing": THREAD,
    "os.fork": THREAD,
    "os.forkpty": THREAD,
    "random": RANDOM,
    "secrets": RANDOM,
    "numpy.random": RANDOM,
    "os.urandom": RANDOM,
    "os.getrandom": RANDOM,
    "ssl.RAND_bytes": RANDOM,
    "uuid.uuid1": RANDOM,
    "uuid.uuid4": RANDOM,
    "uuid.uuid6": RANDOM,
    "uuid.uuid7": RANDOM,
    "uuid.getnode": RANDOM,
    "sqlalchemy.func.now": DATABASE,
    "sqlalchemy.func.current_timestamp": DATABASE,
    "sqlalchemy.func.current_time": DATABASE,
    "sqlalchemy.func.current_date": DATABASE,
    "sqlalchemy.func.localtimestamp": DATABASE,
    "sqlalchemy.func.random": DATABASE,
    "sqlalchemy.func.randomblob": DATABASE,
}

# Methods that mean the event loop whatever the object is called. (A task group's method is `start_soon`.)
FORBIDDEN_METHODS: dict[str, str] = {
    "create_task": TASK,
    "ensure_future": TASK,
    "run_in_executor": THREAD,
}

# `loop.time()` is told from other `.time()` methods by what it is called on.
LOOP_GETTERS = frozenset({"asyncio.get_running_loop", "asyncio.get_event_loop", "asyncio.new_event_loop"})
LOOP_NAMES = frozenset({"loop", "_loop", "event_loop"})


# Names that mean something without being imported. Any other name that no import brings is a variable.
BUILTINS_READ = frozenset({"getattr", "hash", "__import__"})


@dataclass(frozen=True, order=True)
class Offence:
    """One forbidden use: where, what, and what to do instead."""

    path: str
    line: int
    uses: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: uses {self.uses}: {self.instead}"


@dataclass(frozen=True)
class Allowance:
    """An exception of pyproject.toml: this file may use exactly this, because."""

    path: str
    uses: str
    reason: str


@dataclass(frozen=True)
class Settings:
    """`[tool.tradekeel.determinism]`: the package, the files that are free, and the exceptions."""

    package: str
    free: frozenset[str]
    allow: tuple[Allowance, ...]


class BadSettings(Exception):
    """The table in pyproject.toml says something that cannot be meant."""


def forbidden(name: str) -> tuple[str, str] | None:
    """Return the forbidden name that `name` is or lies below, and what to do instead; None if it is harmless."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        prefix = ".".join(parts[:length])
        if prefix in FORBIDDEN:
            return prefix, FORBIDDEN[prefix]
    return None


class _Visitor(ast.NodeVisitor):
    """Walks one module, keeping what each imported name stands for.

    Imports are judged at the end. A forbidden name that is used is told where it is used; one that is imported and
    never used could be borrowed by another module, so its import is told; and one that only annotates (an argument
    of the type `random.Random`) is what the design asks for: randomness handed in.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.offences: set[Offence] = set()
        self._meaning: dict[str, str] = {}
        self._imported: dict[str, ast.AST] = {}
        self._referenced: set[str] = set()
        self._inside_annotation = False
        self._inside_hash_method = False

    def finish(self) -> list[Offence]:
        """Judge the imports that nothing refers to, and return every offence in order."""
        for local, node in self._imported.items():
            if local not in self._referenced:
                self._judge(node, self._meaning[local])
        return sorted(self.offences)

    def _report(self, node: ast.AST, uses: str, instead: str) -> None:
        self.offences.add(Offence(self.path, getattr(node, "lineno", 0), uses, instead))

    def _judge(self, node: ast.AST, name: str) -> None:
        found = None if self._inside_annotation else forbidden(name)
        if found is not None:
            self._report(node, *found)

    def _import(self, node: ast.AST, local: str, meaning: str) -> None:
        self._meaning[local] = meaning
        self._imported[local] = node

    def learn(self, tree: ast.AST) -> None:
        """Note every import of the module first: a function may use what is imported below it."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._learn_import(node)
            elif isinstance(node, ast.ImportFrom):
                self._learn_import_from(node)

    def _learn_import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if alias.asname is not None:
                self._import(node, alias.asname, alias.name)
                continue
            self._import(node, top, top)
            if "." in alias.name and forbidden(top) is None:
                # `import anyio.to_thread` brings the name anyio, which is harmless, and a module, which is not.
                self._judge(node, alias.name)

    def _learn_import_from(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return
        for alias in node.names:
            if alias.name == "*":
                self._judge_star(node, node.module)
            else:
                self._import(node, alias.asname or alias.name, f"{node.module}.{alias.name}")

    def _judge_star(self, node: ast.AST, module: str) -> None:
        if forbidden(module) or any(name.startswith(module + ".") for name in FORBIDDEN):
            self._report(node, f"from {module} import *", "import what is used by name, so that it can be checked")

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._meaning:
            self._referenced.add(node.id)
            self._judge(node, self._meaning[node.id])

    def visit_arg(self, node: ast.arg) -> None:
        self._visit_annotation(node.annotation)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit_annotation(node.annotation)
        for part in (node.target, node.value):
            if part is not None:
                self.visit(part)

    def _visit_annotation(self, node: ast.expr | None) -> None:
        if node is None:
            return
        was_inside = self._inside_annotation
        self._inside_annotation = True
        self.visit(node)
        self._inside_annotation = was_inside

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self._full_name(node)
        if name is not None and forbidden(name) is not None:
            self._refer(node)
            self._judge(node, name)
            return
        if node.attr in FORBIDDEN_METHODS:
            self._report(node, f".{node.attr}", FORBIDDEN_METHODS[node.attr])
        elif node.attr == "time" and self._is_loop(node.value):
            self._report(node, "loop.time", CLOCK)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = self._full_name(node.func)
        literals = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if called == "getattr" and len(node.args) > 1 and literals:
            target = self._full_name(node.args[0])
            if target is not None:
                self._judge(node, f"{target}.{literals[0]}")
        elif called in {"importlib.import_module", "__import__"} and literals:
            self._judge(node, literals[0])
        elif called == "hash" and not self._inside_hash_method:
            self._report(node, "hash()", HASH)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        was_inside = self._inside_hash_method
        self._inside_hash_method = node.name == "__hash__"
        self._visit_function(node)
        self._inside_hash_method = was_inside

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._visit_annotation(node.returns)
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)

    def _refer(self, node: ast.expr) -> None:
        """Remember that the imported name at the root of a dotted one is used."""
        while isinstance(node, ast.Attribute):
            node = node.value
        if isinstance(node, ast.Name):
            self._referenced.add(node.id)

    def _full_name(self, node: ast.expr) -> str | None:
        """Return the dotted name that an expression stands for, aliases resolved; None for anything else."""
        if isinstance(node, ast.Name):
            return self._meaning.get(node.id, node.id if node.id in BUILTINS_READ else None)
        if isinstance(node, ast.Attribute):
            owner = self._full_name(node.value)
            return None if owner is None else f"{owner}.{node.attr}"
        return None

    def _is_loop(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            return self._full_name(node.func) in LOOP_GETTERS
        if isinstance(node, ast.Attribute):
            return node.attr in LOOP_NAMES
        return isinstance(node, ast.Name) and node.id in LOOP_NAMES


def check_source(source: str, path: str) -> list[Offence]:
    """Return every offence in one module's source, in order. Raises SyntaxError if it is not Python."""
    visitor = _Visitor(path)
    tree = ast.parse(source, filename=path)
    visitor.learn(tree)
    visitor.visit(tree)
    return visitor.finish()


def read_settings(pyproject: Path) -> Settings:
    """Read `[tool.tradekeel.determinism]`. Raises BadSettings where an entry is incomplete."""
    table = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["tradekeel"]["determinism"]
    allow = []
    for entry in table["allow"]:
        if set(entry) != {"path", "uses", "reason"} or not str(entry["reason"]).strip():
            raise BadSettings(f"an entry of allow needs path, uses and a reason, and no more: {entry}")
        allow.append(Allowance(**entry))
    return Settings(table["package"], frozenset(table["free"]), tuple(allow))


def check_package(root: Path, settings: Settings) -> Iterator[str]:
    """Yield a line for each offence that nothing allows, and for each exception that nothing needs."""
    package = root / settings.package
    for name in sorted(settings.free):
        # A free file that is not there is harmless until the package is: then the name is stale.
        if (package / "runtime").is_dir() and not (package / name).is_file():
            yield f"pyproject.toml: free names {name}, which is not in {settings.package}: remove it"
    needed: set[Allowance] = set()
    allowed = {(entry.path, entry.uses): entry for entry in settings.allow}
    for file in sorted(package.rglob("*.py")):
        if file.relative_to(package).as_posix() in settings.free:
            continue
        path = file.relative_to(root).as_posix()
        for offence in check_source(file.read_text(encoding="utf-8"), path):
            entry = allowed.get((offence.path, offence.uses))
            if entry is None:
                yield str(offence)
            else:
                needed.add(entry)
    for entry in settings.allow:
        if entry not in needed:
            yield f"pyproject.toml: allow lets {entry.path} use {entry.uses}, which it no longer does: remove it"


def main(argv: Sequence[str] | None = None) -> int:
    """Check the package, or the files given; print each offence and return 1 if there is one."""
    files = sys.argv[1:] if argv is None else argv
    if files:
        found = [str(offence) for name in files for offence in check_source(Path(name).read_text("utf-8"), name)]
    else:
        root = Path(__file__).parent.parent
        found = list(check_package(root, read_settings(root / "pyproject.toml")))
    for line in found:
        print(line)
    if found:
        print(f"{len(found)} breach(es) of determinism. tools/determinism.py says why they matter.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
