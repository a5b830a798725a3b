"""Who may import whom: the rules that keep the rooms apart. An import inside a function counts too."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import panic_assets

PACKAGE = Path(panic_assets.__file__).parent
WORKLOADS = ("trajectories", "grokking", "finetunes")
SHARED = (
    "checks",
    "cli",
    "compute",
    "definitions",
    "dictionary",
    "doctor",
    "drops",
    "errors",
    "graphics",
    "house",
    "instance",
    "lake",
    "model_settings",
    "models",
    "operations",
    "problems",
    "progress",
    "reading",
    "registry",
    "resources",
    "statistics",
    "steps",
    "tables",
    "training",
    "web",
    "workload",
)
"""Rooms that name no workload. `workloads` is the list; `api` is for people, who ask for experiments by name."""
PURE = (
    "statistics",
    "finetunes.captions",
    "finetunes.drawing",
    "finetunes.pictures",
    "finetunes.verdicts",
    "grokking.learning",
    "grokking.paths",
    "grokking.spectra",
    "trajectories.clusters",
    "trajectories.motion",
    "trajectories.runs",
    "trajectories.topology",
    "web.door",
)
"""Rooms of pure functions: they know neither Dagster nor the lake."""


@cache
def imports() -> list[tuple[str, str]]:
    """Every (module, what it imports) of the package, without the package's own name in front."""
    return sorted(_imports())


def _imports() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "panic_assets":
                yield from ((module, f"panic_assets.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield module, node.module


def _within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def test_there_are_imports_to_look_at() -> None:
    assert ("definitions", "panic_assets.workloads") in imports()


@pytest.mark.parametrize("room", SHARED)
def test_a_shared_room_names_no_workload(room: str) -> None:
    named = [
        (module, target)
        for module, target in imports()
        if _within(module, room) and any(_within(target, f"panic_assets.{w}") for w in WORKLOADS)
    ]
    assert named == []


@pytest.mark.parametrize("room", WORKLOADS)
def test_a_workload_imports_no_other(room: str) -> None:
    others = [w for w in WORKLOADS if w != room]
    taken = [
        (module, target)
        for module, target in imports()
        if _within(module, room) and any(_within(target, f"panic_assets.{w}") for w in others)
    ]
    assert taken == []


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_know_neither_dagster_nor_the_lake(room: str) -> None:
    known = [
        (module, target)
        for module, target in imports()
        if _within(module, room) and any(_within(target, t) for t in ("dagster", "duckdb", "panic_assets.lake"))
    ]
    assert known == []


@pytest.mark.parametrize(
    ("room", "above"),
    [
        ("compute", "models"),
        ("compute", "lake"),
        ("lake", "workloads"),
        ("lake", "tables"),
        ("registry", "lake"),
        ("registry", "models"),
        ("statistics", "training"),
        ("operations.deletion", "workloads"),
        ("operations.deletion", "doctor"),
        ("models", "lake"),
    ],
)
def test_a_lower_room_does_not_import_a_higher_one(room: str, above: str) -> None:
    up = [(m, t) for m, t in imports() if _within(m, room) and _within(t, f"panic_assets.{above}")]
    assert up == []


def test_only_the_instance_touches_the_internals_of_dagster() -> None:
    touching = {module for module, target in imports() if target.startswith("dagster._")}
    assert {module for module in touching if not _within(module, "instance")} == set()
