"""An import-linter contract that says what a part may import, instead of what it may not.

The architecture is a table: each part, and what it may import. A list of what is forbidden would have to name every
library in the world to say the same; this contract type reads the table's own form, so a row in `pyproject.toml` is a
row of the table:

    [[tool.importlinter.contracts]]
    name = "runtime: anyio, errors"
    type = "allowed"
    part = "tradekeel.runtime"
    may_import = ["anyio", "tradekeel.errors"]

A part may always import the standard library, its own modules and the bare root package. Only direct imports are
looked at: what a part reaches through its neighbours is the neighbours' row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import override

import grimp
from importlinter import Contract, ContractCheck, fields, output


@dataclass(frozen=True, order=True)
class Trespass:
    """One import that the part's row does not list."""

    importer: str
    imported: str
    lines: tuple[int, ...]


class AllowedImports(Contract):  # type: ignore[misc]  # the base class is untyped to mypy
    """`part` may import `may_import`, the standard library and itself; `libraries` go to single modules."""

    type_name = "allowed"

    part = fields.StringField()
    may_import = fields.ListField(subfield=fields.StringField(), default=[])
    libraries = fields.ListField(subfield=fields.StringField(), default=[])
    any_library = fields.BooleanField(default=False)
    alone = fields.BooleanField(default=False)

    @override
    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        part = str(self.part)
        if part not in graph.modules:
            return ContractCheck(kept=True, warnings=[f"{part} does not exist yet."])
        modules = {part} if self.alone else {part} | graph.find_descendants(part)
        root = part.partition(".")[0]
        granted = parse_libraries(self.libraries)
        trespasses = []
        for importer in modules:
            for imported in graph.find_modules_directly_imported_by(importer):
                if imported == root or (not self.alone and is_within(imported, part)):
                    continue
                if self._is_allowed(imported, root) or imported in granted_to(importer, granted):
                    continue
                details = graph.get_import_details(importer=importer, imported=imported)
                lines = tuple(sorted({detail["line_number"] for detail in details}))
                trespasses.append(Trespass(importer, imported, lines))
        return ContractCheck(kept=not trespasses, metadata={"trespasses": sorted(trespasses)})

    @override
    def render_broken_contract(self, check: ContractCheck) -> None:
        for trespass in check.metadata["trespasses"]:
            lines = ", ".join(f"l.{line}" for line in trespass.lines)
            output.print_error(f"{trespass.importer} may not import {trespass.imported} ({lines})", bold=False)
        output.new_line()
        allowed = ", ".join(self.may_import) or "nothing but the standard library"
        output.print(f"{self.part} may import: {allowed}.")
        output.print("Move the code to the part it belongs to, or pass the thing in: bootstrap wires.")
        output.new_line()

    def _is_allowed(self, imported: str, root: str) -> bool:
        if not is_within(imported, root):
            top = imported.partition(".")[0]
            return bool(self.any_library) or top in sys.stdlib_module_names or top in self.may_import
        return any(is_within(imported, allowed) for allowed in self.may_import)


def is_within(module: str, package: str) -> bool:
    """Whether `module` is `package` or lies somewhere inside it."""
    return module == package or module.startswith(package + ".")


def parse_libraries(lines: Iterable[str]) -> dict[str, frozenset[str]]:
    """Read "module: library, library" lines into what each module is granted; a line without a colon is a mistake."""
    granted = {}
    for line in lines:
        module, colon, names = line.partition(":")
        if not colon:
            raise ValueError(f"libraries: {line!r} should read 'module: library, library'")
        granted[module.strip()] = frozenset(name.strip() for name in names.split(","))
    return granted


def granted_to(importer: str, granted: dict[str, frozenset[str]]) -> frozenset[str]:
    """Everything that `importer` is granted, by its own name or by a package it lies in."""
    return frozenset().union(*(names for module, names in granted.items() if is_within(importer, module)))
