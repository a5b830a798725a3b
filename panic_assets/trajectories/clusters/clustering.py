"""Clusters of vectors: density based (HDBSCAN), with members as centres and outliers said to be outliers."""

from dataclasses import dataclass

import numpy as np

from panic_assets.statistics.distinct import Distinct, distinct
from panic_assets.trajectories.clusters.reachability import spanning_tree

OUTLIER = -1
BRUTE = 10_000
"""Points, at most, whose distances scikit-learn holds all at once: 0.8 GB of them."""


@dataclass(frozen=True)
class Partition:
    """Clusters 0, 1, ... by falling number of rows, then by first member."""

    labels: np.ndarray
    """(n,) int64: the cluster of each row, -1 for an outlier."""
    medoids: np.ndarray
    """(clusters,) int64: for each cluster the row that is its centre, always one of its members."""
    sizes: np.ndarray
    """(clusters,) int64: rows in each cluster."""
    outliers: int
    """Rows in no cluster."""


@dataclass(frozen=True)
class Clustering(Partition):
    """An HDBSCAN partition with its parameters as used."""

    min_cluster_size: int
    min_samples: int


def cluster(vectors: np.ndarray, min_cluster_size: int | None = None, min_samples: int | None = None) -> Clustering:
    """HDBSCAN (excess of mass, euclidean distance) over the distinct rows of (n, d) `vectors`.

    Equal rows get equal labels. A vector that is an outlier among the distinct ones but occurs at least
    `min_cluster_size` times is a cluster by itself: a point of unbounded density.
    Unless given, `min_cluster_size` is a thousandth of the distinct rows and at least 5, and `min_samples`
    is the same as `min_cluster_size`; both are returned as used. Fewer distinct rows than either needs
    are all outliers (unless repeated), as is a single cloud without inner structure.
    """
    rows = distinct(vectors)
    smallest = max(5, len(rows.first) // 1000) if min_cluster_size is None else min_cluster_size
    samples = smallest if min_samples is None else min_samples
    if smallest < 2 or samples < 1:
        raise ValueError(f"min_cluster_size is {smallest} and min_samples {samples}; at least 2 and 1 are needed")
    points = vectors[rows.first].astype(np.float64)
    found = _hdbscan(points, smallest, samples)
    repeated = np.flatnonzero((found == OUTLIER) & (rows.counts >= smallest))
    found[repeated] = found.max(initial=OUTLIER) + 1 + np.arange(len(repeated))
    return Clustering(**vars(partition(points, rows, found)), min_cluster_size=smallest, min_samples=samples)


def _hdbscan(points: np.ndarray, min_cluster_size: int, min_samples: int) -> np.ndarray:
    """Labels of distinct points, in no particular order."""
    if len(points) < max(min_cluster_size, min_samples):
        return np.full(len(points), OUTLIER, dtype=np.int64)
    from scipy.sparse import csr_array
    from sklearn.cluster import HDBSCAN

    if len(points) <= BRUTE:
        whole = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, algorithm="brute", copy=True)
        return whole.fit(points).labels_.astype(np.int64)
    # The tree alone decides the clusters. It needs no matrix, which takes 160 GB for a hundred thousand points.
    pairs, weights = spanning_tree(points, min_samples)
    ends = np.vstack([pairs, pairs[:, ::-1]])
    tree = csr_array((np.tile(weights, 2), ends.T), shape=(len(points), len(points)))
    model = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=1, metric="precomputed", copy=True)
    return model.fit(tree).labels_.astype(np.int64)


def partition(points: np.ndarray, rows: Distinct, found: np.ndarray) -> Partition:
    """Labels of distinct points, in any numbering, as a partition of all rows with medoids."""
    members = [np.flatnonzero(found == label) for label in range(found.max(initial=OUTLIER) + 1)]
    members.sort(key=lambda m: (-rows.counts[m].sum(), rows.first[m[0]]))
    labels = np.full(len(found), OUTLIER, dtype=np.int64)
    for label, member in enumerate(members):
        labels[member] = label
    return Partition(
        labels=labels[rows.inverse],
        medoids=np.array([rows.first[m[medoid(points[m], rows.counts[m])]] for m in members], dtype=np.int64),
        sizes=np.array([rows.counts[m].sum() for m in members], dtype=np.int64),
        outliers=int(rows.counts[labels == OUTLIER].sum()),
    )


def medoid(points: np.ndarray, weights: np.ndarray) -> int:
    """The index of the point with the smallest weighted sum of squared distances to all (the first, if tied).

    For unit vectors these are cosine distances. By the parallel-axis theorem it is the point nearest to
    the weighted mean, so no matrix of distances is needed.
    """
    centre = np.average(points, axis=0, weights=weights)
    return int(np.argmin(((points - centre) ** 2).sum(axis=1)))
