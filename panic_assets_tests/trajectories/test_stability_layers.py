"""Layers, stability and incremental assignment on blobs."""

import numpy as np
import pytest
from sklearn.metrics import homogeneity_score

from panic_assets.trajectories.clustering import cluster
from panic_assets.trajectories.layers import layers
from panic_assets.trajectories.stability import assign, stability
from panic_assets_tests.trajectories.test_clustering import blobs


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


@pytest.mark.timeout(600)  # EVoC compiles itself at its first call
def test_layers_of_blobs():
    vectors, which = blobs([120, 80, 100], d=16)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = layers(np.vstack([vectors, vectors[:20]]), seed=1)
    clustered = found[0].labels[:300] >= 0
    assert clustered.mean() > 0.3
    assert homogeneity_score(which[clustered], found[0].labels[:300][clustered]) > 0.95  # no cluster mixes blobs
    assert len(found[0].sizes) >= len(found[-1].sizes)
    for layer in found:
        np.testing.assert_array_equal(layer.labels[:20], layer.labels[300:])
        np.testing.assert_array_equal(layer.labels[layer.medoids], np.arange(len(layer.sizes)))
        assert layer.sizes.sum() + layer.outliers == 320
    same = layers(np.vstack([vectors, vectors[:20]]), seed=1)
    np.testing.assert_array_equal(found[0].labels, same[0].labels)
    assert layers(vectors[:7])[0].outliers == 7
