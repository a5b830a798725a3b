"""Representatives of bars of persistence diagrams, mod 2, as rows of the cloud: loops of H1 and voids of H2.

Recomputes pairs for the one bar that is asked for, which keeps diagrams small.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform

from panic_assets.trajectories.topology.apexes import ends, lune
from panic_assets.trajectories.topology.diagrams import used_rows
from panic_assets.trajectories.topology.lunes import pairs


@dataclass(frozen=True)
class Void:
    """A closed surface just before it is filled: every edge of the rounds makes a triangle with each pole."""

    poles: tuple[int, int]
    rounds: list[list[int]]
    """Closed walks, mostly one: the equator."""


def loop(vectors: np.ndarray, used: int, birth_edge: np.ndarray) -> list[list[int]]:
    """Rows of `vectors` round the loop that is born with an edge between two rows, and that its H1 bar's death fills.

    One of many such loops; the birth edge is its longest, and mod 2 it may be several rounds. `used` points were used
    by `diagrams.budgeted`.
    """
    rows = used_rows(vectors, used)
    points = vectors[rows].astype(np.float64)
    rounds = _rounds_born(np.argsort(pdist(points)), len(points), _places(rows, birth_edge))
    if not rounds:
        raise ValueError(f"no loop is born with the edge between rows {birth_edge[0]} and {birth_edge[1]}")
    return [rows[walk].tolist() for walk in rounds]


def void(vectors: np.ndarray, used: int, death_simplex: np.ndarray) -> Void:
    """The sphere that a tetrahedron of four rows fills, its longest edge first: the death of a bar of H2.

    That edge uv joins when everything else in its lune is there. A loop in the lune that nothing fills is the equator
    of a surface with the poles u and v; all of its edges are shorter than uv, and uv fills it. It is homologous to what
    the birth triangle made, which it need not contain.
    """
    rows = used_rows(vectors, used)
    points = vectors[rows].astype(np.float64)
    between = pdist(points)
    ranks = np.empty(len(between), dtype=np.int32)
    ranks[np.argsort(between)] = np.arange(len(between), dtype=np.int32)
    u, v, *chord = _places(rows, death_simplex)
    inside, between = lune(squareform(ranks), u, v)
    order = np.argsort(squareform(between, checks=False))
    rounds: list[list[int]] = []
    if len(chord) == 2 and np.isin(chord, inside).all():
        rounds = _rounds_born(order, len(inside), _places(inside, np.array(chord)))
    if not rounds:
        raise ValueError(f"no void is filled by the tetrahedron of rows {', '.join(map(str, death_simplex))}")
    return Void((int(rows[u]), int(rows[v])), [rows[inside[walk]].tolist() for walk in rounds])


def _places(rows: np.ndarray, wanted: np.ndarray) -> list[int]:
    return [int(np.flatnonzero(rows == row)[0]) for row in wanted]


def _rounds_born(order: np.ndarray, n: int, edge: list[int]) -> list[list[int]]:
    """Closed walks through n points round the loop that opens with an edge; none when none does.

    Edges in scipy's condensed order are sorted by `order`.
    """
    all_edges = ends(n)[order]
    birth = int(np.flatnonzero((all_edges == sorted(edge)).all(axis=1))[0])
    computed = pairs(order, n, loop_of=birth)
    assert computed is not None  # without a budget nothing gives up
    chords = all_edges[computed.loop]
    return list(_walks(np.vstack([chords, _closing(all_edges[computed.tree], chords, n)]))) if len(chords) else []


def _walks(edges: np.ndarray) -> Iterator[list[int]]:
    """Edges of which every point has an even number, as closed walks."""
    left: dict[int, list[int]] = {}
    for a, b in edges.tolist():
        left.setdefault(a, []).append(b)
        left.setdefault(b, []).append(a)
    for start in left:
        while left[start]:
            walk: list[int] = []
            here = start
            while not walk or here != start:
                walk.append(here)
                there = left[here].pop()
                left[there].remove(here)
                here = there
            yield walk


def _closing(tree: np.ndarray, chords: np.ndarray, n: int) -> np.ndarray:
    """The edges of a spanning tree that turn chords into a cycle: those that separate an odd number of ends."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    graph = coo_array((np.ones(len(tree)), (tree[:, 0], tree[:, 1])), shape=(n, n))
    order, parents = breadth_first_order(graph, 0, directed=False)
    odd = np.bincount(chords.ravel(), minlength=n) % 2
    for point in order[:0:-1]:
        odd[parents[point]] ^= odd[point]
    below = order[1:][odd[order[1:]] == 1]
    return np.column_stack([below, parents[below]])
