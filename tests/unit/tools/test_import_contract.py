"""The import contract lets through what a row lists and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

from tools.import_contract import AllowedImports, Row, Trespass, granted_to, parse_libraries

ROOT = Path(__file__).parents[3]


@pytest.fixture
def graph() -> grimp.ImportGraph:
    graph = grimp.ImportGraph()
    for module in ("app", "app.core", "app.core.sums", "app.shell", "app.shell.clock", "app.shell.door"):
        graph.add_module(module)
    for library in ("json", "msgspec", "anyio"):
        graph.add_module(library, is_squashed=True)
    return graph


def trespasses(graph: grimp.ImportGraph, **options: Any) -> list[Trespass]:
    contract = AllowedImports("row", {"root_packages": ["app"]}, options)
    check = contract.check(graph, verbose=False)
    found: list[Trespass] = check.metadata.get("trespasses", [])
    assert check.kept == (not found)
    return found


def add(graph: grimp.ImportGraph, importer: str, imported: str, line: int = 3) -> None:
    graph.add_import(importer=importer, imported=imported, line_number=line, line_contents="import it")


def test_the_standard_library_the_part_itself_and_the_root_are_always_allowed(
    graph: grimp.ImportGraph,
) -> None:
    for imported in ("json", "app.core", "app"):
        add(graph, "app.core.sums", imported)
    assert trespasses(graph, part="app.core") == []


def test_a_library_that_the_row_does_not_list_is_a_trespass(graph: grimp.ImportGraph) -> None:
    add(graph, "app.core.sums", "msgspec")
    add(graph, "app.core.sums", "anyio", line=7)
    assert trespasses(graph, part="app.core", may_import=["msgspec"]) == [Trespass("app.core.sums", "anyio", (7,))]


def test_another_part_must_be_listed_and_brings_its_modules(graph: grimp.ImportGraph) -> None:
    add(graph, "app.shell.door", "app.core.sums")
    assert trespasses(graph, part="app.shell") != []
    assert trespasses(graph, part="app.shell", may_import=["app.core"]) == []


def test_a_library_for_one_module_is_not_a_library_for_its_neighbour(graph: grimp.ImportGraph) -> None:
    add(graph, "app.shell.clock", "anyio")
    add(graph, "app.shell.door", "anyio")
    found = trespasses(graph, part="app.shell", libraries=["app.shell.clock: anyio"])
    assert [trespass.importer for trespass in found] == ["app.shell.door"]


def test_a_part_that_may_use_any_library_still_keeps_to_its_parts(graph: grimp.ImportGraph) -> None:
    add(graph, "app.shell.door", "anyio")
    add(graph, "app.shell.door", "app.core")
    found = trespasses(graph, part="app.shell", any_library="true")
    assert [trespass.imported for trespass in found] == ["app.core"]


def test_alone_means_the_module_without_what_lies_below_it(graph: grimp.ImportGraph) -> None:
    add(graph, "app.core.sums", "anyio")
    assert trespasses(graph, part="app", alone="true") == []
    add(graph, "app", "app.core")
    assert [trespass.imported for trespass in trespasses(graph, part="app", alone="true")] == ["app.core"]


def test_a_part_that_does_not_exist_yet_only_warns(graph: grimp.ImportGraph) -> None:
    check = AllowedImports("row", {}, {"part": "app.later"}).check(graph, verbose=False)
    assert check.kept
    assert check.warnings == ["app.later does not exist yet."]


def test_names_that_only_begin_alike_are_different(graph: grimp.ImportGraph) -> None:
    row = Row("app.core", may_import=("app.ports",))
    assert row.allows("app.core", "app.ports.clock")
    assert not row.allows("app.core", "app.portside")


def test_a_library_line_without_a_module_is_refused() -> None:
    with pytest.raises(ValueError, match="module: library"):
        parse_libraries(["apscheduler"])
    granted = parse_libraries(["app.shell: anyio, rich"])
    assert granted_to("app.shell.door", granted) == {"anyio", "rich"}
    assert granted_to("app.core", granted) == frozenset()


def test_every_part_of_the_layers_has_a_row_or_may_import_all_below_it() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    parts = {name.strip(" ()") for layer in layers for name in layer.split("|")}
    rows = {contract["part"].removeprefix("tradekeel.") for contract in contracts if contract["type"] == "allowed"}
    assert parts - rows == {"bootstrap"}
    assert rows - parts == {"tradekeel"}
