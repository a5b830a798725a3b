"""Commands that only read do not wait for Dagster, nor for libraries that only stages need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from panic_assets.lake.lake import Lake

pytestmark = pytest.mark.slow

ASLEEP = {"dagster", "dagster_shared", "PIL", "numba", "pandas", "scipy", "sklearn", "torch", "pydantic_settings"}

RUN = """
import contextlib, io, json, os, sys
from panic_assets.cli.main import main

told = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["panic", *words]
    code = 0
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    told.append([words, code, sorted({name.partition(".")[0] for name in sys.modules})])
print(json.dumps(told))
"""

HELP = """
import json, sys
import typer
from panic_assets.cli.main import app

def walk(command, words):
    yield [*words, "--help"]
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from walk(command.get_command(None, name), [*words, name])

print(json.dumps(list(walk(typer.main.get_command(app), []))))
"""


def python(code: str, *words: str) -> list:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_command_that_reads_imports_dagster(instance: dg.DagsterInstance, lake: Lake, tmp_path: Path) -> None:
    run = lake.sql("SELECT run_id FROM runs ORDER BY run_id")["run_id"][0].as_py()
    commands = [
        ["query", "SELECT count(*) FROM runs"],
        *(["experiment", *rest] for rest in (["list"], ["show", "a"], ["status"], ["status", "a"])),
        *(["run", *rest] for rest in (["list"], ["show", run])),
        *(["cluster", *rest] for rest in (["list"], ["show", "DummyText"])),
        *(["training", *rest] for rest in (["list"], ["tree"])),
        *(["finetune", *rest] for rest in (["list"], ["ab", "list"])),
        *(["model", *rest] for rest in (["list"], ["show", "DummyText"])),
        ["export", "data", str(tmp_path / "out")],
    ]
    for words, code, modules in python(RUN, json.dumps(commands)):
        assert code == 0, words
        assert ASLEEP & set(modules) == set(), words
    # They read settings of the environment, or what no experiment here has.
    for words, _, modules in python(
        RUN, json.dumps([["compare", "a"], ["training", "cost"], ["training", "show", "x"]])
    ):
        assert "dagster" not in modules, words


def test_no_help_imports_dagster() -> None:
    pages = python(HELP)
    assert ["experiment", "perform", "--help"] in pages
    assert ["finetune", "ab", "vote", "--help"] in pages
    for words, code, modules in python(RUN, json.dumps(pages)):
        assert code == 0, words
        assert "dagster" not in modules, words


def test_a_query_waits_for_duckdb_and_little_else(instance: dg.DagsterInstance) -> None:
    """How long it takes is measured in benchmarks/startup.py. typer brings pydantic, whatever the command."""
    [[_, code, modules]] = python(RUN, json.dumps([["query", "SELECT 1"]]))
    assert code == 0
    assert {*ASLEEP, "pyarrow", "numpy", "yaml"}.isdisjoint(modules)
