"""Layers, stability and incremental assignment on blobs."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.metrics import homogeneity_score

from panic_assets.errors import UserError
from panic_assets.lake.invariants import all_findings
from panic_assets.registry import registry
from panic_assets.tables import open_lake
from panic_assets.trajectories import missing, stages
from panic_assets.trajectories.clusters.clustering import cluster
from panic_assets.trajectories.clusters.layers import PARAMETERS
from panic_assets.trajectories.clusters.stability import assign, likeness, stability
from panic_assets.workloads import RULES
from panic_assets_tests.trajectories.known_shapes import blobs
from panic_assets_tests.trajectories.world import Nobody, definition, perform

MODEL = "DummyText"


def again(vectors, seed):
    return cluster(vectors).labels


def test_blobs_are_stable_and_chance_clusters_are_not():
    vectors, _ = blobs([60, 40])
    found = stability(vectors, cluster(vectors).labels, again)
    assert found.agreement == 1
    np.testing.assert_allclose(found.jaccard, 1)
    noise = np.random.default_rng(0).normal(size=(120, 4))
    labels = cluster(noise, 2).labels
    assert labels.max() > 2
    shaky = stability(noise, labels, lambda v, s: cluster(v, 2).labels)
    assert shaky.agreement < 0.85
    assert np.nanmean(shaky.jaccard) < 0.85


def test_stability_against_the_seed_alone():
    vectors, which = blobs([30, 30])
    coin = lambda v, seed: np.random.default_rng(seed).integers(2, size=len(v))  # noqa: E731
    assert stability(vectors, which, lambda v, s: which, share=1.0).agreement == 1
    assert abs(stability(vectors, which, coin, share=1.0).agreement) < 0.1


def test_new_vectors_join_the_nearest_cluster_or_none():
    vectors, which = blobs([60, 40])
    vectors = np.vstack([vectors, np.full((1, 8), 50.0)])  # a known outlier
    labels = cluster(vectors).labels
    more, which_more = blobs([10, 10], spread=0.02, seed=9)
    new = np.vstack([more, vectors[:5], vectors[-1:], np.full((1, 8), -30.0)])
    found = assign(new, vectors, labels)
    np.testing.assert_array_equal(found[:20], np.array([labels[:100][which == w][0] for w in which_more]))
    np.testing.assert_array_equal(found[20:25], labels[:5])
    assert found[25:].tolist() == [-1, -1]
    assert len(assign(new[:0], vectors, labels)) == 0
    assert assign(new, vectors[:0], labels[:0]).tolist() == [-1] * 27


@pytest.mark.slow
def test_the_layers_of_a_store(tmp_path):
    """EVoC itself, through the stage, on blobs and copies of some of their vectors."""
    lake, copies = open_lake(tmp_path / "lake"), 6
    vectors, which = blobs([20, 16, 18], d=registry.get(MODEL).dimension)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    which = np.append(which, which[:copies])
    lake.replace("embeddings", stored(np.vstack([vectors, vectors[:copies]])), experiment="a", embedding_model=MODEL)
    command = [
        sys.executable,
        "-m",
        "panic_assets_tests.trajectories.clusters.interpreted_layers",
        str(lake.root),
        MODEL,
    ]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    again = json.loads(child.stdout)
    about = lake.sql("SELECT * FROM cluster_layers ORDER BY layer").to_pylist()
    assert [a["layer"] for a in about] == list(range(len(about)))
    assert [a["clusters"] for a in about] == sorted((a["clusters"] for a in about), reverse=True)
    assert json.loads(about[0]["parameters"]) == PARAMETERS
    for a, same in zip(about, again["labels"], strict=True):
        rows = lake.sql("SELECT * FROM cluster_layer_members WHERE layer = ? ORDER BY sequence_number", [a["layer"]])
        labels = rows["cluster"].to_numpy()
        assert labels.tolist() == same  # the seed decides
        assert (labels[:copies] == labels[-copies:]).all()
        assert (a["vectors"], a["distinct_vectors"], a["outliers"]) == (60, 54, (labels < 0).sum())
        assert sorted(labels[rows["medoid"].to_numpy(zero_copy_only=False)].tolist()) == list(range(a["clusters"]))
        assert min(a["seed_agreement"], a["subsample_agreement"]) >= -1
        assert max(a["seed_agreement"], a["subsample_agreement"]) <= 1
    finest = lake.sql("SELECT cluster FROM cluster_layer_members WHERE layer = 0 ORDER BY sequence_number")["cluster"]
    clustered = finest.to_numpy() >= 0
    assert clustered.mean() > 0.3
    assert homogeneity_score(which[clustered], finest.to_numpy()[clustered]) > 0.95  # no cluster mixes blobs
    assert again["few"] == 7


def test_new_vectors_of_a_store_are_assigned_without_clustering_again(tmp_path):
    lake = open_lake(tmp_path / "lake")
    with pytest.raises(UserError, match="the vectors of DummyText are not clustered yet"):
        stages.assign(lake, Nobody(), MODEL)
    perform(lake, definition("a", seeds=[1, 2, 3], max_length=40, prompts=["a red cat", "two boats"]))
    before = stages.cluster(lake, Nobody(), MODEL)
    medoids = lake.sql("SELECT cluster, medoid_invocation_id FROM clusters ORDER BY cluster").to_pylist()
    perform(lake, definition("b", seeds=[1, 4], max_length=40))  # seed 1 again says what it said
    assert [m.count for m in missing.left(lake, "clusters")] == [1]
    after = stages.assign(lake, Nobody(), MODEL)
    assert [m.count for m in missing.left(lake, "clusters")] == [0]
    assert after["clustering_id"] == before["clustering_id"]
    assert (before["assigned"], after["assigned"]) == (0, after["vectors"] - before["vectors"])
    assert after["experiments"] == ["a", "b"]
    assert lake.sql("SELECT cluster, medoid_invocation_id FROM clusters ORDER BY cluster").to_pylist() == medoids
    for table in ("clusterings", "clusters", "cluster_members"):
        assert all_findings(lake, RULES, table) == []
    counted = lake.sql("SELECT cluster, count(*) AS n FROM cluster_members GROUP BY ALL").to_pylist()
    sizes = {r["cluster"]: r["size"] for r in lake.sql("SELECT cluster, size FROM clusters").to_pylist()}
    assert {r["cluster"]: r["n"] for r in counted} == {k: n for k, n in sizes.items() if n}
    assert after["outliers"] == sizes[-1]
    differ = lake.sql(
        """SELECT count(*) AS n FROM (
               SELECT e.content_hash FROM cluster_members JOIN embeddings e USING (invocation_id)
               GROUP BY ALL HAVING count(DISTINCT cluster) > 1)"""
    )
    assert differ["n"][0].as_py() == 0  # what is the same is in the same cluster, whenever it came
    assert stages.assign(lake, Nobody(), MODEL)["computed_at"] >= after["computed_at"]
    lake.remove("embeddings", experiment="b", embedding_model=MODEL)
    with pytest.raises(UserError, match="clustered vectors of DummyText are gone"):
        stages.assign(lake, Nobody(), MODEL)


def test_clustering_the_same_vectors_again_gives_equal_tables(tmp_path):
    lake = open_lake(tmp_path / "lake")
    perform(lake, definition("a", seeds=[1, 2, 3], max_length=40, prompts=["a red cat", "two boats"]))

    def tables():
        for make in (stages.cluster, stages.stability, stages.layers):
            make(lake, Nobody(), MODEL)
        found = {}
        for name, table in lake.tables.items():
            if name.startswith("cluster") and list(lake.partitions(name)):
                columns = ", ".join(c for c in table.names if c not in ("computed_at", "seconds"))
                found[name] = lake.sql(f"SELECT {columns} FROM {name}").to_pylist()
        return found

    before = tables()
    assert {"clusterings", "clusters", "cluster_members", "cluster_stability", "cluster_layers"} <= set(before)
    assert tables() == before


def test_a_store_without_vectors_has_no_layers(tmp_path):
    lake = open_lake(tmp_path / "lake")
    assert stages.layers(lake, Nobody(), MODEL).rows == 0
    assert stages.stability(lake, Nobody(), MODEL).rows == 0
    assert lake.sql("SELECT * FROM cluster_layers").num_rows == 0


def test_likeness_is_that_of_the_most_alike():
    labels = np.array([0, 0, 1, 1, -1, -1])
    assert likeness(labels, [np.zeros(6, int), labels + 1]) == 1
    assert likeness(labels, [np.zeros(6, int)]) == 0


def stored(vectors):
    return [
        {
            "invocation_id": f"i{k:03}",
            "run_id": "r",
            "experiment": "a",
            "sequence_number": k,
            "embedding_model": MODEL,
            "model_revision": "0",
            "settings_id": "0",
            "content_hash": f"{k}",
            "normalised": True,
            "vector": vector.astype(np.float32),
            "embedded_at": datetime.now(UTC),
            "code_version": "1",
        }
        for k, vector in enumerate(vectors)
    ]
