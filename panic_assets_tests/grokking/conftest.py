"""A home with one tiny run, trained and analysed through the graph, made once and copied for each test."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from panic_assets.cli.main import main
from panic_assets.grokking import stages
from panic_assets.grokking.learning.model import one_thread
from panic_assets.instance.home import open_instance
from panic_assets.lake.lake import Lake
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.training import runs
from panic_assets_tests.conftest import Panic

TINY = {
    "name": "tiny",
    "primes": 7,
    "seeds": 1,
    "data_seeds": 2,
    "train_fraction": 0.6,
    "epochs": 60,
    "d_model": 16,
    "d_mlp": 24,
    "checkpoints": {"every": 10},
    "card": "desk",
}
RUN = "tiny-p7-s1-d2"


class Silent:
    """Watches nothing."""

    def stage(self, name, total, unit):
        return contextlib.nullcontext(lambda count: None)


@pytest.fixture(autouse=True, scope="module")
def matrices_this_small_on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("grokking")
    file = folder / "tiny.grokking"
    file.write_text(yaml.safe_dump(TINY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANIC_HOME", str(folder / "home"))
        patch.setattr(stages.paths, "DRAWS", 20)
        patch.setattr(sys, "argv", ["panic", "grokking", "train", str(file)])
        with contextlib.suppress(SystemExit):
            main()
    assert runs.get(open_lake(folder / "home" / "lake"), RUN)["status"] == "finished"
    return folder / "home"


@pytest.fixture
def instance(trained_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance of a home of one's own. Paths in its rows are moved along."""
    folder = tmp_path / "home"
    shutil.copytree(trained_home, folder)
    monkeypatch.setenv("PANIC_HOME", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    monkeypatch.setenv("PANIC_COMPUTE", "in_process")  # tiny runs are done before a worker process has started
    monkeypatch.setattr(stages.paths, "DRAWS", 20)
    found = open_lake(home().lake)
    for table, column in (("training_runs", "folder"), ("checkpoints", "path")):
        rows = found.sql(f"SELECT * FROM {table}", training_run=RUN).to_pylist()
        moved = [{**r, column: r[column].replace(str(trained_home), str(folder))} for r in rows]
        found.replace(table, moved, training_run=RUN)
    with open_instance(home()) as opened:
        yield opened


@pytest.fixture
def lake(instance: dg.DagsterInstance) -> Lake:
    return open_lake(home().lake)


@pytest.fixture
def panic(instance: dg.DagsterInstance, panic: Panic) -> Panic:
    """The command, in that home."""
    return panic
