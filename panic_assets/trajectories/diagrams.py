"""Persistence diagrams of point clouds: Vietoris-Rips filtration of the chord (euclidean) distance.

Exact before fast, in two places where the usual call is neither:

- Equal vectors are one point. Computed from inner products, as most code does, their distance comes out
  as 5e-8 instead of 0 and every repeat adds a bar of that length.
- giotto-ph computes in float32. Persistent homology depends on the *order* of the distances only, so it
  is given their ranks, written as consecutive float32 numbers, and the float64 distances are looked up
  afterwards. Distances that differ by no more than rounding share a rank: a regular polygon has one
  side length, not n that differ in the last bit and open bars of length 1e-16.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform

from panic_assets.trajectories.distinct import distinct

_ROUNDING = 2.0**-40
"""Relative difference below which two distances are one: 4,000 float64 steps, a fraction of a float32 one."""

_SMALLEST_NORMAL = 0x00800000
"""The bits of the smallest normal float32: rank r is the float32 that is r steps above it."""


@dataclass(frozen=True)
class Bars:
    """A persistence diagram as rows, sorted by dimension, birth, death. Bars of length zero are left out."""

    dimension: np.ndarray
    """(b,) int32: homology dimension."""
    birth: np.ndarray
    """(b,) float64, in units of distance."""
    death: np.ndarray
    """(b,) float64; infinity for the one class that never dies (H0)."""

    def __len__(self) -> int:
        return len(self.dimension)

    def of(self, dimension: int, finite: bool = False) -> np.ndarray:
        """(b, 2) float64 births and deaths of one dimension; `finite` leaves infinite bars out."""
        chosen = self.dimension == dimension
        if finite:
            chosen &= np.isfinite(self.death)
        return np.column_stack([self.birth[chosen], self.death[chosen]])


@dataclass(frozen=True)
class Summary:
    """What one dimension of a diagram amounts to. Everything but `bars` is over finite bars."""

    dimension: int
    bars: int
    finite: int
    entropy: float
    total_persistence: float
    maximal_persistence: float


def diagram(vectors: np.ndarray, max_dimension: int = 1) -> Bars:
    """The persistence diagram of the rows of (n, d) `vectors` in dimensions 0 to `max_dimension`.

    No rows: no bars. One distinct row, however often: one infinite H0 bar. In general m distinct rows have
    m - 1 finite H0 bars and an infinite one; higher classes all die at the latest at the enclosing radius.
    """
    points = vectors[distinct(vectors).first].astype(np.float64)
    if len(points) < 2:
        return bars_of([(0, 0.0, np.inf)] * len(points))
    from gph import ripser_parallel

    codes, distances = ranked(pdist(points))
    computed = ripser_parallel(squareform(codes), metric="precomputed", maxdim=max_dimension)["dgms"]
    return bars_of(
        (dimension, birth, death)
        for dimension, pairs in enumerate(computed)
        for birth, death in unranked(np.asarray(pairs, dtype=np.float32), distances)
    )


def ranked(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances as ranks: (float32 codes in the same order as the distances, float64 distance of each rank).

    Codes are consecutive float32 numbers, so 2e9 ranks are told apart (65,000 points in general position).
    """
    order = np.argsort(distances)
    ascending = distances[order]
    opens = np.empty(len(ascending), dtype=bool)
    opens[0] = True
    np.greater(np.diff(ascending), _ROUNDING * ascending[1:], out=opens[1:])
    bits = np.empty(len(ascending), dtype=np.int32)
    bits[order] = np.cumsum(opens, dtype=np.int32) + np.int32(_SMALLEST_NORMAL - 1)
    return bits.view(np.float32), ascending[opens]


def unranked(codes: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Codes back to float64 distances: 0 stays 0 and infinity stays infinity."""
    ranks = np.ascontiguousarray(codes).view(np.int32) - _SMALLEST_NORMAL
    values = distances[np.clip(ranks, 0, len(distances) - 1)]
    return np.where(np.isinf(codes), np.inf, np.where(codes == 0, 0.0, values))


def bars_of(rows: Iterable[tuple[int, float, float]]) -> Bars:
    """Bars from (dimension, birth, death) rows, in any order."""
    table = np.array([row for row in rows if row[2] > row[1]], dtype=np.float64).reshape(-1, 3)
    table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
    return Bars(table[:, 0].astype(np.int32), table[:, 1], table[:, 2])


def entropy(bars: Bars, dimension: int) -> float:
    """Persistent entropy in nats over the finite bars of one dimension; 0 when there are none.

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
        rows.append(
            Summary(
                dimension=dimension,
                bars=int((bars.dimension == dimension).sum()),
                finite=len(lengths),
                entropy=entropy(bars, dimension),
                total_persistence=float(lengths.sum()),
                maximal_persistence=float(lengths.max(initial=0.0)),
            )
        )
    return rows
