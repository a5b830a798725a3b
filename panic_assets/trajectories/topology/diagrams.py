"""Persistence diagrams of point clouds: Vietoris-Rips filtration of the chord (euclidean) distance.

Exact before fast, in two places where the usual call is neither:

- Equal vectors are one point. Computed from inner products, as most code does, their distance comes out
  as 5e-8 instead of 0 and every repeat adds a bar of that length.
- Births and deaths are the float64 distances of the edges that cause them. giotto-ph computes in float32;
  but persistence depends on the *order* of the distances only, so it is given their ranks.

Dimensions 0 and 1 mod 2 go through `lunes`, everything else through giotto-ph. `diagram` is exact however long it takes; `budgeted` answers in time, if need be from landmarks and with a certified error bound.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform

from panic_assets.errors import UserError
from panic_assets.statistics.distinct import distinct
from panic_assets.trajectories.topology.apexes import Apexes, ends

ROUNDING = 2.0**-40
"""A bar shorter than this share of its death is left out: that is 4,000 steps of float64, less than one of float32."""

SAME = 8
"""Directions this many steps of their precision apart are one: each component is rounded, and the length as well."""

SMALL = 128
"""Up to this many points a diagram takes about a second, and needs no budget."""

_SMALLEST_NORMAL = 0x00800000
"""The bits of the smallest normal float32: rank r is the float32 that is r steps above it."""

_OPERATIONS = 1e9
"""Word operations of `lunes` in a second, nominally: a budget that does not depend on the machine."""


@dataclass(frozen=True)
class Bars:
    """A persistence diagram as rows, sorted by dimension, birth, death. Bars of length zero are left out.

    Generators come along, as rows of `vectors` (of equal rows the first): the simplex that makes the class and the
    one that ends it. The first two are its longest edge, whose length is the birth or the death; -1 fills up (births
    in H0 and infinite deaths have none).
    """

    dimension: np.ndarray
    """(b,) int32: homology dimension."""
    birth: np.ndarray
    """(b,) float64, in units of distance."""
    death: np.ndarray
    """(b,) float64; infinity for the one class that never dies (H0)."""
    birth_simplex: np.ndarray
    """(b, 3) int64: an edge in H1, a triangle in H2."""
    death_simplex: np.ndarray
    """(b, 4) int64: an edge in H0, a triangle in H1, a tetrahedron in H2."""

    def __len__(self) -> int:
        return len(self.dimension)

    def of(self, dimension: int, finite: bool = False) -> np.ndarray:
        """(b, 2) float64 births and deaths of one dimension; `finite` leaves infinite bars out."""
        chosen = self.dimension == dimension
        if finite:
            chosen &= np.isfinite(self.death)
        return np.column_stack([self.birth[chosen], self.death[chosen]])


@dataclass(frozen=True)
class Diagram:
    """Bars, and what they were computed from."""

    bars: Bars
    rows: np.ndarray
    """(m,) int64: the rows of `vectors` that were used, one for each distinct vector or landmark."""
    distinct: int
    """Distinct vectors there were; more than `len(rows)` when landmarks stood in for them."""
    error_bound: float
    """Bottleneck distance to the exact diagram, in every dimension, is at most this. 0: this is the exact one."""

    @property
    def approximate(self) -> bool:
        """Whether landmarks stood in for the cloud."""
        return len(self.rows) < self.distinct


@dataclass(frozen=True)
class Summary:
    """Numbers that summarise one dimension of a diagram. All but `bars` count finite bars only."""

    dimension: int
    bars: int
    finite: int
    entropy: float
    normalised_entropy: float
    """Entropy divided by its largest possible value, ln of the number of bars; 0 for fewer than two bars."""
    total_persistence: float
    maximal_persistence: float


def diagram(vectors: np.ndarray, max_dimension: int = 1, field: int = 2) -> Bars:
    """The persistence diagram of the rows of (n, d) `vectors` in dimensions 0 to `max_dimension`.

    Coefficients are integers modulo the prime `field`. No rows: no bars. One distinct row, however often: one
    infinite H0 bar. In general m distinct rows have m - 1 finite H0 bars and an infinite one; higher classes
    all die, at the latest at the enclosing radius.
    """
    bars = _bars(vectors, distinct(vectors).first, max_dimension, field)
    assert bars is not None  # without a budget nothing gives up
    return bars


def budgeted(
    vectors: np.ndarray, max_dimension: int = 1, field: int = 2, seconds: float = 60, gigabytes: float = 4
) -> Diagram:
    """Like `diagram`, but done within about `seconds` (nominal seconds where `lunes` computes) and `gigabytes`.

    What does not fit is computed from landmarks: farthest-point samples of a half, a quarter, ... of the
    points, each given half of the time that is left. Every point is within the covering radius r of a
    landmark, hence (Chazal, de Silva, Oudot 2014) the bottleneck distance to the exact diagram is at most 2 r.
    """
    rows = distinct(vectors).first
    bars = _bars(vectors, rows, max_dimension, field, seconds / 2, gigabytes * 1e9)
    if bars is not None:
        return Diagram(bars, rows, len(rows), 0.0)
    order, radii = farthest_points(vectors[rows], len(rows) // 2)
    kept = len(order)
    while bars is None:
        seconds /= 2
        landmarks = rows[order[:kept]]
        bars = _bars(vectors, landmarks, max_dimension, field, seconds / 2, gigabytes * 1e9)
        if bars is None:
            kept //= 2
    return Diagram(bars, landmarks, len(rows), 2 * float(radii[kept - 1]))


def farthest_points(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Greedy landmarks, each the point farthest from those before, and the covering radius after each.

    Starts at the first point. (count,) int64 and (count,) float64; at most all points, whose radius is 0.
    """
    points = points.astype(np.float64)
    chosen = np.zeros(min(count, len(points)), dtype=np.int64)
    radii = np.zeros(len(chosen))
    nearest = np.full(len(points), np.inf)
    for i in range(len(chosen)):
        chosen[i] = 0 if i == 0 else np.argmax(nearest)
        np.minimum(nearest, cdist(points[chosen[i]][None], points)[0], out=nearest)
        radii[i] = nearest.max()
    return chosen, radii


def used_rows(vectors: np.ndarray, used: int) -> np.ndarray:
    """(used,) int64: the rows of `vectors` that `budgeted` made a diagram of that used `used` points."""
    rows = distinct(vectors).first
    return rows[farthest_points(vectors[rows], used)[0]] if used < len(rows) else rows


def _bars(
    vectors: np.ndarray,
    rows: np.ndarray,
    max_dimension: int,
    field: int,
    seconds: float = np.inf,
    memory: float = np.inf,
) -> Bars | None:
    """Bars of some rows, all distinct; None when that does not fit into the budget. Small clouds always do."""
    points = vectors[rows].astype(np.float64)
    n = len(points)
    if n < 2:
        return bars_of([(0, 0.0, np.inf)] * n)
    if n > SMALL and 20.0 * n * n > memory:
        return None
    distances = pdist(points)
    order = np.argsort(distances)
    found: list[Class] | None
    if max_dimension <= 1 and field == 2:
        if n <= SMALL:
            seconds = memory = np.inf
        found = _lunes(order, n, max_dimension, seconds, memory)
    elif n <= SMALL or (np.isinf(seconds) and np.isinf(memory)):
        found = _giotto(order, n, max_dimension, field)
    else:
        from panic_assets.compute.limited import limited

        found = limited(_giotto, order, n, max_dimension, field, seconds=seconds, memory=memory)
    return None if found is None else _measured(found, distances[order], rows, ends(n)[order])


@dataclass(frozen=True)
class Class:
    """The bars of one dimension by the ranks of the edges that make and end them. Infinite bars are left out."""

    births: np.ndarray
    """(b,): rank of the longest edge of the birth simplex; -1 for a birth at 0."""
    deaths: np.ndarray
    """(b,): rank of the longest edge of the death simplex."""
    birth_apexes: np.ndarray
    """(b, 1) points: what else the birth simplex has; -1 for nothing."""
    death_apexes: np.ndarray
    """(b, 2) points: what else the death simplex has."""


def _lunes(order: np.ndarray, n: int, max_dimension: int, seconds: float, memory: float) -> list[Class] | None:
    from panic_assets.trajectories.topology.lunes import pairs

    found = pairs(order, n, seconds * _OPERATIONS, memory)
    if found is None:
        return None
    loops = len(found.births)
    merges = Class(np.full(n - 1, -1), found.tree, _none(n - 1, 1), _none(n - 1, 2))
    apexes = np.column_stack([found.apexes, _none(loops, 1)])
    return [merges, Class(found.births, found.deaths, _none(loops, 1), apexes)][: max_dimension + 1]


def _giotto(order: np.ndarray, n: int, max_dimension: int, field: int) -> list[Class]:
    """Ranks are written as consecutive float32 numbers, which tells 2e9 of them apart (65,000 points)."""
    from gph import ripser_parallel

    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    matrix = squareform((rank + np.int32(_SMALLEST_NORMAL)).view(np.float32))
    generators = ripser_parallel(
        matrix, metric="precomputed", maxdim=max_dimension, coeff=field, return_generators=True
    )["gens"]
    ranks = squareform(rank)
    merges = ranks[generators[0][:, 1], generators[0][:, 2]]
    found = [Class(np.full(n - 1, -1), merges, _none(n - 1, 1), _none(n - 1, 2))]
    complete = Apexes(ranks)
    for edges in generators[1]:
        births, deaths = edges[:, :2], edges[:, 2:]
        lasting = ranks[births[:, 0], births[:, 1]] < ranks[deaths[:, 0], deaths[:, 1]]
        births, deaths = births[lasting], deaths[lasting]
        points, tips = _none(len(births), 1), _none(len(births), 2)
        if len(found) == 1:
            tips[:, 0] = [complete.point(u, v) for u, v in deaths]
        else:
            points[:, 0] = [complete.point(u, v) for u, v in births]
            tips[:] = np.array([complete.edge(u, v) for u, v in deaths]).reshape(-1, 2)
        found.append(Class(ranks[births[:, 0], births[:, 1]], ranks[deaths[:, 0], deaths[:, 1]], points, tips))
    return found


def _none(count: int, width: int) -> np.ndarray:
    return np.full((count, width), -1)


def _measured(found: list[Class], ascending: np.ndarray, rows: np.ndarray, edges: np.ndarray) -> Bars:
    """Ranks as distances and points as rows, without bars of length zero, and with the one infinite bar."""
    births, deaths = (np.concatenate([getattr(c, f) for c in found]) for f in ("births", "deaths"))
    born = np.where(births[:, None] < 0, -1, edges[births])
    birth = np.hstack([born, np.vstack([c.birth_apexes for c in found])])
    death = np.hstack([edges[deaths], np.vstack([c.death_apexes for c in found])])
    dimension = np.repeat(np.arange(len(found)), [len(c.births) for c in found])
    return _sorted(
        Bars(
            dimension=np.append(dimension, 0).astype(np.int32),
            birth=np.append(np.where(births < 0, 0.0, ascending[births]), 0.0),
            death=np.append(ascending[deaths], np.inf),
            birth_simplex=np.vstack([np.where(birth < 0, -1, rows[birth]), _none(1, 3)]),
            death_simplex=np.vstack([np.where(death < 0, -1, rows[death]), _none(1, 4)]),
        )
    )


def _sorted(bars: Bars) -> Bars:
    with np.errstate(invalid="ignore"):
        lasting = np.flatnonzero(np.isinf(bars.death) | (bars.death - bars.birth > ROUNDING * bars.death))
    keys = (*bars.death_simplex.T, *bars.birth_simplex.T, bars.death, bars.birth, bars.dimension)
    order = lasting[np.lexsort([key[lasting] for key in keys])]
    return Bars(**{name: values[order] for name, values in vars(bars).items()})


def bars_of(rows: Iterable[tuple[int, float, float]]) -> Bars:
    """Bars from (dimension, birth, death) rows, in any order, without generators."""
    table = np.array(list(rows), dtype=np.float64).reshape(-1, 3)
    none = _none(len(table), 3), _none(len(table), 4)
    return _sorted(Bars(table[:, 0].astype(np.int32), table[:, 1], table[:, 2], *none))


def directions(vectors: np.ndarray) -> np.ndarray:
    """The vectors at length 1, in float64: chords between them are 2 sin(angle / 2).

    Vectors of one direction give the very same row, however long they are: what rounding makes of them is no distance.
    """
    precision = np.finfo(vectors.dtype).eps if np.issubdtype(vectors.dtype, np.floating) else 0.0
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise UserError(
            f"vector {int(np.argmin(lengths))} is zero, so it has no angle to other vectors; use the metric chord"
        )
    found = vectors / lengths
    return found[_same(found, SAME * max(precision, np.finfo(np.float64).eps))]


def _same(points: np.ndarray, tolerance: float) -> np.ndarray:
    """(n,) for each point the first of those that are within the tolerance of it, mostly itself.

    Such points are neighbours among projections to a line, where few others are as near.
    """
    first = np.arange(len(points))
    if not len(points):
        return first
    along = points @ np.linspace(1, 2, points.shape[1]) / np.sqrt(points.shape[1])
    order = np.argsort(along, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(along[order]) > 2 * tolerance) + 1):
        left = np.sort(group)
        while len(left) > 1:
            near = np.linalg.norm(points[left] - points[left[0]], axis=1) <= tolerance
            first[left[near]] = left[0]
            left = left[~near]
    return first


def angular(found: Diagram) -> Diagram:
    """The diagram of unit vectors under the angle in radians, 2 arcsin(chord / 2), which keeps the order."""
    bars = replace(found.bars, birth=angle_of_chord(found.bars.birth), death=angle_of_chord(found.bars.death))
    covering = angle_of_chord(np.array(found.error_bound / 2))
    return replace(found, bars=bars, error_bound=2 * float(covering))


def angle_of_chord(chord: np.ndarray) -> np.ndarray:
    """Angle in radians between unit vectors at a chord distance of 0 to 2; infinity stays infinity."""
    return np.where(np.isinf(chord), np.inf, 2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def entropy(bars: Bars, dimension: int) -> float:
    """Persistent entropy in nats over the finite bars of one dimension; 0 without any.

    -sum p ln p with p = length / total length: ln of the number of bars when all are equally long.
    """
    lengths = np.diff(bars.of(dimension, finite=True), axis=1).ravel()
    share = lengths / lengths.sum() if len(lengths) else lengths
    return max(0.0, float(-(share * np.log(share)).sum()))


def summary(bars: Bars, max_dimension: int = 1) -> list[Summary]:
    """One row per dimension 0 to `max_dimension`, also for dimensions without bars."""
    rows = []
    for dimension in range(max_dimension + 1):
        lengths = np.diff(bars.of(dimension, finite=True), axis=1).ravel()
        nats = entropy(bars, dimension)
        rows.append(
            Summary(
                dimension=dimension,
                bars=int((bars.dimension == dimension).sum()),
                finite=len(lengths),
                entropy=nats,
                normalised_entropy=nats / float(np.log(len(lengths))) if len(lengths) > 1 else 0.0,
                total_persistence=float(lengths.sum()),
                maximal_persistence=float(lengths.max(initial=0.0)),
            )
        )
    return rows
