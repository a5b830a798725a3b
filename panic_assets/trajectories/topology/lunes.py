"""Vietoris-Rips homology in dimensions 0 and 1 from the lunes of its edges: fast where giotto-ph hits a cliff.

Edges come one at a time, shortest first. What edge uv adds to the clique complex is itself joined with its
link: the flag complex on its lune, the points already adjacent to both u and v. Hence

- empty lune, u and v in different components: the components merge (the edge of a spanning tree);
- empty lune, same component: a loop is born;
- a lune of c components with a point w1, ..., wc in each: the loops u-w1-v-wi-u, i = 2..c, are filled.
  Nothing else changes in dimension 1, by the relative homology H_k(new, old) = reduced H_{k-2}(link).

A boundary is one column over the births. An edge with a point in its lune is homotopic to the path through
that point, so every loop comes down to edges with empty lunes, and tree edges are determined by the others:
what remains is a bit vector over births, reduced by Gaussian elimination mod 2. For n points this takes
n^2 lunes of n bits and columns as long as there are births, where the usual algorithms walk n^3 triangles.
(The same observation underlies the reduced Vietoris-Rips filtration of Koyama, Memoli, Robins and Turner.)

Functions here are compiled at their first call and cached beside the source.
"""

# Compiled functions infer their types from their arguments.
# mypy: disallow-untyped-defs=False
# ruff: noqa: ANN001, ANN202
from dataclasses import dataclass

import numpy as np
from numba import njit

_ONE = np.uint64(1)
_UNBORN, _TREE, _BRIDGED = -3, -2, -1


@dataclass(frozen=True)
class Pairs:
    """Who dies with whom; edges are named by their rank in the filtration, 0 the shortest."""

    tree: np.ndarray
    """(n - 1,) int64: edges that merge two components."""
    births: np.ndarray
    """(b,) int64: edges that open a loop, ascending."""
    deaths: np.ndarray
    """(b,) int64: for each of them the edge that fills it."""
    apexes: np.ndarray
    """(b,) int64: the point that makes this edge the triangle that fills it."""
    loop: np.ndarray
    """Edges of a representative of the asked-for birth that are not tree edges; empty if none was asked for."""


def pairs(
    order: np.ndarray, n: int, operations: float = np.inf, memory: float = np.inf, loop_of: int = -1
) -> Pairs | None:
    """The persistence pairs of n points whose edges, in scipy's condensed order, are sorted by `order`.

    None when it would take more than `operations` word operations (about a nanosecond each) or its columns
    more than `memory` bytes: a budget that, unlike a clock, gives the same answer on every machine.
    With `loop_of` (an edge that opens a loop) the representative that is filled at its death comes along.
    """
    ranks, first, second, last = _edges(order, n)
    births, deaths, apexes, tree, loop, finished = _reduce(
        ranks, first, second, last, float(operations), float(memory) / 8, loop_of
    )
    return Pairs(tree, births, deaths, apexes, loop) if finished else None


@njit(cache=True)
def _edges(order: np.ndarray, n: int):
    """Ranks as a matrix, the two ends of each rank, and how many edges there are within the enclosing radius."""
    count = len(order)
    rank = np.empty(count, np.int32)
    for r in range(count):
        rank[order[r]] = r
    ranks = np.empty((n, n), np.int32)
    first = np.empty(count, np.int32)
    second = np.empty(count, np.int32)
    farthest = np.zeros(n, np.int32)
    k = 0
    for i in range(n):
        ranks[i, i] = count  # Later than every edge: a point is no way round itself.
        for j in range(i + 1, n):
            r = rank[k]
            k += 1
            ranks[i, j] = r
            ranks[j, i] = r
            first[r] = i
            second[r] = j
            farthest[i] = max(farthest[i], r)
            farthest[j] = max(farthest[j], r)
    # From there on one point is adjacent to all others: the complex is a cone, and nothing is born or dies.
    return ranks, first, second, farthest.min() + 1


@njit(cache=True)
def _reduce(ranks, first, second, last, operations, memory, loop_of):
    n = ranks.shape[0]
    words = (n + 63) // 64
    neighbours = np.zeros((n, words), np.uint64)
    lune = np.empty(words, np.uint64)
    points = np.empty(n, np.int64)
    todo = np.empty(n, np.int64)
    parent = np.arange(n)
    kind = np.full(last, _BRIDGED, np.int32)  # index of the birth, or _TREE, or _BRIDGED
    tree = np.empty(n - 1, np.int64)
    joined = 0
    births = [np.int64(0) for _ in range(0)]
    deaths = [np.int64(0) for _ in range(0)]
    apexes = [np.int64(0) for _ in range(0)]
    columns = [np.empty(0, np.uint64) for _ in range(0)]
    alive = 0
    stored = 0.0
    done = 0.0
    loop = np.empty(0, np.int64)
    for edge in range(last):
        u, v = first[edge], second[edge]
        done += words
        for i in range(words):
            lune[i] = neighbours[u, i] & neighbours[v, i]
        if not lune.any():
            a, b = _root(parent, u), _root(parent, v)
            if a != b:
                parent[a] = b
                kind[edge] = _TREE
                tree[joined] = edge
                joined += 1
            else:
                kind[edge] = len(births)
                births.append(np.int64(edge))
                deaths.append(np.int64(-1))
                apexes.append(np.int64(-1))
                columns.append(np.empty(0, np.uint64))
                alive += 1
        elif alive > 0:
            parts, visited = _components(neighbours, lune, points, todo)
            done += visited * words
            for part in range(1, parts):
                column, steps = _column(ranks, first, second, kind, len(births), u, v, points[0], points[part])
                done += steps * n
                top = len(column) - 1
                while top >= 0:
                    if column[top] == 0:
                        top -= 1
                        continue
                    youngest = 64 * top + highest(column[top])
                    if deaths[youngest] < 0:
                        deaths[youngest] = np.int64(edge)
                        apexes[youngest] = points[part]
                        columns[youngest] = column[: top + 1].copy()
                        stored += top + 1
                        alive -= 1
                        if births[youngest] == loop_of:
                            loop = np.array(
                                [births[k] for k in range(youngest + 1) if column[k // 64] >> np.uint64(k % 64) & _ONE]
                            )
                        break
                    other = columns[youngest]
                    for i in range(top + 1):
                        column[i] ^= other[i]
                    done += top + 1
                if alive == 0:
                    break
        neighbours[u, v // 64] |= _ONE << np.uint64(v % 64)
        neighbours[v, u // 64] |= _ONE << np.uint64(u % 64)
        if done > operations or stored > memory:
            return np.array(births), np.array(deaths), np.array(apexes), tree, loop, False
    return np.array(births), np.array(deaths), np.array(apexes), tree, loop, True


@njit(cache=True)
def _root(parent, x):
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@njit(cache=True)
def _components(neighbours, lune, points, todo):
    """One point of each component of the lune into `points`; (components, points visited). Empties the lune."""
    words = len(lune)
    parts = 0
    visited = 0
    start = 0
    while True:
        while start < words and lune[start] == 0:
            start += 1
        if start == words:
            return parts, visited
        points[parts] = todo[0] = 64 * start + lowest(lune[start])
        lune[start] &= lune[start] - _ONE
        parts += 1
        waiting = 1
        while waiting > 0:
            waiting -= 1
            visited += 1
            x = todo[waiting]
            left = False
            for i in range(start, words):
                new = lune[i] & neighbours[x, i]
                lune[i] ^= new
                left |= lune[i] != 0
                while new:
                    todo[waiting] = 64 * i + lowest(new)
                    waiting += 1
                    new &= new - _ONE
            if not left:
                return parts, visited


@njit(cache=True)
def _column(ranks, first, second, kind, births, u, v, w, x):
    """The loop u-w-v-x-u as bits over births; (column, detours taken)."""
    column = np.zeros((births + 63) // 64, np.uint64)
    todo = [ranks[u, w], ranks[w, v], ranks[v, x], ranks[x, u]]
    detours = 0
    while todo:
        edge = todo.pop()
        birth = kind[edge]
        if birth >= 0:
            column[birth // 64] ^= _ONE << np.uint64(birth % 64)
        elif birth == _BRIDGED:
            p, q = ranks[first[edge]], ranks[second[edge]]
            shortest, via = edge, 0
            for y in range(len(p)):
                longer = max(p[y], q[y])
                if longer < shortest:
                    shortest, via = longer, y
            todo.append(p[via])
            todo.append(q[via])
            detours += 1
    return column, detours


@njit(cache=True, nogil=True)
def lowest(word: np.uint64) -> int:
    """Index of the lowest set bit."""
    return highest(word & (~word + _ONE))


@njit(cache=True, nogil=True)
def highest(word: np.uint64) -> int:
    """Index of the highest set bit."""
    index = 0
    for step in (32, 16, 8, 4, 2, 1):
        if word >> np.uint64(step):
            word >>= np.uint64(step)
            index += step
    return index
