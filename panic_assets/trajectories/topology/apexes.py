"""What completes an edge to the simplex that changes homology when the edge joins a Vietoris-Rips complex.

The edge uv comes with all simplices that it is the longest edge of: those of its *lune*, the points already adjacent
to both of its ends. Two components of the lune make a triangle that ends a loop, or makes a void; a loop in the lune
that nothing fills makes a tetrahedron that ends a void (relative homology, see `lunes`). Where one edge does several
of these, each gets a component or loop of its own; which of them gets which is a matter of choice.
"""

from collections import Counter
from functools import cache

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

NOTHING = -1


class Apexes:
    """Completes edges of one cloud, given as the (n, n) ranks of its edges; the same edge differently each time."""

    def __init__(self, ranks: np.ndarray) -> None:
        self._ranks = ranks
        self._taken: Counter[tuple[str, int]] = Counter()
        self._points, self._edges = cache(self._points_of), cache(self._edges_of)

    def point(self, u: int, v: int) -> int:
        """A point that makes the edge a triangle."""
        found = self._points(u, v)
        return found[self._take("point", u, v) % len(found)]

    def edge(self, u: int, v: int) -> tuple[int, int]:
        """The ends of an edge that makes the edge a tetrahedron; nothing where the loop is seen in another field only."""
        found = self._edges(u, v)
        return found[self._take("edge", u, v) % len(found)] if found else (NOTHING, NOTHING)

    def _take(self, kind: str, u: int, v: int) -> int:
        key = kind, int(self._ranks[u, v])
        self._taken[key] += 1
        return self._taken[key]

    def _points_of(self, u: int, v: int) -> list[int]:
        points, ranks = lune(self._ranks, u, v)
        _, label = connected_components(csr_array(ranks < self._ranks[u, v]), directed=False)
        return points[np.unique(label, return_index=True)[1]].tolist()

    def _edges_of(self, u: int, v: int) -> list[tuple[int, int]]:
        from panic_assets.trajectories.topology.lunes import pairs

        points, ranks = lune(self._ranks, u, v)
        if len(points) < 4:
            return []
        between = squareform(ranks, checks=False)
        order = np.argsort(between)
        there = int((between < self._ranks[u, v]).sum())
        found = pairs(order, len(points))
        assert found is not None  # without a budget nothing gives up
        open_loops = found.births[(found.births < there) & (found.deaths >= there)]
        return [(int(a), int(b)) for a, b in points[ends(len(points))[order[open_loops]]]]


def lune(ranks: np.ndarray, u: int, v: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the lune of an edge, and the ranks between them, given the (n, n) ranks of all edges."""
    points = np.flatnonzero(np.maximum(ranks[u], ranks[v]) < ranks[u, v])
    return points, ranks[np.ix_(points, points)]


def ends(n: int) -> np.ndarray:
    """(n (n - 1) / 2, 2): the two ends of each edge in scipy's condensed order."""
    return np.column_stack(np.triu_indices(n, 1))
