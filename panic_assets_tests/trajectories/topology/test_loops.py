"""From a bar to the outputs that make it: as a function, and as `panic run loop`."""

import io

import numpy as np
import pytest
from PIL import Image

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.errors import UserError
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.stages.loops import representative
from panic_assets_tests.trajectories.world import LONG, Nobody, definition, nothing, perform

MODELS = ["DummyText", "DummyVision"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANIC_HOME", str(found))
        lake = open_lake(home().lake)
        perform(lake, definition("a", networks=[LONG], max_length=80, embedding_models=MODELS))
        stages.diagrams(lake, InProcessCompute(), Nobody(), nothing, "a", max_dimension=2)
    return found


@pytest.fixture
def lake(folder, monkeypatch):
    monkeypatch.setenv("PANIC_HOME", str(folder))
    return open_lake(home().lake)


@pytest.mark.parametrize("model", MODELS)
def test_the_longest_loop_goes_through_near_outputs(lake, model):
    run = lake.sql("SELECT * FROM runs").to_pylist()[0]
    found = representative(lake, run, model)
    longest = lake.sql(
        "SELECT max(death - birth) AS n FROM persistence_bars WHERE dimension = 1", embedding_model=model
    )
    assert found.death - found.birth == longest["n"][0].as_py()
    rows = lake.sql("SELECT sequence_number, vector FROM embeddings", embedding_model=model).to_pylist()
    vectors = {r["sequence_number"]: np.array(r["vector"], np.float64) for r in rows}
    edges = [pair for walk in found.rounds for pair in zip(walk, walk[1:] + walk[:1], strict=True)]
    apart = [np.linalg.norm(vectors[a.sequence_number] - vectors[b.sequence_number]) for a, b in edges]
    assert max(apart) == pytest.approx(found.birth, rel=1e-12)
    assert (len(found.birth_steps), len(found.death_steps)) == (2, 3)
    assert found.captions == (model == "DummyText")
    stored = {r["sequence_number"]: r for r in lake.sql("SELECT * FROM invocations").to_pylist()}
    for step in (*found.rounds[0], *found.birth_steps, *found.death_steps):
        mine, before = stored[step.sequence_number], stored.get(step.sequence_number - 1)
        assert step.text == (mine["output_text"] or (before["output_text"] if before else run["prompt"]))
        assert step.image == (mine["output_image"] or before["output_image"])


@pytest.mark.parametrize("model", MODELS)
def test_the_longest_void_has_two_poles_and_outputs_around_it(lake, model):
    run = lake.sql("SELECT * FROM runs").to_pylist()[0]
    found = representative(lake, run, model, dimension=2)
    longest = lake.sql(
        "SELECT max(death - birth) AS n FROM persistence_bars WHERE dimension = 2", embedding_model=model
    )
    assert found.death - found.birth == longest["n"][0].as_py()
    rows = lake.sql("SELECT sequence_number, vector FROM embeddings", embedding_model=model).to_pylist()
    vectors = {r["sequence_number"]: np.array(r["vector"], np.float64) for r in rows}

    def apart(a, b):
        return np.linalg.norm(vectors[a.sequence_number] - vectors[b.sequence_number])

    north, south = found.death_steps[:2]
    assert (len(found.birth_steps), len(found.death_steps)) == (3, 4)
    assert apart(north, south) == pytest.approx(found.death, rel=1e-12)
    for walk in found.rounds:
        assert len(walk) >= 4
        for a, b in zip(walk, walk[1:] + walk[:1], strict=True):
            assert max(apart(a, b), apart(a, north), apart(a, south)) < found.death


def test_a_bar_that_is_seen_in_another_field_only_says_so(lake, monkeypatch):
    run = lake.sql("SELECT * FROM runs").to_pylist()[0]

    def nothing_mod_2(*_):
        raise ValueError("none")

    monkeypatch.setattr("panic_assets.trajectories.topology.cycles.loop", nothing_mod_2)
    with pytest.raises(ValueError, match="none"):
        representative(lake, run, "DummyText")
    with monkeypatch.context() as patch:
        patch.setattr(lake, "sql", _modulo_3(lake))
        with pytest.raises(UserError, match="bar 0 of H1 exists with coefficients modulo 3, but no loop makes it"):
            representative(lake, run, "DummyText", 0)


def _modulo_3(lake):
    sql = lake.sql
    return lambda query, *args, **place: sql(query.replace("s.field", "3 AS field"), *args, **place)


def test_the_command_writes_the_images(lake, panic, tmp_path):
    run = lake.sql("SELECT run_id FROM runs")["run_id"][0].as_py()
    code, out, err = panic("run", "loop", run[:30], "--model", "DummyText", "--bar", 0, "--out", tmp_path / "loop")
    assert code == 0, err
    assert "bar 0 of H1" in out
    assert "once round the loop" in out
    images = list((tmp_path / "loop").iterdir())
    assert len(images) >= 4
    assert all(Image.open(io.BytesIO(path.read_bytes())).size == (16, 16) for path in images)
    code, out, err = panic("run", "loop", run, "--model", "DummyText", "--dimension", 2)
    assert code == 0, err
    assert "once round the void" in out
    code, _, err = panic("run", "loop", run, "--model", "DummyText", "--bar", 10**6)
    assert code == 2
    assert "bar is 1000000; the diagram has bars 0 to" in " ".join(err.split())


def test_a_run_without_loops_says_so(lake):
    run = lake.sql("SELECT * FROM runs").to_pylist()[0]
    with pytest.raises(UserError, match="has no loop by 'MiniLM'"):
        representative(lake, run, "MiniLM")
    with pytest.raises(UserError, match="dimension is 3; it must be 1"):
        representative(lake, run, "DummyText", dimension=3)
