"""Which homology is made: on request, recorded in the rows, and kept to from then on."""

from pathlib import Path

import numpy as np
import pytest

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.errors import UserError
from panic_assets.lake.invariants import all_findings
from panic_assets.tables import open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.topology.diagrams import angle_of_chord
from panic_assets.trajectories.topology.homology import Homology, Points, homology
from panic_assets.workloads import RULES
from panic_assets_tests.trajectories.world import LONG, Nobody, definition, nothing, perform


def made(lake, **asked):
    return stages.diagrams(lake, InProcessCompute(), Nobody(), nothing, "a", **asked).rows


def recorded(lake):
    query = "SELECT DISTINCT run_id, dimension, metric, field FROM persistence_summary"
    found = lake.sql(query).to_pylist()
    return len(found), {(r["metric"], r["field"]) for r in found}, max(r["dimension"] for r in found)


def bars(lake):
    return lake.sql("SELECT birth, death FROM persistence_bars WHERE dimension < 2 ORDER BY run_id, dimension, bar")


def test_field_metric_and_dimension_are_asked_for_once(tmp_path):
    lake = open_lake(tmp_path / "lake")
    perform(lake, definition("a", networks=[LONG], seeds=[1, 2], max_length=40))
    assert recorded(lake) == (4, {("chord", 2)}, 1)
    chords = bars(lake)
    assert made(lake, metric="angle") > 0
    assert recorded(lake) == (4, {("angle", 2)}, 1)
    for column in ("birth", "death"):
        np.testing.assert_allclose(bars(lake)[column], angle_of_chord(chords[column].to_numpy()), rtol=1e-6)
    assert made(lake, max_dimension=2, field=3) > 0
    assert recorded(lake) == (6, {("angle", 3)}, 2)
    assert all_findings(lake, RULES, "persistence_bars") == []
    voids = lake.sql("SELECT * FROM persistence_bars WHERE dimension = 2").to_pylist()
    assert voids
    assert all((len(v["birth_invocations"]), len(v["death_invocations"])) == (3, 4) for v in voids)
    assert made(lake) == made(lake, max_dimension=1) == 0, "what is not asked for stays"
    lake.remove("persistence_summary", experiment="a", embedding_model="DummyText")
    assert made(lake, metric="chord") > 0
    assert recorded(lake) == (4, {("chord", 2)}, 1)
    assert bars(lake) == chords


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"field": 4}, "field is 4; it must be a prime: 2, 3, 5"),
        ({"metric": "cosine"}, "metric is 'cosine'; it must be chord or angle"),
        ({"max_dimension": 3}, "max_dimension is 3; it must be 0, 1 or 2"),
    ],
)
def test_nonsense_is_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        Homology(**wrong)


def peak_mb():
    """The most memory that this process had resident since the peak was last reset."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def test_simplices_of_2500_outputs_take_no_gigabytes():
    vectors = np.random.default_rng(0).normal(size=(2500, 4)).astype(np.float32)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mb()
    (found,) = homology(Points("r", vectors, [str(i) for i in range(2500)], Homology()), None)
    assert peak_mb() - before < 600
    loops = [b for b in found.bars if b["dimension"] == 1]
    assert len(loops) > 1000
    assert all((len(b["birth_invocations"]), len(b["death_invocations"])) == (2, 3) for b in loops)
