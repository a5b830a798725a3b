"""What people read is plain English: phrases that turned sentences into riddles stay out of it.

Looked at are the docs of tables, views and columns, descriptions in the graph, the help of commands, and messages.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import panic_assets

PACKAGE = Path(panic_assets.__file__).parent

UNIT = (
    "(batch|call|card|cluster|core|epoch|experiment|file|image|invocation|item|lag|minute|model|network|output|page|pair|"
    "partition|pass|picture|pixel|point|process|prompt|query|row|run|second|seed|step|text|vector|walk|worker)s?"
)
TICS = {
    r"\bone row an? ": "One row per run.",
    rf"\b(an?|one|no|how many|\d+) (\w+ )?{UNIT} an? {UNIT}\b": "one row per run; at most 3 calls per second",
    r"\bpixels a side\b": "side length in pixels",
    r"\b(come|comes|came|coming) to\b": "say what is computed: the sum, the mean, a summary",
    r"\b(hang|hangs|hung|hanging) on\b": "depends on, is made from",
    r"(?<!there )\b(is|are|was|were) (?-i:none)\b": "is not a file; there are no controls",
    r"\bof which there (is|are) none\b": "there are no controls",
    r"\b(is|are) no (known|readable|valid|JSON|YAML|Parquet|CSV|number|image|picture|folder|finding)\b": "is not valid JSON",
    r"\bso many\b": "name the number: at most `limit` rows",
    r"\bso[- ]manieth\b": "every n-th row",
    r"\bat the (most|least)\b": "at most, at least",
    r"\bwhat (\w+ ){1,4}sa(ys?|id) of\b": "what the file says about the run",
    r"\bwith which (it|they|there|a|the) \w+ (is|are) born\b": "it is born with this edge",
    r"\bamounts to\b": "is",
    r"\bcan(not)? be asked\b": "cannot be checked, cannot be read",
    r"\bask(ing)? again\b": "try again, run it again",
    r"\b(ever )?be had\b": "is available, can be obtained",
    r"\bfound missing\b": "is missing",
}
"""Pattern -> what to write instead."""


class Text(NamedTuple):
    """A text that people read, and where it is written."""

    file: str
    line: int
    text: str


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package, parsed, by its path inside the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {f.relative_to(PACKAGE).as_posix(): ast.parse(f.read_text(encoding="utf-8")) for f in files}


def _strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts inside an expression; an f-string is one text, with `{}` where it is filled in."""
    if isinstance(node, ast.JoinedStr):
        yield node.lineno, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


SPOKEN = {
    "Column",
    "Table",
    "Field",
    "UserError",
    "ItemError",
    "LeaseHeld",
    "Failure",
    "WorkerDied",
    "Finding",
    "say",
    "info",
    "warning",
    "error",
    "SkipReason",
    "AssetCheckResult",
    "Command",
    "Workload",
}
"""Calls whose texts people read: docs of tables, options in the launchpad, errors, output of commands, and logs."""


def written() -> Iterator[Text]:
    """Texts in calls of SPOKEN, in the classes of what is typed into the launchpad, and in VIEWS: the first text of a
    view is its doc, the second is SQL."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _called(node.func) in SPOKEN:
                found = [text for value in (*node.args, *(k.value for k in node.keywords)) for text in _strings(value)]
            elif isinstance(node, ast.ClassDef) and any(_called(base).endswith("Config") for base in node.bases):
                found = list(_strings(node))
            elif isinstance(node, ast.Assign) and any(_called(target) == "VIEWS" for target in node.targets):
                found = [t for pair in node.value.values for t in _strings(pair.elts[0])]  # type: ignore[attr-defined]
            else:
                continue
            yield from (Text(file, line, text) for line, text in found)


@cache
def _places() -> dict[str, tuple[str, int]]:
    """Every text of the package -> where it is written."""
    return {
        inspect.cleandoc(text): (file, line) for file, tree in trees().items() for line, text in _strings(tree) if text
    }


def _found(name: str, text: str | None) -> Iterator[Text]:
    if text:
        file, line = _places().get(inspect.cleandoc(text), (name, 0))
        yield Text(file, line, text)


def described() -> Iterator[Text]:
    """Descriptions of assets, checks, jobs, their ops, sensors, schedules and models."""
    from panic_assets.definitions import defs
    from panic_assets.registry.registry import REGISTRY

    for spec in REGISTRY.values():
        yield from _found(f"model {spec.name}", spec.doc)
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    for key in graph.get_all_asset_keys():
        yield from _found(f"asset {key.to_user_string()}", graph.get(key).description)
    for check in graph.asset_check_keys:
        yield from _found(f"check {check.name}", graph.get_check_spec(check).description)
    jobs = repository.get_all_jobs()
    ops = (op for job in jobs for op in job.all_node_defs)
    for made in (*jobs, *ops, *repository.sensor_defs, *repository.schedule_defs):
        yield from _found(f"{type(made).__name__} {made.name}", made.description)


def helped() -> Iterator[Text]:
    """The help of every command and of its options."""
    from panic_assets.cli.main import app

    def walk(command: Any, path: str) -> Iterator[Text]:
        for text in (command.help, command.epilog, *(getattr(p, "help", None) for p in command.params)):
            yield from _found(path, text)
        if isinstance(command, typer.core.TyperGroup):
            context = typer.Context(command)
            for name in command.list_commands(context):
                yield from walk(command.get_command(context, name), f"{path} {name}")

    yield from walk(typer.main.get_command(app), "panic")


def tics(text: str) -> list[str]:
    """The tics in a text, each with what to write instead."""
    return [
        f"{found[0]!r} (better: {better})"
        for pattern, better in TICS.items()
        for found in re.finditer(pattern, " ".join(text.split()), re.IGNORECASE)
    ]


@pytest.mark.parametrize("texts", [written, described, helped])
def test_what_people_read_is_plain(texts) -> None:
    read = set(texts())
    assert len(read) > 50, "the texts are looked for in the wrong place"
    offenders = [f"{t.file}:{t.line}: {tic}" for t in sorted(read) for tic in tics(t.text)]
    assert not offenders, "\n" + "\n".join(offenders)


@pytest.mark.parametrize(
    "riddle",
    [
        "One row a run and embedding model: what its motion comes to.",
        "Pages whose controls are none.",
        "(1, 0) when one was not measured: one worker process a core.",
        "Prints every so-manieth row.",
        "How many at the most.",
        "What hangs on a partition.",
        "file.json is no JSON: line 1",
        "wait for it to end, then ask again",
        "a number that the card's name says of it: what rows say of the weights",
    ],
)
def test_riddles_are_recognised(riddle: str) -> None:
    assert tics(riddle)


def test_plain_sentences_are_not_taken_for_riddles() -> None:
    for text in (
        "One row per run and embedding model: a summary of how the run moves.",
        "Give the run a name; each model a user names must be in the registry.",
        "It needs at least 2 runs, and at most 3 of a network.",
        "There are no clusters yet; `panic cluster recompute` makes them.",
    ):
        assert tics(text) == [], text
