"""The analyses over a small finished experiment: every table sound, values checked against the pure modules."""

from datetime import UTC, datetime
from itertools import product

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import f
from statsmodels.stats.anova import anova_lm

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.statistics.surrogates import random_walk
from panic_assets.tables import TABLES, VIEWS, open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.clusters import sequences
from panic_assets.trajectories.motion import nulls as motion_nulls
from panic_assets.trajectories.runs.factors import parts
from panic_assets.trajectories.runs.walked import Walked
from panic_assets.trajectories.tables import dynamics as tables
from panic_assets.trajectories.tables import symbols as symbol_tables
from panic_assets.trajectories.topology import bar_distances as distances
from panic_assets.trajectories.topology.homology import Homology
from panic_assets.trajectories.topology.nulls import against_chance
from panic_assets.workloads import RULES
from panic_assets_tests.statistics.simulated import panel
from panic_assets_tests.trajectories.world import LONG, LOOP, Nobody, definition, perform

pytestmark = pytest.mark.slow

MODELS = ["DummyText", "DummyVision", "RandomWalk"]


class Read(Lake):
    """A lake that knows which tables were asked for."""

    asked: set[str]

    def connect(self, tables, **where):
        self.asked |= set(tables)
        return super().connect(tables, **where)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    found = Read(tmp_path_factory.mktemp("analysed") / "lake", TABLES, VIEWS)
    found.asked = set()
    wanted = definition(
        "a", networks=[LOOP, LONG], prompts=["a red cat", "two boats"], seeds=[1, -1], max_length=40,
        embedding_models=MODELS,
    )  # fmt: skip
    perform(found, wanted)
    for model in MODELS:
        stages.cluster(found, Nobody(), model)
    found.read = analyse(found)
    return found


def analyse(lake):
    """Everything, and which tables each asset read."""
    stage = {
        "symbolic_dynamics": lambda: [stages.symbols(lake, Nobody(), model) for model in MODELS],
        "cluster_stability": lambda: [stages.stability(lake, Nobody(), model, draws=2) for model in MODELS],
        "dynamics": lambda: stages.dynamics(lake, InProcessCompute(), Nobody(), "a", null_runs=2, replicates=9),
        "topology": lambda: stages.topology(lake, Nobody(), "a", distance_runs=6, null_runs=2, replicates=9),
        "layouts": lambda: stages.layouts(lake, Nobody(), "a"),
        "statistics": lambda: stages.statistics(lake, Nobody(), "a"),
    }
    read = {}
    for asset, work in stage.items():
        lake.asked.clear()
        work()
        read[asset] = set(lake.asked)
    return read


def test_every_table_that_is_read_is_upstream_in_the_graph(lake):
    """Else nothing would say that what was made of it is stale."""
    from panic_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    for name, read in lake.read.items():
        key = dg.AssetKey(name)
        upstream = {
            t for k in (key, *graph.get_ancestor_asset_keys(key)) for t in graph.get(k).metadata.get("tables", ())
        }
        assert read <= upstream, name


ON_REQUEST = ("cluster_layers", "cluster_layer_members")
WRITTEN = [t.name for t in (*tables.TABLES, *symbol_tables.TABLES) if t.name not in ON_REQUEST]


@pytest.mark.parametrize("table", WRITTEN)
def test_every_table_has_rows_and_keeps_its_rules(lake, table):
    assert all_findings(lake, RULES, table) == []
    if not table.endswith("change_points"):
        assert lake.sql(f"SELECT count(*) AS n FROM {table}")["n"][0].as_py() > 0


def rows(lake, query):
    return lake.sql(query).to_pylist()


def test_drift_is_from_the_prompt_where_it_can_be(lake):
    origins = {(r["embedding_model"], r["origin"]) for r in rows(lake, "SELECT * FROM drift_steps")}
    assert origins == {("DummyText", "prompt"), ("DummyVision", "first output"), ("RandomWalk", "first output")}
    first = rows(lake, "SELECT * FROM drift_steps WHERE step = 0")
    assert all((r["drift_chord"] == 0) == (r["origin"] == "first output") for r in first)
    assert all(r["step_chord"] is None for r in first)
    counted = rows(lake, "SELECT count(*) AS n FROM embeddings")[0]["n"]
    assert rows(lake, "SELECT count(*) AS n FROM drift_steps")[0]["n"] == counted


def test_loops_are_those_the_walk_stopped_at(lake):
    found = rows(
        lake,
        """SELECT stop_reason, length, loop_length, loop_start, loop_time FROM run_dynamics JOIN runs USING (run_id)
           WHERE runs.seed <> -1""",
    )
    assert found
    for r in found:
        if r["stop_reason"] == "loop":
            assert r["loop_time"] == r["length"] - 1
            assert r["loop_time"] - r["loop_start"] == r["loop_length"]
        else:
            assert r["loop_time"] is None


def test_a_looping_run_goes_on_round_its_loop():
    run = {"stop_reason": "loop", "loop_length": 4}
    vectors = np.arange(6.0)[:, None]  # outputs 0, 2, ..., 10; the last one repeats the one before the loop
    vectors[5] = vectors[3]
    one = Walked(run, list("abcdef"), np.arange(0, 12, 2), vectors)
    assert one.until(11).ravel().tolist() == [0, 1, 2, 3, 4, 3, 4, 3, 4, 3, 4]
    assert one.until(3).ravel().tolist() == [0, 1, 2]
    assert Walked({"stop_reason": "length"}, [], np.arange(6), vectors).until(7) is None


def test_simplices_of_bars_are_outputs_that_far_apart(lake):
    vectors = {
        (r["invocation_id"], r["embedding_model"]): np.array(r["vector"], np.float64)
        for r in rows(lake, "SELECT invocation_id, embedding_model, vector FROM embeddings")
    }
    loops = rows(lake, "SELECT * FROM persistence_bars WHERE dimension = 1")
    assert loops
    for r in loops:
        assert (len(r["birth_invocations"]), len(r["death_invocations"])) == (2, 3)
        for ends, apart in ((r["birth_invocations"], r["birth"]), (r["death_invocations"], r["death"])):
            one, other = (vectors[invocation, r["embedding_model"]] for invocation in ends[:2])
            assert np.linalg.norm(one - other) == pytest.approx(apart, rel=1e-12)


def test_curves_and_images_are_of_the_bars(lake):
    bars = "FROM persistence_bars WHERE isfinite(death) GROUP BY ALL"
    lengths = rows(
        lake, f"SELECT run_id, embedding_model, dimension, count(*) AS n, sum(death - birth) AS total {bars}"
    )
    curves = "FROM persistence_curves GROUP BY ALL"
    areas = rows(
        lake,
        f"""SELECT run_id, embedding_model, dimension, avg(betti) * max(value) AS area,
                           max(value) / (count(*) - 1) AS step {curves}""",
    )
    images = rows(lake, "SELECT run_id, embedding_model, sum(weight) AS total FROM persistence_images GROUP BY ALL")
    area = {(r["run_id"], r["embedding_model"], r["dimension"]): (r["area"], r["step"]) for r in areas}
    inside = {(r["run_id"], r["embedding_model"]): r["total"] for r in images}
    for r in lengths:
        key = r["run_id"], r["embedding_model"]
        if r["dimension"] == 1:  # H0 has a class that never dies.
            found, step = area[*key, 1]
            assert abs(found - r["total"]) <= 1.2 * r["n"] * step, "each bar is seen to within a step of the grid"
            assert 0 < inside[key] <= 1.001 * r["total"], "what is spread beyond the edges is lost"
    first = rows(
        lake, "SELECT min(betti) AS low, max(betti) AS high FROM persistence_curves WHERE value = 0 AND dimension = 0"
    )
    assert first[0]["high"] == rows(lake, "SELECT max(distinct_points) AS n FROM persistence_summary")[0]["n"]


def test_distances_are_those_of_the_stored_bars_and_are_kept(lake):
    stored = rows(lake, "SELECT * FROM diagram_distances ORDER BY ALL")
    assert len(stored) == 3 * 15 * 2  # models, pairs of 6 runs, dimensions
    r = stored[len(stored) // 2]

    def bars(run):
        query = """SELECT birth, death FROM persistence_bars
                   WHERE run_id = ? AND embedding_model = ? AND dimension = ? AND isfinite(death)"""
        found = lake.sql(query, [run, r["embedding_model"], r["dimension"]])
        return np.column_stack([found["birth"].to_numpy(), found["death"].to_numpy()])

    assert r["wasserstein"] == pytest.approx(distances.wasserstein(bars(r["run_id"]), bars(r["other_run_id"])))
    stages.topology(lake, Nobody(), "a", distance_runs=7, null_runs=2, replicates=9)
    again = rows(lake, "SELECT * FROM diagram_distances ORDER BY ALL")
    assert len(again) == 3 * 21 * 2
    assert {tuple(r.values()) for r in stored} <= {tuple(r.values()) for r in again}  # computed_at included


def test_the_walk_is_at_home_among_walks(lake):
    """The control's topology is that of its own null; 'shuffled time' of single outputs would always say 50."""
    found = rows(lake, "SELECT * FROM topology_nulls WHERE embedding_model = 'RandomWalk'")
    assert {r["null_model"] for r in found} == {"random walk", "gaussian", "shuffled time"}
    assert any(r["percentile"] != 50 for r in found if r["null_model"] == "shuffled time")
    assert all(r["replicates"] == 9 and r["p_value"] >= 0.1 for r in found)  # 9 replicates cannot say less


def test_nulls_are_of_the_homology_that_was_asked_for(tmp_path):
    """Voids and angles too: of a run within the limit, what is observed is what its diagram says."""
    lake = open_lake(tmp_path / "lake")
    perform(lake, definition("a", networks=[LONG], max_length=60))
    stages.diagrams(lake, InProcessCompute(), Nobody(), lambda: None, "a", max_dimension=2, metric="angle")
    stages.topology(lake, Nobody(), "a", null_runs=1, replicates=3)
    for null in ("random walk", "gaussian"):
        found = rows(
            lake,
            f"""SELECT n.dimension, n.statistic, n.observed, n.null_mean, s.entropy, s.total_persistence,
                       s.max_persistence FROM topology_nulls n JOIN persistence_summary s USING (run_id, dimension)
                WHERE null_model = '{null}'""",
        )
        assert {r["dimension"] for r in found} == {0, 1, 2}
        assert all(r["observed"] == r[r["statistic"]] for r in found)
        assert sum(r["null_mean"] for r in found if r["dimension"] == 2) > 0
    curves = rows(lake, "SELECT * FROM curve_nulls WHERE null_model = 'random walk' ORDER BY value")
    assert {(r["curve"], r["dimension"]) for r in curves} == set(product(("betti", "landscape_1"), range(3)))
    for dimension in range(3):
        stored = rows(lake, f"SELECT birth, death FROM persistence_bars WHERE dimension = {dimension}")
        for r in (r for r in curves if r["dimension"] == dimension and r["curve"] == "betti"):
            assert r["observed"] == sum(bar["birth"] <= r["value"] < bar["death"] for bar in stored)


def test_a_ring_leaves_the_band_of_its_null_curves_and_a_walk_stays_in_it():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle), np.zeros((40, 4))])
    rng = np.random.default_rng(3)
    walk = random_walk(ring, rng)
    out = {}
    for name, vectors in (("ring", ring), ("walk", walk)):
        _, curves = against_chance(vectors, Homology(), 39, rng)
        mine = [r for r in curves if (r["null_model"], r["curve"], r["dimension"]) == ("random walk", "landscape_1", 1)]
        assert all(r["null_low"] <= r["null_mean"] <= r["null_high"] for r in mine)
        out[name] = np.mean([r["observed"] > r["null_high"] for r in mine])
    assert out["ring"] > 0.5
    assert out["walk"] < 0.2
    assert against_chance(ring[:2], Homology(), 39, rng) == ([], [])


def test_runs_together_stand_where_they_stand_one_by_one(lake):
    together = rows(lake, "SELECT * FROM null_tests")
    assert {r["embedding_model"] for r in together} == set(MODELS)
    single = rows(lake, "SELECT *, statistic || ' H' || dimension AS name FROM topology_nulls")
    single += rows(lake, "SELECT *, statistic AS name FROM motion_nulls")
    key = ("embedding_model", "null_model")
    for r in together:
        mine = [s for s in single if s["name"] == r["statistic"] and all(s[k] == r[k] for k in key)]
        assert (r["runs"], r["replicates"]) == (len(mine), 9)
        assert r["mean_percentile"] == pytest.approx(np.mean([s["percentile"] for s in mine]))
        assert r["observed"] == pytest.approx(np.mean([s["observed"] for s in mine]))
        assert r["p_value"] <= r["adjusted_p_value"] <= 1
        if r["embedding_model"] == "RandomWalk" and r["null_model"] == "random walk":
            # Run ids, which seed what is drawn, are new each time: 0.05 would fail by chance.
            assert r["p_value"] > 1e-4, "a walk is at home among walks, whatever rounding says"
    assert len({(r["embedding_model"], r["statistic"], r["null_model"]) for r in together}) == len(together)
    assert len(together) == len({(s["name"], *(s[k] for k in key)) for s in single})


def test_symbols_never_cross_runs(lake):
    total = rows(lake, "SELECT sum(length)::INT AS n FROM cluster_dwells")[0]["n"]
    assert total == rows(lake, "SELECT count(*) AS n FROM cluster_members")[0]["n"]
    seen = "SELECT coalesce(sum(moves), 0)::INT AS n FROM cluster_transitions WHERE cluster <> next_cluster"
    moved = rows(lake, seen)[0]["n"]
    stays = rows(
        lake,
        """SELECT coalesce(sum(n), 0)::INT AS n FROM (
               SELECT count(*) - 1 AS n FROM cluster_dwells WHERE cluster >= 0 GROUP BY run_id, embedding_model)""",
    )[0]["n"]
    assert moved <= stays


def test_states_of_clusters_share_the_outputs_out(lake):
    for r in rows(
        lake,
        """SELECT sum(share) AS share, sum(stationary) AS long_run, sum(outputs) AS outputs, count(*) AS n,
                  count(*) FILTER (absorbing) AS absorbing, count(DISTINCT recurrent_set) AS sets
           FROM cluster_states GROUP BY embedding_model, experiment, network""",
    ):
        assert r["share"] == pytest.approx(1)
        assert r["long_run"] is None or r["long_run"] == pytest.approx(1)
        assert r["sets"] >= 1  # somewhere every run was last
        assert r["absorbing"] <= r["sets"]


def test_symbols_stand_among_shuffled_ones(lake):
    found = rows(lake, "SELECT * FROM symbol_nulls")
    assert {r["statistic"] for r in found} <= {"mean stay", "entropy rate", "change points"}
    assert all(r["adjusted_p_value"] >= r["p_value"] >= 2 / 200 for r in found)
    # What stays and seldom moves is not what the same clusters in any order do.
    lasting = [np.repeat([0, 1, 2, 0], 15)] * 4
    stood = {r["statistic"]: r for r in sequences.against_chance(lasting)}
    assert (stood["mean stay"]["observed"], stood["mean stay"]["percentile"]) == (15, 100)
    assert (stood["change points"]["observed"], stood["change points"]["percentile"]) == (3, 100)
    assert stood["entropy rate"]["percentile"] == 0
    mixed = [np.random.default_rng(k).integers(3, size=60) for k in range(4)]
    assert np.median([r["p_value"] for r in sequences.against_chance(mixed)]) > 0.2


def test_motion_stands_among_walks_and_shuffled_runs(lake):
    found = rows(lake, "SELECT * FROM motion_nulls")
    assert {r["statistic"] for r in found} == set(tables.MOTION_STATISTICS)
    assert {r["null_model"] for r in found} == {"random walk", "shuffled time"}
    assert not [r for r in found if (r["statistic"], r["null_model"]) == ("recurrence_rate", "shuffled time")]
    drift = rows(
        lake,
        """SELECT n.observed, d.final_drift FROM motion_nulls n JOIN run_dynamics d USING (run_id, embedding_model)
           WHERE statistic = 'final_drift' AND points = outputs""",
    )
    assert drift
    assert all(r["observed"] == r["final_drift"] for r in drift)


def test_runs_of_one_length_have_chance_of_their_own(tmp_path):
    """Two runs with the very same vectors: what they are compared with is drawn for each of them."""
    lake = open_lake(tmp_path / "lake")
    perform(lake, definition("a", networks=[LONG], seeds=[1, 2], max_length=40))
    place = {"experiment": "a", "embedding_model": "DummyText"}
    stored = rows(lake, "SELECT * FROM embeddings ORDER BY run_id, sequence_number")
    first, other = (stored[: len(stored) // 2], stored[len(stored) // 2 :])
    lake.replace(
        "embeddings", first + [b | {"vector": a["vector"]} for a, b in zip(first, other, strict=True)], **place
    )
    stages.dynamics(lake, InProcessCompute(), Nobody(), "a", replicates=9)
    stages.topology(lake, Nobody(), "a", replicates=9)
    for table, statistic in (("motion_nulls", "final_drift"), ("topology_nulls", "total_persistence")):
        found = rows(
            lake,
            f"""SELECT observed, null_mean FROM {table} WHERE statistic = '{statistic}' AND null_model = 'random walk'
                ORDER BY ALL""",
        )
        assert len({r["null_mean"] for r in found}) == len(found) == (2 if table == "motion_nulls" else 4)


def test_a_walk_is_a_walk_and_no_shuffled_walk_and_a_cycle_is_neither():
    rng = np.random.default_rng(0)

    def stood(vectors):
        return {(r["null_model"], r["statistic"]): r for r in motion_nulls.against_chance(vectors, None, 39, rng)}

    walk = stood(np.cumsum(rng.normal(size=(80, 5)), axis=0))
    assert np.median([r["p_value"] for (null, _), r in walk.items() if null == "random walk"]) > 0.2
    assert walk["shuffled time", "autocorrelation_time"]["percentile"] == 100
    assert walk["shuffled time", "displacement_exponent"]["percentile"] == 100
    cycle = stood(np.tile(rng.normal(size=(8, 5)), (10, 1)))
    for statistic in ("recurrence_rate", "determinism"):
        assert cycle["random walk", statistic]["percentile"] == 100


def test_what_can_be_told_apart_about_networks():
    def told(*networks):
        runs = pd.DataFrame({"models": list(networks), "network": ["-".join(n) for n in networks]})
        return parts(runs)

    x, y, a, b = "DummyT2I", "DummyT2I2", "DummyI2T", "DummyI2T2"
    assert told([x, a], [x, b], [y, a], [y, b]) == ["generator", "captioner"]
    assert told([x, a], [x, b], [y, a]) == ["generator", "captioner"]
    assert told([x, a], [y, a]) == ["generator"]
    assert told([x, a], [x, b]) == ["captioner"]
    assert told([x, a], [y, b]) == ["network"]  # which of the two it is, nothing can say
    assert told([x, a]) == ["network"]
    assert told([x, a, y, b], [x, b, y, a], [x, a], [y, a]) == ["generator", "captioner"]
    assert told([x, a, y, a], [y, a, x, a]) == ["generator"]
    assert told([x, a, y, b], [y, b, x, a], [a, x]) == ["network"]


def test_variances_share_out_what_effects_leave(lake):
    for r in rows(
        lake, "SELECT outcome, sum(share) AS share, list(source) AS sources FROM model_variances GROUP BY ALL"
    ):
        assert r["share"] == pytest.approx(1)
        assert {"prompt", "residual"} <= set(r["sources"])
        one_measurement_a_run = r["outcome"] in ("run length", "loop length")
        assert ("prompt x embedding_model" in r["sources"]) == (not one_measurement_a_run)


def test_displacements_are_those_of_the_vectors(lake):
    one = next(stages.walked(lake, "a", "RandomWalk"))
    found = rows(
        lake, f"SELECT * FROM displacements WHERE run_id = '{one.run['run_id']}' AND embedding_model = 'RandomWalk'"
    )
    assert found
    for r in found:
        gap = one.vectors[r["lag"] :].astype(float) - one.vectors[: -r["lag"]]
        assert r["displacement"] == pytest.approx((gap**2).sum(axis=1).mean())


def test_loops_by_network_and_prompt(lake):
    found = rows(lake, f"SELECT * FROM ({symbol_tables.VIEWS['loops'][1]}) ORDER BY network, prompt")
    assert [(r["network"], r["prompt"]) for r in found] == [
        (network, prompt) for network in sorted(map("-".join, (LOOP, LONG))) for prompt in ("a red cat", "two boats")
    ]
    assert sum(r["runs"] for r in found) == rows(lake, "SELECT count(*) AS n FROM runs")[0]["n"]
    again = "SELECT count(DISTINCT run_id) AS n FROM run_dynamics WHERE loop_time IS NOT NULL"
    assert sum(r["looped"] for r in found) == rows(lake, again)[0]["n"]
    assert all(r["fixed_points"] <= r["looped"] <= r["runs"] for r in found)


def test_embedders_are_contrasted_with_the_control_on_the_same_runs(lake):
    found = rows(lake, "SELECT * FROM contrasts")
    against = [r for r in found if r["factor"] == "embedding_model"]
    assert {(r["level"], r["other_level"]) for r in against} == {
        ("DummyText", "RandomWalk"),
        ("DummyVision", "RandomWalk"),
    }
    assert all(r["runs"] == r["other_runs"] for r in against)
    networks = [r for r in found if r["factor"] == "network"]
    assert {r["measured_by"] for r in networks} == {*MODELS, "run"}
    means = rows(
        lake,
        """SELECT c.mean, avg(d.final_drift) AS direct FROM contrasts c
           JOIN run_dynamics d ON d.embedding_model = c.measured_by JOIN runs r USING (run_id)
           WHERE c.outcome = 'final drift' AND factor = 'network' AND r.network = c.level GROUP BY ALL""",
    )
    assert means
    assert all(r["mean"] == pytest.approx(r["direct"]) for r in means)
    assert all(r["low"] <= r["difference"] + 1e-12 and r["difference"] <= r["high"] + 1e-12 for r in found)


def test_clusters_are_tested_beside_clouds_without_any(lake):
    found = rows(lake, "SELECT * FROM clustering_stability JOIN clusterings USING (embedding_model, clustering_id)")
    assert {r["embedding_model"] for r in found} == set(MODELS)
    assert all(r["outlier_share"] == pytest.approx(r["outliers"] / r["vectors"]) for r in found)
    each = rows(
        lake, "SELECT jaccard FROM cluster_stability JOIN clusters USING (embedding_model, clustering_id, cluster)"
    )
    assert len(each) == sum(r["clusters"] for r in found)
    assert all(0 <= r["jaccard"] <= 1 for r in each if r["jaccard"] is not None)


def test_each_homology_dimension_is_its_own_outcome(lake):
    outcomes = {r["outcome"] for r in rows(lake, "SELECT DISTINCT outcome FROM findings")}
    assert {"entropy H0", "entropy H1", "final drift", "mean stay"} <= outcomes
    assert all(r["adjusted_p_value"] >= r["p_value"] for r in rows(lake, "SELECT * FROM model_terms"))


def test_doing_it_again_gives_the_same_rows(lake):
    def everything():
        names = [name for name in WRITTEN if name != "diagram_distances"]
        return {n: rows(lake, f"SELECT * FROM {n} ORDER BY ALL") for n in names}

    before = everything()
    analyse(lake)
    after = everything()
    assert [name for name in before if before[name] != after[name]] == []


def test_an_experiment_with_one_prompt_says_what_cannot_be_modelled(tmp_path):
    lake = open_lake(tmp_path / "lake")
    perform(lake, definition("a"))
    stages.dynamics(lake, InProcessCompute(), Nobody(), "a")
    stages.topology(lake, Nobody(), "a")
    stages.layouts(lake, Nobody(), "a")
    stages.statistics(lake, Nobody(), "a")
    assert "at least 2 groups" in rows(lake, "SELECT * FROM findings")[0]["sentence"]
    assert rows(lake, "SELECT * FROM model_effects") == []
    assert rows(lake, "SELECT count(*) AS n FROM run_dynamics")[0]["n"] == 1


EMPTY = {
    "string": "",
    "int32": 0,
    "int64": 0,
    "float64": 0.0,
    "bool": False,
    "timestamp": datetime.now(UTC),
    "strings": [],
}


def put(lake, table, given, **place):
    """Rows that say only what a test cares about."""
    must = {c.name: EMPTY[c.type] for c in TABLES[table].columns if not c.nullable}
    lake.replace(table, [{**must, **row, **place} for row in given], **place)


def test_one_embedding_model_measures_288_runs_and_every_claim_is_that_of_exact_analysis_of_variance(tmp_path):
    """9 networks x 4 prompts x 8 runs, whose outcome is the drift: effects at p = 0 that do not exist used to come of it."""
    lake = open_lake(tmp_path / "lake")
    data = panel(4, 9, 1, 4, 8, deviations={("prompt",): 1.0, ("prompt", "network"): 0.6})
    models = ["DummyT2I", "DummyI2T"]
    runs = [{k: r[k] for k in ("run_id", "network", "prompt")} | {"models": models} for r in data.to_dict("records")]
    put(lake, "runs", runs, experiment="a")
    drifts = [{"run_id": r["run_id"], "final_drift": r["value"]} for r in data.to_dict("records")]
    put(lake, "run_dynamics", drifts, experiment="a", embedding_model="DummyText")
    stages.statistics(lake, Nobody(), "a")

    table = anova_lm(smf.ols("value ~ C(network) * C(prompt)", data).fit())
    square = table["sum_sq"] / table["df"]
    statistic = square["C(network)"] / square["C(network):C(prompt)"]
    [term] = rows(lake, "SELECT * FROM model_terms WHERE outcome = 'final drift'")
    assert (term["term"], term["degrees"]) == ("network", 8)
    assert (term["f"], term["residual_degrees"]) == (pytest.approx(statistic, rel=1e-3), pytest.approx(24, rel=1e-3))
    assert term["p_value"] == pytest.approx(f.sf(statistic, 8, 24), rel=1e-2)
    found = {r["source"]: r["deviation"] for r in rows(lake, "SELECT * FROM model_variances")}
    assert found == {
        "prompt": pytest.approx(np.sqrt((square["C(prompt)"] - square["C(network):C(prompt)"]) / 72), rel=1e-3),
        "prompt x network": pytest.approx(np.sqrt((square["C(network):C(prompt)"] - square["Residual"]) / 8), rel=1e-3),
        "residual": pytest.approx(np.sqrt(square["Residual"]), rel=1e-3),
    }
    effects = rows(lake, "SELECT * FROM model_effects WHERE effect <> 'intercept'")
    assert len(effects) == 8
    error = np.sqrt(2 * square["C(network):C(prompt)"] / 32)
    assert all(r["standard_error"] == pytest.approx(error, rel=1e-3) for r in effects)
