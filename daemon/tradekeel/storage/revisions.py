"""The checksum of a revision: of what it does, and not of how it is written down.

Comments, docstrings, line breaks and quotes may change; a statement may not, once somebody's books were changed by it.
"""

from __future__ import annotations

import ast
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

_LEFT_OUT = frozenset({"type_ignores", "type_comment", "kind", "ctx"})
"""Fields of Python's syntax tree that say nothing of what the code does."""


_PARSING = threading.Lock()
"""CPython counts for all threads together how deep the syntax tree is that it makes: two at once fail with SystemError."""


def checksum_of(source: str) -> str:
    """SHA-256, as text, of the code in ``source``; the same in every version of Python. Raises SyntaxError."""
    return _checksum(_parsed(source))


def checksums_in(folder: Path) -> dict[str, str]:
    """The checksum of each revision in a folder, by its number."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.py")):
        tree = _parsed(file.read_text(encoding="utf-8"))
        found[_revision(tree, file)] = _checksum(tree)
    return found


def _parsed(source: str) -> ast.Module:
    with _PARSING:
        return ast.parse(source)


def _checksum(tree: ast.Module) -> str:
    return sha256(repr(_plain(tree)).encode()).hexdigest()


def _revision(tree: ast.Module, file: Path) -> str:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="revision")], value=ast.Constant(value=str(revision))):
                return revision
    raise ValueError(f"{file} does not say which revision it is")


def _plain(part: Any) -> Any:
    """The syntax tree as tuples. What is empty is left out: newer versions of Python have more fields, empty ones."""
    if isinstance(part, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(part) if name not in _LEFT_OUT)
        return (type(part).__name__, *((name, _plain(value)) for name, value in fields if value not in (None, [])))
    if isinstance(part, list):
        return tuple(_plain(item) for item in part if not _is_text_alone(item))
    return part


def _is_text_alone(item: Any) -> bool:
    """A docstring, or any other text that nobody uses."""
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)
