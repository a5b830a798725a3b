"""A home with two finished experiments and their clusters, made once and copied for each test."""

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from panic_assets.cli.performing import materialise
from panic_assets.instance.home import open_instance
from panic_assets.lake.lake import Lake
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.trajectories import registration
from panic_assets_tests.trajectories.world import definition

MODELS = ["DummyText", "RandomWalk"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made_in(tmp_path_factory.getbasetemp())


@functools.cache
def _made_in(base: Path) -> Path:
    """Once for all rooms: each that imports the fixture `template` has one of its own."""
    folder = base / "two_experiments"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANIC_HOME", str(folder))
        with open_instance(home()) as instance:
            for name in ("a", "b"):
                wanted = definition(name, prompts=["x", f"only in {name}"], seeds=[1, 2, 3], embedding_models=MODELS)
                registration.add(LakeResource(), instance, wanted)
                materialise(instance, "perform_experiment", name, f"experiment {name}")
            for model in MODELS:
                materialise(instance, "recompute_clusters", model, f"clusters of {model}")
    return folder


@pytest.fixture
def instance(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance of a home of one's own."""
    folder = tmp_path / "home"
    shutil.copytree(template, folder)
    monkeypatch.setenv("PANIC_HOME", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    with open_instance(home()) as opened:
        yield opened


@pytest.fixture
def lake(instance: dg.DagsterInstance) -> Lake:
    return open_lake(home().lake)
