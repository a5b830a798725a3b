"""Clusters against blobs whose answer is known, and against scikit-learn."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from panic_assets.statistics.distinct import distinct
from panic_assets.trajectories.clusters import clustering, reachability
from panic_assets.trajectories.clusters.clustering import cluster, medoid
from panic_assets_tests.trajectories.known_shapes import blobs


def test_blobs_are_found_largest_first():
    vectors, which = blobs([30, 80, 50])
    found = cluster(vectors)
    assert found.sizes.tolist() == [80, 50, 30]
    np.testing.assert_array_equal(found.labels, np.array([2, 0, 1])[which])
    assert (found.outliers, found.min_cluster_size, found.min_samples) == (0, 5, 5)
    assert found.labels[found.medoids].tolist() == [0, 1, 2]


def test_clusters_of_equal_size_are_ordered_by_first_member():
    vectors, _ = blobs([40, 40, 40], seed=5)
    first = [int(np.flatnonzero(cluster(vectors).labels == k)[0]) for k in range(3)]
    assert first == sorted(first)


@pytest.mark.parametrize("most", [0, clustering.BRUTE])
def test_near_duplicates_are_told_apart_whoever_makes_the_tree(most):
    """Ten groups of spread 1e-5, nearer to each other than single precision can see among vectors of length 1."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(10), 60)
    place = rng.normal(size=3)
    near = place / np.linalg.norm(place) + (2e-4 * rng.normal(size=(10, 3)))[which] + 1e-5 * rng.normal(size=(600, 3))
    far = rng.normal(size=(200, 3))
    far /= np.linalg.norm(far, axis=1, keepdims=True)
    with mock.patch.object(clustering, "BRUTE", most):
        found = cluster(np.vstack([near, far]))
    assert adjusted_rand_score(which, found.labels[:600]) == 1


def test_the_tree_without_a_matrix_gives_the_clusters_of_that_with_one():
    vectors, _ = blobs([300, 200, 100, 50])
    expected = cluster(vectors, 10, 1)
    with mock.patch.object(clustering, "BRUTE", 0):
        np.testing.assert_array_equal(cluster(vectors, 10, 1).labels, expected.labels)


def test_a_far_point_is_an_outlier_and_no_medoid():
    vectors, _ = blobs([40, 40])
    found = cluster(np.vstack([vectors, [[500.0] * 8]]))
    assert (found.labels[-1], found.outliers) == (-1, 1)
    assert 80 not in found.medoids


@pytest.mark.parametrize("times", [4, 5])
def test_an_outlier_that_occurs_often_enough_is_a_cluster(times):
    vectors, _ = blobs([40, 40])
    found = cluster(np.vstack([vectors, np.full((times, 8), 500.0)]))
    assert len(found.sizes) == (3 if times >= 5 else 2)
    assert found.outliers == (0 if times >= 5 else 4)
    # scikit-learn on the duplicated data says the same
    direct = HDBSCAN(min_cluster_size=5, copy=True).fit_predict(np.vstack([vectors, np.full((times, 8), 500.0)]))
    assert adjusted_rand_score(direct, found.labels) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_agrees_with_scikit_learn_without_duplicates(seed, size):
    """With one sample distances are plain and differ. With more, many edges weigh the same: the tree is tested below."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(120, 3)) * rng.uniform(0.2, 2) + 4 * rng.normal(size=(4, 3))[np.arange(120) % 4]
    with mock.patch.object(clustering, "BRUTE", 0):
        found = cluster(vectors, size, 1)
    direct = HDBSCAN(min_cluster_size=size, min_samples=1, copy=True).fit_predict(vectors)
    np.testing.assert_array_equal(found.labels == -1, direct == -1)
    assert adjusted_rand_score(direct, found.labels) == 1
    assert found.outliers == (direct == -1).sum()
    assert found.sizes.tolist() == sorted(np.bincount(direct[direct >= 0]).tolist(), reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12), st.integers(1, 5000))
def test_the_tree_is_minimal_whatever_the_blocks(seed, n, k, block):
    rng = np.random.default_rng(seed)
    points = (rng.normal(size=(n, 3)) + 4 * rng.normal(size=(4, 3))[np.arange(n) % 4]).astype(np.float32)
    with mock.patch.object(reachability, "BLOCK", block):
        pairs, weights = reachability.spanning_tree(points, min(k, n))
    distance = squareform(pdist(points.astype(np.float64)))
    core = np.sort(distance, axis=1)[:, min(k, n) - 1]
    reach = np.maximum(distance, np.maximum(core, core[:, None]))
    np.testing.assert_allclose(weights, reach[tuple(pairs.T)], rtol=1e-12)
    np.testing.assert_allclose(np.sort(weights), np.sort(minimum_spanning_tree(np.triu(reach, 1)).data), rtol=1e-9)
    tree = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(n, n))
    assert (len(pairs), connected_components(tree)[0]) == (n - 1, 1)


def test_points_too_near_to_tell_in_single_precision_are_still_joined():
    points = np.array([[1.0], [1.0 + 1e-12], [1.0 + 3e-12], [5.0]])
    _, weights = reachability.spanning_tree(points, 1)
    assert 0 < min(weights) <= sorted(weights)[1] < 4e-12
    assert len(cluster(np.array([[0.0], [1e-300], [2e-300], [3e-300], [4e-300]]), 2).labels) == 5


def test_same_labels_whatever_the_repetition_of_equal_rows():
    vectors, _ = blobs([30, 20])
    found = cluster(np.vstack([vectors, vectors[:10], vectors[:10]]))
    np.testing.assert_array_equal(found.labels[50:60], found.labels[:10])
    np.testing.assert_array_equal(found.labels[60:], found.labels[:10])
    assert found.sizes.sum() == 70


@pytest.mark.parametrize("n", [0, 1, 4])
def test_fewer_rows_than_a_cluster_needs_are_outliers(n):
    found = cluster(np.eye(5, dtype=np.float32)[:n])
    assert found.labels.tolist() == [-1] * n
    assert (len(found.medoids), len(found.sizes), found.outliers) == (0, 0, n)


def test_fewer_rows_than_min_samples_do_not_crash():
    assert cluster(np.eye(6), min_cluster_size=2, min_samples=10).outliers == 6


def test_one_vector_many_times_is_one_cluster():
    found = cluster(np.ones((100, 3), dtype=np.float32))
    assert (found.labels.tolist(), found.medoids.tolist()) == ([0] * 100, [0])


def test_impossible_parameters_are_refused():
    with pytest.raises(ValueError, match="min_cluster_size is 1"):
        cluster(np.eye(6), min_cluster_size=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_medoid_minimises_the_weighted_sum_of_squared_distances(seed, n):
    rng = np.random.default_rng(seed)
    points, weights = rng.normal(size=(n, 4)), rng.integers(1, 50, size=n)
    cost = ((points[:, None] - points) ** 2).sum(2) @ weights
    assert cost[medoid(points, weights)] == pytest.approx(cost.min(), rel=1e-12)


def test_multiplicity_moves_the_medoid():
    line = np.array([[0.0], [1.0], [5.0]])
    assert medoid(line, np.array([1, 1, 1])) == 1
    assert medoid(line, np.array([1, 1, 100])) == 2


def test_distinct_rows():
    rows = distinct(np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [2.0, 0.0], [2.0, 0.0]]))
    assert rows.first.tolist() == [0, 1]
    assert rows.inverse.tolist() == [0, 1, 0, 1, 1]
    assert rows.counts.tolist() == [2, 3]
    empty = distinct(np.empty((0, 4)))
    assert (len(empty.first), len(empty.inverse), len(empty.counts)) == (0, 0, 0)
    with pytest.raises(ValueError, match="shape"):
        distinct(np.zeros(3))
