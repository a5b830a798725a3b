"""Distances between diagrams are computed once: within an experiment, across experiments, and after a deletion."""

import shutil

import pytest

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.lake.invariants import all_findings
from panic_assets.tables import open_lake
from panic_assets.trajectories import repair, stages
from panic_assets.trajectories.stages.similarity import diagrams_of, similarity
from panic_assets.trajectories.topology import bar_distances
from panic_assets.workloads import RULES
from panic_assets_tests.trajectories.world import LONG, Nobody, definition, nothing, perform

MODEL = "DummyText"
WITHIN, ACROSS = 6 * 2, 4 * 4 * 2  # pairs of four runs, and of four with four, in two dimensions


def place(name):
    return {"experiment": name, "embedding_model": MODEL}


def computed(lake, name, distance_runs=10, across_runs=10):
    return similarity(lake, Nobody(), place(name), distance_runs, across_runs)


@pytest.fixture(scope="module")
def performed(tmp_path_factory):
    found = open_lake(tmp_path_factory.mktemp("performed") / "lake")
    for name, prompts in (("a", ["a red cat", "two boats"]), ("b", ["a hill", "rain"])):
        perform(found, definition(name, networks=[LONG], prompts=prompts, seeds=[1, 2], max_length=24))
    return found


@pytest.fixture
def lake(performed, tmp_path):
    return open_lake(shutil.copytree(performed.root, tmp_path / "lake"))


def stored(lake):
    return lake.sql("SELECT * FROM diagram_distances ORDER BY ALL").to_pylist()


def test_nothing_is_computed_twice(lake):
    b = lake.sql("SELECT * FROM persistence_summary", **place("b"))
    lake.remove("persistence_summary", **place("b"))
    assert [computed(lake, "a") for _ in range(2)] == [WITHIN, 0]
    lake.replace("persistence_summary", b, **place("b"))
    assert [computed(lake, "b") for _ in range(2)] == [WITHIN + ACROSS, 0]
    assert computed(lake, "a") == 0
    before = stored(lake)
    assert len(before) == 2 * WITHIN + ACROSS
    for name in ("a", "b"):
        lake.remove("persistence_summary", **place(name))
        stages.diagrams(lake, InProcessCompute(), Nobody(), nothing, name)
        assert computed(lake, name) == 0, "diagrams that come out the same keep their distances"
    assert stored(lake) == before
    assert all_findings(lake, RULES, "diagram_distances", experiment="b") == []


def test_a_changed_diagram_loses_its_distances_and_no_other(lake):
    assert computed(lake, "a") == WITHIN + ACROSS
    run = lake.sql("SELECT min(run_id) AS run FROM runs", experiment="b")["run"][0].as_py()
    query = f"SELECT * REPLACE (death * 2 AS death) FROM persistence_bars WHERE run_id = '{run}' AND dimension = 0"
    rest = f"SELECT * FROM persistence_bars WHERE NOT (run_id = '{run}' AND dimension = 0)"
    lake.rewrite("persistence_bars", f"{query} UNION ALL {rest}", **place("b"))
    assert [computed(lake, "a") for _ in range(2)] == [4, 0]
    assert len(stored(lake)) == WITHIN + ACROSS


def test_values_are_the_distances_of_the_bars(lake):
    computed(lake, "a")
    sides = {name: diagrams_of(lake, place(name), 10).bars for name in ("a", "b")}
    for r in stored(lake):
        pair = [
            sides[r[e]][r[k], r["dimension"]]
            for e, k in (("experiment", "run_id"), ("other_experiment", "other_run_id"))
        ]
        assert r["wasserstein"] == bar_distances.wasserstein(*pair)
        assert r["bottleneck"] == bar_distances.bottleneck(*pair)


def test_samples_and_metrics(lake):
    assert computed(lake, "a", distance_runs=3, across_runs=2) == 3 * 2 + 2 * 2 * 2
    assert computed(lake, "a", distance_runs=3, across_runs=0) == 0
    assert len(stored(lake)) == 3 * 2
    stages.diagrams(lake, InProcessCompute(), Nobody(), nothing, "b", metric="angle")
    assert computed(lake, "a", distance_runs=3, across_runs=2) == 0, "radians are not compared with chords"
    assert computed(lake, "b") == WITHIN


def test_pairs_with_runs_that_are_gone_are_orphans_and_repaired(lake):
    computed(lake, "a")
    lake.remove("experiments", experiment="b")
    lake.remove("runs", experiment="b")
    found = {f.sentence for f in all_findings(lake, RULES, "diagram_distances", experiment="a")}
    assert {f"{ACROSS} rows of diagram_distances refer to values of {c} that are not in {t}" for c, t in (
        ("other_run_id", "runs"), ("other_experiment", "experiments"))} == found  # fmt: skip
    assert list(repair.repair(lake, "a")) == [f"diagram_distances (a, {MODEL}): removed {ACROSS} rows"]
    assert len(stored(lake)) == WITHIN
