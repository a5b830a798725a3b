"""Dagster's own commands, in the checkout and from nothing: what the README and the workflow in .github/ say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from panic_assets.settings import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WORKFLOW = yaml.safe_load((PROJECT / ".github" / "workflows" / "experiment.yml").read_text())["jobs"]["experiment"]
COMMANDS = {step["name"]: step["run"] for step in WORKFLOW["steps"] if "name" in step}
ARTIFACT = WORKFLOW["steps"][-1]["with"]["path"].split()


def _run(command: str, cwd: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    """A line of shell, as somebody types it or a workflow runs it, with no setting of ours but `more`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PANIC_", "DAGSTER_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = kept | {"PATH": path, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"} | more
    return subprocess.run(
        ["bash", "-ec", command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which the workflow's commands ran one after the other, and what each of them said."""
    folder = tmp_path_factory.mktemp("workflow")
    (folder / ".github").mkdir()
    shutil.copy(PROJECT / ".github" / "experiment.yaml", folder / ".github")
    said = {}
    for name, command in COMMANDS.items():
        done = _run(command, folder, DAGSTER_HOME=str(folder / ".panic" / "dagster"))
        assert done.returncode == 0, done.stderr[-3000:]
        said[name] = done.stdout + done.stderr
    return folder, said


def test_the_workflow_performs_an_experiment_and_leaves_what_it_keeps(said):
    folder, _ = said
    assert all((folder / path).exists() for path in ARTIFACT)
    with duckdb.connect(str(folder / ".panic" / "panic.duckdb"), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM runs WHERE stop_reason = 'length'").fetchall() == [(4,)]
        assert connection.sql("SELECT count(DISTINCT run_id) FROM persistence_summary").fetchall() == [(4,)]
    invocations = duckdb.sql(f"SELECT count(*) FROM '{folder}/tables/invocations.parquet'").fetchall()
    assert invocations == [(80,)]


def test_stock_storage_says_once_that_a_deletion_does_not_cascade(said):
    _, texts = said
    sentence = "A partition that is deleted in the web page leaves its rows in the lake"
    assert {name: text.count(sentence) for name, text in texts.items() if sentence in text} == {"register": 1}


def test_a_failure_is_an_exit_code(said):
    folder, _ = said
    command = COMMANDS["perform"].replace("nightly", "nobody")
    assert _run(command, folder, DAGSTER_HOME=str(folder / ".panic" / "dagster")).returncode != 0


def test_dg_works_in_the_checkout_without_being_told_of_a_home(tmp_path):
    """Registered with our own storage, in the home that `panic` would use. `dg launch --assets` is
    `dagster asset materialize` by another name."""
    home = str(tmp_path / "home")
    for command in ("dg check defs", "dg launch --job register_experiment --config .github/experiment.yaml"):
        done = _run(command, PROJECT, PANIC_HOME=home)
        assert done.returncode == 0, done.stderr[-3000:]
        assert " - DEBUG - " not in done.stdout + done.stderr
        assert "leaves its rows" not in done.stdout + done.stderr
    planned = _run('panic query "SELECT count(*) AS n FROM runs" --format csv', PROJECT, PANIC_HOME=home)
    assert planned.stdout.split() == ["n", "4"], planned.stderr
    assert list(PROJECT.glob(".tmp_dagster_home_*")) == []
