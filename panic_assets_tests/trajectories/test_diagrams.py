"""Persistence diagrams against closed forms and against GUDHI."""

import math

import gudhi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panic_assets.trajectories.diagrams import bars_of, diagram, entropy, summary


def circle(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angle), np.sin(angle)])


def gudhi_bars(points, max_dimension):
    tree = gudhi.RipsComplex(points=points).create_simplex_tree(max_dimension=max_dimension + 1)
    tree.compute_persistence(min_persistence=0)
    return [tree.persistence_intervals_in_dimension(k) for k in range(max_dimension + 1)]


@pytest.mark.parametrize("points", [circle(99), np.vstack([circle(99), circle(99)[17:18]])])
def test_circle_of_99_points_also_with_one_point_given_twice(points):
    bars = diagram(points)
    side = 2 * math.sin(math.pi / 99)
    assert side == pytest.approx(0.06346, abs=5e-6)
    h0 = bars.of(0, finite=True)
    assert h0.shape == (98, 2)
    np.testing.assert_allclose(h0, [[0, side]] * 98, rtol=1e-12)
    assert len(bars.of(0)) == 99
    assert entropy(bars, 0) == pytest.approx(math.log(98), rel=1e-12)
    np.testing.assert_allclose(bars.of(1), [[side, math.sqrt(3)]], rtol=1e-12)
    assert entropy(bars, 1) == 0


def test_a_repeated_point_changes_no_bit():
    once, twice = diagram(circle(99)), diagram(np.vstack([circle(99), circle(99)[17:18]]))
    assert all(np.array_equal(getattr(once, c), getattr(twice, c)) for c in ("dimension", "birth", "death"))


def test_unit_square():
    bars = diagram(np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]))
    np.testing.assert_array_equal(bars.of(0), [[0, 1], [0, 1], [0, 1], [0, np.inf]])
    assert entropy(bars, 0) == pytest.approx(math.log(3), rel=1e-15)
    np.testing.assert_array_equal(bars.of(1), [[1, math.sqrt(2)]])
    assert entropy(bars, 1) == 0


def test_200_rows_of_20_distinct_vectors_have_19_finite_bars():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(20, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bars = diagram(vectors[rng.permutation(np.arange(200) % 20)])
    assert len(bars.of(0, finite=True)) == 19


@pytest.mark.parametrize(("n", "d", "max_dimension"), [(60, 2, 1), (80, 3, 1), (25, 3, 2), (40, 50, 1)])
def test_agrees_with_gudhi_in_float64(n, d, max_dimension):
    points = np.random.default_rng(n).normal(size=(n, d))
    bars = diagram(points, max_dimension)
    for dimension, expected in enumerate(gudhi_bars(points, max_dimension)):
        expected = expected[np.lexsort((expected[:, 1], expected[:, 0]))]
        np.testing.assert_allclose(bars.of(dimension), expected, rtol=1e-12)
    assert len(bars.of(max_dimension)) > 0


def test_float64_survives_where_float32_cannot_tell_the_bars_apart():
    gaps = 1 + 1e-10 * np.arange(1, 6)
    bars = diagram(np.concatenate([[0], np.cumsum(gaps)])[:, None], 0)
    np.testing.assert_allclose(bars.of(0, finite=True)[:, 1], gaps, rtol=1e-14)
    assert len(set(bars.of(0, finite=True)[:, 1])) == 5


@pytest.mark.parametrize("n", [1, 2, 300])
def test_one_distinct_vector_is_one_infinite_bar(n):
    bars = diagram(np.full((n, 7), 0.25, dtype=np.float32))
    np.testing.assert_array_equal(bars.of(0), [[0, np.inf]])
    assert len(bars) == 1
    assert [entropy(bars, k) for k in (0, 1)] == [0, 0]


def test_no_rows_no_bars_and_two_rows():
    assert len(diagram(np.empty((0, 5)))) == 0
    np.testing.assert_array_equal(diagram(np.array([[0.0], [3.0]])).of(0), [[0, 3], [0, np.inf]])


def test_refuses_what_is_no_position():
    with pytest.raises(ValueError, match="NaN"):
        diagram(np.array([[0.0], [np.nan]]))


def test_summary_by_hand():
    bars = bars_of([(0, 0, np.inf), (0, 0, 3), (0, 0, 1), (1, 2, 2), (1, 2, 2.5)])
    h0, h1, h2 = summary(bars, 2)
    assert (h0.bars, h0.finite, h0.total_persistence, h0.maximal_persistence) == (3, 2, 4, 3)
    assert h0.entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert (h1.bars, h1.finite, h1.total_persistence, h1.entropy) == (1, 1, 0.5, 0)
    assert (h2.bars, h2.finite, h2.entropy, h2.maximal_persistence) == (0, 0, 0, 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 25), st.integers(1, 4), st.floats(0.01, 100))
def test_laws(seed, n, d, scale):
    """Order and repetition do not matter, lengths scale, H0 counts the points, entropy is bounded."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d))
    bars = diagram(points)
    shuffled = diagram(np.vstack([points, points[: n // 2]])[rng.permutation(n + n // 2)])
    np.testing.assert_allclose(shuffled.death, bars.death, rtol=1e-12)
    np.testing.assert_allclose(diagram(points * scale).death, bars.death * scale, rtol=1e-9)
    assert len(bars.of(0, finite=True)) == n - 1
    assert 0 <= entropy(bars, 0) <= math.log(n - 1) + 1e-12
    np.testing.assert_allclose(bars.of(0, finite=True)[:, 1].sum(), _spanning_tree_length(points), rtol=1e-9)


def _spanning_tree_length(points):
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import cdist

    return minimum_spanning_tree(cdist(points, points)).sum()
