"""Surrogates keep what they promise to keep."""

import numpy as np
import pytest

from panic_assets.statistics.nulls import standings
from panic_assets.statistics.streams import stream
from panic_assets.statistics.surrogates import delays, gaussian, random_walk, shuffled_time, unit
from panic_assets.trajectories.topology.diagrams import diagram, summary


def walk(n=200, d=12, on_sphere=True, seed=0):
    found = np.cumsum(np.random.default_rng(seed).normal(size=(n, d)), axis=0) + 5
    return found / np.linalg.norm(found, axis=1, keepdims=True) if on_sphere else found


def steps(vectors):
    return np.linalg.norm(np.diff(vectors, axis=0), axis=1)


@pytest.mark.parametrize("on_sphere", [True, False])
def test_random_walk_has_the_same_step_lengths_in_another_order(on_sphere):
    vectors = np.repeat(walk(on_sphere=on_sphere), 2, axis=0)  # rests every second step
    found = random_walk(vectors, np.random.default_rng(1))
    np.testing.assert_allclose(np.sort(steps(found)), np.sort(steps(vectors)), atol=1e-12)
    assert not np.allclose(steps(found), steps(vectors))
    np.testing.assert_array_equal(found[0], vectors[0])
    assert len(np.unique(found, axis=0)) == 200
    if on_sphere:
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)


def test_a_walk_in_few_directions_is_compared_with_walks_in_these_directions():
    """A walk in 4 of 32 directions has holes, one in all of them has not: among such, every true walk stood out."""
    frame = np.linalg.qr(np.random.default_rng(9).normal(size=(32, 4)))[0].T
    percentiles = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        vectors = np.cumsum(rng.normal(size=(40, 4)), axis=0) @ frame
        observed, *chance = (
            diagram(cloud).of(1, finite=True)[:, 1].size
            for cloud in (vectors, *(random_walk(vectors, rng) for _ in range(9)))
        )
        percentiles.append(np.mean([c < observed for c in chance]) + np.mean([c == observed for c in chance]) / 2)
    # Means of 30 percentiles, whose standard deviation is at most 0.32 each.
    assert abs(np.mean(percentiles) - 0.5) < 4 * 0.32 / 30**0.5
    rank = np.linalg.matrix_rank(random_walk(vectors, rng) - vectors[0], tol=1e-6)
    assert rank == 4


def test_random_walk_turns_at_right_angles_on_average():
    jumps = np.diff(random_walk(walk(3000, 30, on_sphere=False), np.random.default_rng(1)), axis=0)
    turn = (jumps[1:] * jumps[:-1]).sum(1) / np.linalg.norm(jumps[1:], axis=1) / np.linalg.norm(jumps[:-1], axis=1)
    assert abs(turn.mean()) < 4 / np.sqrt(30 * 3000)


@pytest.mark.parametrize("shape", [(200, 3), (30, 80)])
def test_gaussian_has_mean_and_covariance_of_the_cloud(shape):
    vectors = np.random.default_rng(3).gamma(1, size=shape) * np.arange(1, shape[1] + 1) + 5
    found = gaussian(vectors, np.random.default_rng(4))
    np.testing.assert_allclose(found.mean(0), vectors.mean(0))
    np.testing.assert_allclose(np.cov(found.T), np.cov(vectors.T), atol=1e-9 * shape[1] ** 2)
    assert np.linalg.norm(found - vectors, axis=1).min() > 0.1
    np.testing.assert_allclose(np.linalg.norm(gaussian(walk(), np.random.default_rng(1)), axis=1), 1)


def six(cloud):
    bars = diagram(cloud)
    return {
        (r.dimension, name): getattr(r, name)
        for r in summary(bars)
        for name in ("entropy", "total_persistence", "maximal_persistence")
    }


@pytest.mark.parametrize("on_sphere", [True, False])
def test_points_fewer_than_their_dimensions_are_no_surprise_among_their_surrogates(on_sphere):
    """Drawn anew from the sample's covariance, surrogates never look like the cloud: all six statistics said so."""
    extreme = []
    for seed in range(12):
        rng = np.random.default_rng([1, seed])
        cloud = rng.normal(size=(40, 384)) + 2 * on_sphere
        cloud = cloud / np.linalg.norm(cloud, axis=1, keepdims=True) if on_sphere else cloud
        stood = standings(six(cloud), [six(gaussian(cloud, rng)) for _ in range(19)])
        extreme += [found.percentile in (0, 100) for _, found in stood]
    assert len(extreme) == 72
    assert np.mean(extreme) < 0.3  # By chance it is 0.1.


def test_a_circle_is_a_surprise():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle), np.zeros((40, 60))])
    rng = np.random.default_rng(5)
    stood = dict(standings(six(circle), [six(gaussian(circle + 3, rng)) for _ in range(19)]))
    assert stood[1, "maximal_persistence"].percentile == 100


def test_unit_vectors_far_from_their_mean_direction_stay_on_the_sphere():
    vectors = np.random.default_rng(6).normal(size=(50, 20))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit(gaussian(vectors, np.random.default_rng(1)))
    np.testing.assert_array_equal(gaussian(np.ones((4, 1)), np.random.default_rng(1)), 1)


def test_everything_measured_has_a_stream_of_its_own():
    drawn = {names: stream(0, *names).random() for names in (("a", "b"), ("ab",), ("a", "c"), ("c", "a"))}
    assert len(set(drawn.values())) == 4
    assert stream(0, "a", "b").random() == drawn["a", "b"]
    assert stream(1, "a", "b").random() != drawn["a", "b"]


def test_shuffled_time_changes_no_diagram_of_outputs_but_that_of_pairs():
    vectors = walk(60)
    shuffled = shuffled_time(vectors, np.random.default_rng(2))
    np.testing.assert_allclose(diagram(shuffled).death, diagram(vectors).death, rtol=1e-12)
    observed, null = (diagram(delays(v)).of(0, finite=True)[:, 1].sum() for v in (vectors, shuffled))
    assert observed < 0.8 * null


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_runs(n):
    vectors = walk(5)[:n]
    rng = np.random.default_rng(0)
    assert random_walk(vectors, rng).shape == (n, 12)
    assert delays(vectors).shape == (max(n - 1, 0), 24)
    if n:
        assert gaussian(vectors, rng).shape == (n, 12)
