"""The whole pipeline on worlds whose truth is known: it finds what was planted, and nothing where nothing was planted.

The models produce texts and pictures, which go through perform, embed and analyse; no vectors are injected.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import gamma
from sklearn.metrics import adjusted_rand_score

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.lake.lake import Lake
from panic_assets.models.worlds import place_of
from panic_assets.registry.worlds import PUSHES
from panic_assets.tables import open_lake
from panic_assets.trajectories import stages
from panic_assets_tests.trajectories.world import Nobody, definition, perform

pytestmark = pytest.mark.slow

MODEL = "SimSpace"


def performed(folder: Path, writer: str, painters: tuple[int, ...] = (1,), **fields: Any) -> Lake:
    """A world in which six prompts start three runs each."""
    usual = {"prompts": [f"prompt {n}" for n in range(6)], "seeds": [1, 2, 3], "max_length": 80, "image_size": None}
    networks = [[f"SimPainter{number}", writer] for number in painters]
    lake = open_lake(folder / "lake")
    perform(lake, definition("w", networks=networks, embedding_models=[MODEL], **{**usual, **fields}))
    return lake


def test_clusters_are_the_attractors(tmp_path: Path) -> None:
    lake = performed(tmp_path, "SimAttractors")
    stages.cluster(lake, Nobody(), MODEL)
    rows = lake.sql(
        "SELECT cluster, output_text FROM cluster_members JOIN invocations USING (invocation_id) WHERE cluster >= 0"
    ).to_pylist()
    rooms = [place_of(row["output_text"]).room for row in rows]
    assert len(set(rooms)) >= 3
    assert adjusted_rand_score(rooms, [row["cluster"] for row in rows]) > 0.97


def test_the_timescale_of_a_markov_world_is_recovered(tmp_path: Path) -> None:
    lake = performed(tmp_path, "SimMarkov", max_length=240)
    stages.cluster(lake, Nobody(), MODEL)
    stages.symbols(lake, Nobody(), MODEL)
    [found] = lake.sql("SELECT * FROM markov_models WHERE lag = 1").to_pylist()
    # It stays with 0.9 and moves to each of three others with 0.1 / 3: the second eigenvalue is their difference.
    truth = -1 / np.log(0.9 - 0.1 / 3)
    assert found["states"] == 4
    assert found["timescale_low"] < truth < found["timescale_high"]
    assert found["timescale"] == pytest.approx(truth, rel=0.25)
    assert found["chapman_kolmogorov_p"] > 0.05


# Run ids seed what is drawn by chance, and are new each time: hence 0.001.
def test_a_hole_is_found_where_one_was_planted_and_a_walk_has_none_beyond_chance(tmp_path: Path) -> None:
    stood = {}
    for writer in ("SimCircle", "SimWalk"):
        lake = performed(tmp_path / writer, writer, seeds=[1])
        stages.topology(lake, Nobody(), "w", distance_runs=2, null_runs=6)
        stages.dynamics(lake, InProcessCompute(), Nobody(), "w", null_runs=6)
        stages.statistics(lake, Nobody(), "w")
        rows = lake.sql("SELECT * FROM null_tests WHERE null_model = 'random walk'").to_pylist()
        stood[writer] = {r["statistic"]: r["mean_percentile"] for r in rows if r["adjusted_p_value"] <= 0.001}
    assert stood["SimCircle"]["max_persistence H1"] > 50
    assert stood["SimWalk"] == {}


def test_a_planted_effect_is_found_with_its_size_and_an_absent_one_is_not(tmp_path: Path) -> None:
    lake = performed(tmp_path, "SimWalk", painters=(1, 2, 5))
    stages.dynamics(lake, InProcessCompute(), Nobody(), "w", null_runs=0)
    stages.statistics(lake, Nobody(), "w")
    rows = lake.sql("SELECT * FROM contrasts WHERE factor = 'network' AND outcome = 'mean step'").to_pylist()
    found = {(r["level"][10], r["other_level"][10]): r for r in rows}
    # The mean length of a normal step in four dimensions, by its deviation in each.
    length = 2**0.5 * gamma(2.5) / gamma(2)
    truth = length * (0.2 - np.hypot(0.2, PUSHES[4]))
    assert found["1", "5"]["low"] < truth < found["1", "5"]["high"]
    assert found["1", "5"]["adjusted_p_value"] <= 0.01
    assert found["1", "2"]["low"] < 0 < found["1", "2"]["high"]
    assert found["1", "2"]["adjusted_p_value"] > 0.05


def test_a_world_without_noise_comes_to_rest(tmp_path: Path) -> None:
    lake = performed(tmp_path, "SimRest", seeds=[-1, 3])
    assert {r["stop_reason"] for r in lake.sql("SELECT stop_reason FROM runs").to_pylist()} <= {"loop", "length"}
    seeded = lake.sql("SELECT stop_reason FROM runs WHERE seed = '3'").to_pylist()
    assert {r["stop_reason"] for r in seeded} == {"loop"}
