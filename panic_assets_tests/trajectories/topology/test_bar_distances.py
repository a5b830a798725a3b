"""Distances between diagrams: by hand, against GUDHI, against the textbook assignment, and as metrics."""

import math

import gudhi
import gudhi.hera
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from panic_assets.trajectories.topology.bar_distances import bottleneck, diagonal, matrix, wasserstein

FIRST, SECOND = np.array([[1.0, 3], [2, 5]]), np.array([[0.0, 2], [3, 6]])


def bars(rng, n, length=1.0, grid=False):
    birth = rng.uniform(0, 2, n)
    found = np.column_stack([birth, birth + rng.exponential(length, n)])
    return np.round(found * 2) / 2 if grid else found


def by_square_matrix(a, b, p, ground):
    """The textbook (n + m) x (n + m) assignment, with one diagonal point for each bar."""
    n, m = len(a), len(b)
    costs = np.zeros((n + m, n + m))
    costs[:n, :m] = np.linalg.norm(a[:, None] - b, ord=ground, axis=2) ** p if n and m else 0
    costs[:n, m:] = (diagonal(a, ground) ** p)[:, None]
    costs[n:, :m] = diagonal(b, ground) ** p
    return costs[linear_sum_assignment(costs)].sum() ** (1 / p)


def test_equal_sorted_lifetimes_are_not_equal_diagrams():
    assert np.array_equal(np.sort(np.diff(FIRST, axis=1)), np.sort(np.diff(SECOND, axis=1)))
    assert wasserstein(FIRST, SECOND) == pytest.approx(2 * math.sqrt(2))  # 2.83: each moves by (1, 1)
    assert wasserstein(FIRST, SECOND, p=2) == pytest.approx(2)
    assert wasserstein(FIRST, SECOND, ground=np.inf) == 2
    assert bottleneck(FIRST, SECOND) == 1


def test_the_diagonal_is_a_choice():
    empty = np.empty((0, 2))
    assert wasserstein([[0, 2]], empty) == pytest.approx(math.sqrt(2))
    assert wasserstein([[0, 2]], empty, ground=np.inf) == 1
    assert wasserstein([[0, 1]], [[5, 6]]) == pytest.approx(math.sqrt(2))  # both vanish: cheaper than the way
    assert bottleneck([[0, 1]], [[5, 6]]) == 0.5
    assert wasserstein(empty, empty) == bottleneck(empty, empty) == 0


def test_infinite_bars_are_matched_by_birth():
    one, other = np.array([[0, np.inf], [3, np.inf], [0, 1]]), np.array([[4, np.inf], [1, np.inf]])
    assert wasserstein(one, other) == pytest.approx(2 + math.sqrt(0.5))
    assert wasserstein(one, other, p=2) == pytest.approx(math.sqrt(2 + 0.5))
    assert bottleneck(one, other) == 1
    assert wasserstein(one, other[:1]) == bottleneck(one, other[:1]) == np.inf


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    st.sampled_from([1.0, 2.0, np.inf]),
    st.sampled_from(["plane", "grid", "line"]),
)
def test_agrees_with_the_textbook_assignment(seed, n, m, p, ground, kind):
    rng = np.random.default_rng(seed)
    a, b = bars(rng, n, rng.uniform(0.1, 2), kind == "grid"), bars(rng, m, 1, kind == "grid")
    if kind == "line":
        a[:, 0] = b[:, 0] = 0
    assert wasserstein(a, b, p, ground) == pytest.approx(by_square_matrix(a, b, p, ground), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("n", [150, 300])
@pytest.mark.parametrize("length", [0.05, 0.5])
def test_agrees_with_gudhi_on_large_diagrams(n, length):
    rng = np.random.default_rng(n)
    a, b = bars(rng, n, length), bars(rng, n - 30, length)
    for p in (1.0, 2.0):
        for ground in (2.0, np.inf):
            expected = gudhi.hera.wasserstein_distance(a, b, order=p, internal_p=ground, delta=1e-4)
            assert wasserstein(a, b, p, ground) == pytest.approx(expected, rel=2e-4)
    assert bottleneck(a, b) == pytest.approx(gudhi.bottleneck_distance(a, b), rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_crowded_diagrams_whose_matching_is_not_among_near_neighbours(shift):
    """All of one diagram is beside the other: a point's partner is rarely one of the nearest."""
    rng = np.random.default_rng(3)
    a, b = (np.column_stack([rng.normal(1, 0.1, 250), rng.normal(3, 0.3, 250)]) for _ in range(2))
    b[:200] += shift
    for p in (1.0, 2.0):
        assert wasserstein(a, b, p) == pytest.approx(by_square_matrix(a, b, p, 2.0), rel=1e-9)
    assert bottleneck(a, b) == pytest.approx(gudhi.bottleneck_distance(a, b), rel=1e-12)
    a[:, 0] = b[:, 0] = 0
    assert bottleneck(a, b) == pytest.approx(gudhi.bottleneck_distance(a, b), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 15), st.integers(0, 15), st.integers(0, 15))
def test_they_are_metrics_and_bottleneck_agrees_with_gudhi(seed, k, n, m):
    rng = np.random.default_rng(seed)
    a, b, c = (bars(rng, size) for size in (k, n, m))
    assert bottleneck(a, b) == pytest.approx(gudhi.bottleneck_distance(a, b), rel=1e-12)
    for distance in (lambda x, y: wasserstein(x, y, 2), bottleneck):
        assert distance(a, a) == pytest.approx(0, abs=1e-7)
        assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-9)
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-9


def test_matrix():
    rng = np.random.default_rng(0)
    diagrams = [bars(rng, n) for n in (3, 0, 5)]
    found = matrix(diagrams, p=2)
    assert found[0, 2] == found[2, 0] == wasserstein(diagrams[0], diagrams[2], 2)
    assert (np.diag(found) == 0).all()
    assert matrix(diagrams, p=np.inf, ground=np.inf)[0, 2] == bottleneck(diagrams[0], diagrams[2])
    assert matrix([]).shape == (0, 0)
