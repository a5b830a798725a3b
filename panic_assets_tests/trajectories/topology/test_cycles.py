"""Representatives of bars: closed, of the right sizes, and of the class of their bar by linear algebra mod 2."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from panic_assets.trajectories.topology.cycles import Void, loop, void
from panic_assets.trajectories.topology.diagrams import budgeted, diagram
from panic_assets_tests.trajectories.known_shapes import circle


def edges_of(walk):
    return [tuple(sorted(edge)) for edge in zip(walk, walk[1:] + walk[:1], strict=True)]


@pytest.mark.parametrize(("n", "seconds"), [(60, 60), (200, 60), (200, 1e-4)])
def test_a_loop_is_a_cycle_born_with_its_bar(n, seconds):
    rng = np.random.default_rng(n)
    vectors = np.vstack([circle(n) + rng.normal(0, 0.02, size=(n, 2)), rng.normal(0, 0.2, size=(n, 2))])
    found = budgeted(vectors, seconds=seconds)
    assert found.approximate == (seconds < 1)
    loops = np.flatnonzero(found.bars.dimension == 1)
    for bar in loops[:: max(1, len(loops) // 5)]:
        rounds = loop(vectors, len(found.rows), found.bars.birth_simplex[bar, :2])
        edges = [edge for walk in rounds for edge in edges_of(walk)]
        lengths = [math.dist(vectors[a], vectors[b]) for a, b in edges]
        assert max(lengths) == pytest.approx(found.bars.birth[bar], rel=1e-12)
        assert len(set(edges)) == len(edges)


def test_the_loop_of_a_circle_goes_round():
    vectors = circle(40)
    bars = diagram(vectors)
    (walk,) = loop(vectors, 40, bars.birth_simplex[bars.dimension == 1][0, :2])
    assert set(edges_of(walk)) == {(i, i + 1) for i in range(39)} | {(0, 39)}
    with pytest.raises(ValueError, match="no loop is born with the edge between rows 0 and 7"):
        loop(vectors, 40, np.array([0, 7]))


def triangles_of(found: Void) -> set[tuple[int, ...]]:
    """Those that an odd number of rounds and poles make."""
    made = Counter(
        tuple(sorted((*edge, pole))) for walk in found.rounds for edge in edges_of(walk) for pole in found.poles
    )
    return {triangle for triangle, times in made.items() if times % 2}


def spans(columns: list[set], wanted: set) -> bool:
    """Whether a set is a sum mod 2 of columns."""
    basis: dict = {}

    def reduced(column: set) -> set:
        while column and max(column) in basis:
            column = column ^ basis[max(column)]
        return column

    for column in map(reduced, columns):
        if column:
            basis[max(column)] = column
    return not reduced(wanted)


@pytest.mark.parametrize("seed", range(4))
def test_a_void_is_the_class_of_its_bar(seed):
    """It is a closed surface that nothing fills before the death, that the death fills, and that is homologous to
    something born with the birth triangle but to nothing before it."""
    points = np.random.default_rng(seed).normal(size=(22, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    vectors = np.vstack([points[:3], points])  # Repeats: rows of the first of them are meant.
    bars = diagram(vectors, 2)
    voids = np.flatnonzero(bars.dimension == 2)
    assert len(voids) >= 1
    diameter = {s: max(math.dist(vectors[a], vectors[b]) for a, b in combinations(s, 2)) for k in (3, 4)
                for s in combinations([*range(3), *range(6, 25)], k)}  # fmt: skip
    for bar in voids:
        found = void(vectors, 22, bars.death_simplex[bar])
        birth, death = bars.birth[bar], bars.death[bar]
        surface = triangles_of(found)
        assert math.dist(*vectors[list(found.poles)]) == pytest.approx(death, rel=1e-12)
        assert all(diameter[t] < death for t in surface)
        sides = Counter(side for t in surface for side in combinations(t, 2))
        assert surface
        assert all(times % 2 == 0 for times in sides.values())

        def filled(most, *, within):
            return [
                {t for t in combinations(s, 3) if not diameter[t] < within}
                for s, size in diameter.items()
                if len(s) == 4 and size <= most
            ]

        def younger(within, surface=surface):
            return {t for t in surface if not diameter[t] < within}

        just_before, at_birth = death * (1 - 1e-9), birth * (1 + 1e-9)
        assert spans(filled(death * (1 + 1e-9), within=0), surface)
        assert not spans(filled(just_before, within=0), surface)
        assert spans(filled(just_before, within=at_birth), younger(at_birth))
        assert not spans(filled(just_before, within=birth * (1 - 1e-9)), younger(birth * (1 - 1e-9)))


def test_the_void_of_an_octahedron_has_four_points_around_it():
    vectors = np.vstack([np.eye(3), -np.eye(3)]) * [[1.0, 1.01, 1.02]]
    bars = diagram(vectors, 2)
    (bar,) = np.flatnonzero(bars.dimension == 2)
    assert (bars.birth[bar], bars.death[bar]) == (pytest.approx(math.hypot(1.01, 1.02)), pytest.approx(2))
    found = void(vectors, 6, bars.death_simplex[bar])
    assert set(found.poles) == {0, 3}
    (walk,) = found.rounds
    assert set(edges_of(walk)) == {(1, 2), (1, 5), (2, 4), (4, 5)}
    with pytest.raises(ValueError, match="no void is filled by the tetrahedron of rows 0, 1, 2, 4"):
        void(vectors, 6, np.array([0, 1, 2, 4]))
    with pytest.raises(ValueError, match=r"no void is filled by the tetrahedron of rows 0, 3$"):
        void(vectors, 6, np.array([0, 3]))  # All that is known where the void is seen in another field only.
