"""`panic analyse` and `panic compare`, through Dagster, as their users call them."""

from pathlib import Path

import dagster as dg
import pytest

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.lake.lake import Lake
from panic_assets.settings import PROJECT
from panic_assets.trajectories import stages
from panic_assets.trajectories.clusters.layers import COMPILES, SMALLEST
from panic_assets.trajectories.commands.analyse import TABLES
from panic_assets_tests.cli.files import write
from panic_assets_tests.conftest import Panic
from panic_assets_tests.trajectories.world import Nobody

pytestmark = pytest.mark.slow


def execute(path: Path) -> None:
    """Run a notebook top to bottom in a kernel of its own; the first cell that fails is the error."""
    import nbformat
    from nbclient import NotebookClient

    NotebookClient(nbformat.read(path, as_version=4), timeout=500, kernel_name="python3").execute()


@pytest.mark.slow
def test_analyse_then_compare(panic: Panic, instance: dg.DagsterInstance, lake: Lake, tmp_path: Path) -> None:
    code, out, err = panic("compare", "a", "b")
    assert code == 2
    assert "experiment 'a' is not analysed; analyse it with `panic analyse a`" in " ".join(err.split())
    code, out, err = panic("analyse", "a", "--null-runs", 1, "--distance-runs", 4)
    assert code == 0, err
    assert "RandomWalk is a control" in out
    assert "panic compare a --table persistence" in out
    assert out.count("\n") < 100, "the results are a page"
    for key in ("dynamics", "topology", "layouts", "statistics"):
        assert instance.get_materialized_partitions(dg.AssetKey(key)) == {"a"}
    for key in ("symbolic_dynamics", "cluster_stability"):
        assert instance.get_materialized_partitions(dg.AssetKey(key)) == {"DummyText", "RandomWalk"}
    assert instance.get_materialized_partitions(dg.AssetKey("cluster_layers")) == set()  # compiles for minutes
    code, out, err = panic("cluster", "assign")
    assert (code, out) == (0, "no clusters are stale, so there is nothing to do\n"), err
    stages.dynamics(lake, InProcessCompute(), Nobody(), "b", null_runs=1)
    stages.topology(lake, Nobody(), "b", distance_runs=4, null_runs=1)
    stages.statistics(lake, Nobody(), "b")
    code, out, err = panic("compare", "a", "b", "--all")
    assert code == 0, err
    for title, _ in TABLES.values():
        assert title in out
    code, out, err = panic("compare", "a", "--table", "motion")
    assert code == 0, err
    assert "RandomWalk" in out  # the control beside the observed
    code, out, err = panic("compare", "a", "--table", "motoin")
    assert code == 2
    assert "did you mean 'motion'?" in " ".join(err.split())
    execute(PROJECT / "notebooks" / "trajectories.ipynb")
    code, out, err = panic("experiment", "delete", "a", "--yes")
    assert code == 0, err
    assert lake.sql("SELECT * FROM run_dynamics", experiment="a").num_rows == 0
    assert lake.sql("SELECT * FROM cluster_dwells WHERE experiment = 'a'").num_rows == 0
    assert lake.sql("SELECT * FROM run_dynamics", experiment="b").num_rows > 0
    few = lake.sql("SELECT * FROM embeddings LIMIT 10", experiment="b", embedding_model="DummyText")
    assert len(few) < SMALLEST  # EVoC is not asked, and does not compile
    lake.replace("embeddings", few, experiment="b", embedding_model="DummyText")
    code, out, err = panic("cluster", "layers", "DummyText")
    assert code == 0, err
    assert COMPILES in out
    layer = lake.sql("SELECT layer, clusters, outliers FROM cluster_layers").to_pylist()
    assert layer == [{"layer": 0, "clusters": 0, "outliers": 10}]


def test_refusals(panic: Panic, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    for words, sentence in [
        (("analyse", "nobody"), "experiment 'nobody' has no definition"),
        (("compare", "a", "a"), "experiment 'a' is given 2 times; give each experiment once"),
    ]:
        code, _, err = panic(*words)
        assert code == 2
        assert sentence in " ".join(err.split())
    assert panic("experiment", "add", write(tmp_path))[0] == 0
    code, _, err = panic("analyse", "cats")
    assert "experiment 'cats' is not finished" in " ".join(err.split())
    assert code == 2
