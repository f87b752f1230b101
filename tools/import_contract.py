"""An import-linter contract that says what a part may import, instead of what it may not.

The architecture is a table: each part, and what it may import. A list of what is forbidden would have to
name every library in the world to say the same; this contract type reads the table's own form, so a row in
`pyproject.toml` is a row of the table:

    [[tool.importlinter.contracts]]
    name = "runtime: anyio, errors"
    type = "allowed"
    part = "tradekeel.runtime"
    may_import = ["anyio", "tradekeel.errors"]

A part may always import the standard library, its own modules and the bare root package. Only direct imports
are looked at: what a part reaches through its neighbours is the neighbours' row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grimp
from importlinter import Contract, ContractCheck, fields, output


@dataclass(frozen=True, order=True)
class Trespass:
    """One import that the part's row does not list."""

    importer: str
    imported: str
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table, read: the part and what it may import."""

    part: str
    may_import: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    any_library: bool = False
    alone: bool = False

    def modules(self, graph: grimp.ImportGraph) -> set[str]:
        """The part's modules in the graph; `alone` leaves out what lies below it."""
        return {self.part} if self.alone else {self.part} | graph.find_descendants(self.part)

    def allows(self, importer: str, imported: str) -> bool:
        """Whether `importer`, a module of the part, may import `imported`."""
        root = self.part.partition(".")[0]
        if imported == root or (not self.alone and is_within(imported, self.part)):
            return True
        if imported in granted_to(importer, parse_libraries(self.libraries)):
            return True
        if not is_within(imported, root):
            return self.any_library or imported in sys.stdlib_module_names or imported in self.may_import
        return any(is_within(imported, allowed) for allowed in self.may_import)


class AllowedImports(Contract):
    """`part` may import `may_import`, the standard library and itself; `libraries` go to single modules."""

    type_name = "allowed"

    part = fields.StringField()
    may_import = fields.ListField(subfield=fields.StringField(), default=[])
    libraries = fields.ListField(subfield=fields.StringField(), default=[])
    any_library = fields.BooleanField(default=False)
    alone = fields.BooleanField(default=False)

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        row = self._row()
        if row.part not in graph.modules:
            return ContractCheck(kept=True, warnings=[f"{row.part} does not exist yet."])
        trespasses = []
        for importer in row.modules(graph):
            for imported in graph.find_modules_directly_imported_by(importer):
                if not row.allows(importer, imported):
                    details = graph.get_import_details(importer=importer, imported=imported)
                    lines = tuple(sorted({detail["line_number"] for detail in details}))
                    trespasses.append(Trespass(importer, imported, lines))
        return ContractCheck(kept=not trespasses, metadata={"trespasses": sorted(trespasses)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for trespass in check.metadata["trespasses"]:
            lines = ", ".join(f"line {line}" for line in trespass.lines)
            said = f"{trespass.importer} may not import {trespass.imported} ({lines})"
            output.print_error(said, bold=False)
        row = self._row()
        allowed = ", ".join(row.may_import) or "nothing but the standard library"
        output.new_line()
        output.print(f"{row.part} may import: {allowed}.")
        output.print("Move the code to the part it belongs to, or pass the thing in: bootstrap wires.")
        output.new_line()

    def _row(self) -> Row:
        # import-linter replaces each field by what it parsed, which a type checker cannot see.
        values: dict[str, Any] = {name: getattr(self, name) for name in Row.__dataclass_fields__}
        values["may_import"] = tuple(values["may_import"])
        values["libraries"] = tuple(values["libraries"])
        return Row(**values)


def is_within(module: str, package: str) -> bool:
    """Whether `module` is `package` or lies somewhere inside it."""
    return module == package or module.startswith(package + ".")


def parse_libraries(lines: Iterable[str]) -> dict[str, frozenset[str]]:
    """Read lines "module: library, library" into what each module is granted; without a colon it is a mistake."""
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
