"""Persistence diagrams against closed forms and against GUDHI."""

import math
from itertools import combinations

import gudhi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from panic_assets.errors import UserError
from panic_assets.trajectories.topology import lunes
from panic_assets.trajectories.topology.diagrams import (
    SMALL,
    Diagram,
    angular,
    bars_of,
    budgeted,
    diagram,
    directions,
    entropy,
    farthest_points,
    summary,
)
from panic_assets.trajectories.topology.lunes import pairs
from panic_assets_tests.trajectories.known_shapes import circle


def gudhi_bars(points, max_dimension, field=2):
    tree = gudhi.RipsComplex(points=points).create_simplex_tree(max_dimension=max_dimension + 1)
    tree.compute_persistence(homology_coeff_field=field, min_persistence=0)
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


# --- the fast way, generators, budgets -------------------------------------------------------------------


def sphere(n, d, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "d"), [(140, 2), (200, 5), (160, 200)])
def test_lunes_agree_with_gudhi(n, d):
    points = sphere(n, d, seed=n)
    bars = diagram(points)  # more than SMALL points: the lunes
    for dimension, expected in enumerate(gudhi_bars(points, 1)):
        expected = expected[np.lexsort((expected[:, 1], expected[:, 0]))]
        np.testing.assert_allclose(bars.of(dimension), expected, rtol=1e-12)


def test_the_field_is_used():
    """In general position the pairs do depend on it, in a few bars of a thousand."""
    points = sphere(160, 200, seed=160)
    found, expected = diagram(points, 1, field=3).of(1), gudhi_bars(points, 1, field=3)[1]
    np.testing.assert_allclose(found, expected[np.lexsort((expected[:, 1], expected[:, 0]))], rtol=1e-12)
    assert (found != diagram(points, 1, field=2).of(1)).sum() == 6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(1, 6), st.booleans())
def test_lunes_agree_with_giotto_also_with_ties(seed, n, d, grid):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, size=(n, d)).astype(float) if grid else rng.normal(size=(n, d))
    fast, usual = diagram(points), diagram(points, 2)  # with H2 it is giotto-ph
    for dimension in (0, 1):
        np.testing.assert_allclose(fast.of(dimension), usual.of(dimension), rtol=1e-12)


def simplex_pairs(points, max_dimension):
    """(dimension, birth simplex, death simplex) by GUDHI, simplex by simplex: among those that come with one edge, by
    the dimension of what is opposite to that edge, then by point or edge."""
    ranks = np.zeros((len(points), len(points)))
    ranks[np.triu_indices(len(points), 1)] = np.argsort(np.argsort(pdist(points))) + 1
    ranks += ranks.T
    tree = gudhi.RipsComplex(distance_matrix=ranks).create_simplex_tree(max_dimension=max_dimension + 1)
    for simplex, _ in list(tree.get_skeleton(max_dimension + 1)):
        if len(simplex) > 2:
            u, v = max(combinations(simplex, 2), key=lambda e: ranks[e])
            rest = [w for w in simplex if w not in (u, v)]
            later = rest[0] if len(rest) == 1 else 1000 + ranks[tuple(rest)]
            tree.assign_filtration(simplex, ranks[u, v] + (1 + later) / 10_000)
    tree.compute_persistence(min_persistence=-1, persistence_dim_max=False)
    return {(len(b) - 1, frozenset(b), frozenset(d)) for b, d in tree.persistence_pairs() if len(b) > 1 and d}


@pytest.mark.parametrize(("n", "d", "max_dimension"), [(40, 3, 1), (16, 4, 2)])
def test_simplices_are_those_that_make_and_end_the_class(n, d, max_dimension):
    points = sphere(n, d, seed=n)
    bars = diagram(points, max_dimension)
    expected = simplex_pairs(points, max_dimension)
    found = {
        (int(k), frozenset(b[b >= 0].tolist()), frozenset(e[e >= 0].tolist()))
        for k, b, e in zip(bars.dimension, bars.birth_simplex, bars.death_simplex, strict=True)
        if k > 0
    }
    assert all(len(b) == k + 1 and len(e) == k + 2 for k, b, e in found)
    assert {k for k, _, _ in found} == set(range(1, max_dimension + 1))
    assert found <= expected


def test_general_position_is_no_cliff():
    """500 random unit vectors in 256 dimensions keep giotto-ph busy for more than a minute."""
    bars = diagram(sphere(500, 256))
    assert len(bars.of(1)) > 1000
    assert np.isfinite(bars.of(1)).all()


def test_600_points_of_a_circle():
    bars = diagram(circle(600))
    np.testing.assert_allclose(bars.of(1), [[2 * math.sin(math.pi / 600), math.sqrt(3)]], rtol=1e-12)


@pytest.mark.parametrize(("n", "max_dimension"), [(50, 2), (200, 1)])
def test_generators_are_the_edges_whose_lengths_are_birth_and_death(n, max_dimension):
    points = sphere(n, 4)
    bars = diagram(np.vstack([points[:9], points]), max_dimension)
    rows = np.vstack([points[:9], points])
    length = lambda edges: np.linalg.norm(rows[edges[:, 0]] - rows[edges[:, 1]], axis=1)  # noqa: E731
    finite, loops = np.isfinite(bars.death), bars.dimension > 0
    birth_edge, death_edge = bars.birth_simplex[:, :2], bars.death_simplex[:, :2]
    np.testing.assert_allclose(length(death_edge[finite]), bars.death[finite], rtol=1e-12)
    np.testing.assert_allclose(length(birth_edge[loops]), bars.birth[loops], rtol=1e-12)
    assert (bars.birth_simplex[~loops] == -1).all()
    assert (bars.death_simplex[~finite] == -1).all()
    assert not np.isin(np.arange(9, 18), np.concatenate([birth_edge, death_edge])).any()  # repeats
    assert loops.sum() > 3


@pytest.mark.parametrize(
    ("kind", "max_dimension"), [("cloud", 1), ("circle", 1), pytest.param("cloud", 2, marks=pytest.mark.slow)]
)
def test_past_its_budget_a_diagram_is_marked_and_within_its_bound(kind, max_dimension):
    vectors = sphere(132, 3) if kind == "cloud" else circle(400) + np.random.default_rng(1).normal(0, 0.05, (400, 2))
    exact = budgeted(vectors, max_dimension, seconds=1e6)
    assert not exact.approximate
    assert exact.error_bound == 0
    quick = budgeted(vectors, max_dimension, seconds=1e-4, gigabytes=0.001 if max_dimension == 1 else 1e-6)
    assert quick.approximate
    assert len(quick.rows) <= len(vectors) // 2
    covering = np.linalg.norm(vectors[:, None] - vectors[quick.rows], axis=2).min(axis=1).max()
    assert quick.error_bound == pytest.approx(2 * covering, rel=1e-12)
    for dimension in range(max_dimension + 1):
        distance = gudhi.bottleneck_distance(
            exact.bars.of(dimension, finite=True), quick.bars.of(dimension, finite=True)
        )
        assert 0 < distance <= quick.error_bound


def test_a_budget_that_runs_out_ends_in_landmarks_before_it_is_spent(monkeypatch):
    """1,000 random unit vectors in 256 dimensions, which giotto-ph does not finish."""
    allowed = []

    def counted(order, n, operations, memory):
        allowed.append(operations)
        return pairs(order, n, operations, memory)

    monkeypatch.setattr(lunes, "pairs", counted)
    found = budgeted(sphere(1000, 256), seconds=0.5)
    assert found.approximate
    assert SMALL <= len(found.rows) < 1000
    assert 0 < found.error_bound < 4
    assert len(allowed) > 1
    assert sum(allowed) <= 0.5 * 1e9


def test_memory_too_small_for_the_matrix_of_edges():
    assert len(budgeted(sphere(600, 8), gigabytes=1e-3).rows) <= 220


def test_farthest_points_of_a_line():
    chosen, radii = farthest_points(np.array([[0.0], [1.0], [2.0], [10.0]]), 9)
    assert chosen.tolist() == [0, 3, 2, 1]
    assert radii.tolist() == [10, 2, 1, 0]


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("dimension", [3, 384])
def test_vectors_of_one_direction_are_one_point_under_the_angle(precision, dimension):
    """Rounding made 220 points of 20 directions, with a bar of length 1e-16 for each of them."""
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(20, dimension))
    vectors = (np.repeat(ways, 11, axis=0) * rng.uniform(0.01, 50, size=(220, 1))).astype(precision)
    found = budgeted(directions(vectors))
    assert (found.distinct, len(found.bars.of(0, finite=True))) == (20, 19)
    assert found.rows.tolist() == list(range(0, 220, 11))
    apart = np.array([[1.0, 0], [1, 1e-6], [-1, 0]], dtype=precision)
    assert budgeted(directions(apart)).distinct == 3


def test_angles_are_angles_of_the_same_pairs():
    vectors = sphere(60, 4)
    by_angle = angular(budgeted(directions(3 * vectors))).bars
    tree = gudhi.RipsComplex(distance_matrix=np.arccos(np.clip(vectors @ vectors.T, -1, 1))).create_simplex_tree(
        max_dimension=2
    )
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0)
    expected = tree.persistence_intervals_in_dimension(1)
    np.testing.assert_allclose(by_angle.of(1), expected[np.lexsort((expected[:, 1], expected[:, 0]))], atol=1e-7)
    assert by_angle.of(0)[-1, 1] == np.inf
    half = Diagram(bars_of([(0, 0, math.sqrt(2)), (0, 0, 2)]), np.arange(2), 9, 2.0)
    np.testing.assert_allclose(angular(half).bars.death, [math.pi / 2, math.pi], rtol=1e-12)
    assert angular(half).error_bound == pytest.approx(2 * math.pi / 3)  # twice the angle of the chord 1
    with pytest.raises(UserError, match="vector 1 is zero"):
        directions(np.array([[1.0, 0], [0, 0]]))


def test_the_projective_plane_has_its_long_loop_mod_2_only():
    """Lines through the origin: H1 is Z/2."""
    directions = sphere(100, 3)
    lines = np.einsum("ni,nj->nij", directions, directions).reshape(100, 9)  # v and -v are one line
    longest = [np.diff(diagram(lines, 1, field=p).of(1), axis=1).max(initial=0) for p in (2, 3)]
    assert longest[0] > 2 * longest[1]
