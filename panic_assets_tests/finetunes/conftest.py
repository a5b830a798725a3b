"""A home with one fine-tune tested through the graph, made once and copied for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from panic_assets.cli.performing import materialise
from panic_assets.finetunes import config
from panic_assets.finetunes.drawing import suites, synthetic
from panic_assets.finetunes.jobs import add
from panic_assets.instance.home import open_instance
from panic_assets.lake.lake import Lake
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets_tests.conftest import Panic

RUN = "tune"


def small_suite(prompts: int = 5) -> dict:
    """The first prompts of the suite that ships, drawn small."""
    shipped = suites.default().prompts[:prompts]
    listed = [{"id": p.id, "category": p.category, "text": p.text} for p in shipped]
    return {"suite": "small", "version": 1, "seeds": [1, 2, 3], "generation": {"size": 96}, "prompts": listed}


def write_tune(folder: Path, name: str = RUN, **fields) -> Path:
    """A fine-tune file with its suite and five checkpoints beside it; the third is the best."""
    (folder / "suite.yaml").write_text(yaml.safe_dump(small_suite()))
    path = folder / f"{name}{config.SUFFIX}"
    raw = {"base": "Synthetic", "folder": "ckpt", "epochs": 5, "suite": "suite.yaml", "depth": "medium"}
    path.write_text(yaml.safe_dump({**raw, **fields}))
    synthetic.checkpoints(folder / "ckpt", name, 5, best=3)
    return path


@pytest.fixture(scope="session")
def tested_home(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("finetune")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANIC_HOME", str(folder))
        with open_instance(home()) as instance:
            add(instance, LakeResource(), config.read(write_tune(folder)))
            materialise(instance, "test_finetune", RUN, "the tune")
        yield folder


@pytest.fixture
def instance(tested_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance of a home of one's own. Paths in its rows are moved along."""
    folder = tmp_path / "home"
    shutil.copytree(tested_home, folder)
    monkeypatch.setenv("PANIC_HOME", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    found = open_lake(home().lake)
    for table, column in (("training_runs", "folder"), ("checkpoints", "path")):
        rows = found.sql(f"SELECT * FROM {table}", training_run=RUN).to_pylist()
        moved = [{**r, column: r[column].replace(str(tested_home), str(folder))} for r in rows]
        found.replace(table, moved, training_run=RUN)
    with open_instance(home()) as opened:
        yield opened


@pytest.fixture
def home_lake(instance: dg.DagsterInstance) -> Lake:
    return open_lake(home().lake)


@pytest.fixture
def panic(instance: dg.DagsterInstance, panic: Panic) -> Panic:
    """The command, in that home."""
    return panic
