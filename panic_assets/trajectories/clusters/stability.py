"""Whether clusters are in the data or made by the method: the same clustering again, on other draws of the data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from panic_assets.statistics.distinct import distinct
from panic_assets.trajectories.clusters.clustering import OUTLIER
from panic_assets.trajectories.clusters.reachability import core_distances


@dataclass(frozen=True)
class Stability:
    """How much of a clustering comes back on other draws of the data."""

    agreement: float
    """Mean adjusted Rand index with the original on the rows drawn, outliers as a class of their own; 1: identical."""
    jaccard: np.ndarray
    """(clusters,): mean largest overlap of each cluster with a cluster found again (Hennig 2007).

    Above 0.85 highly stable, below 0.6 do not trust it. NaN where it was never drawn.
    """
    draws: int


def stability(
    vectors: np.ndarray,
    labels: np.ndarray,
    again: Callable[[np.ndarray, int], np.ndarray],
    draws: int = 10,
    share: float = 0.8,
    seed: int = 0,
) -> Stability:
    """Compares `labels` with `again(subsample, seed)` on `draws` subsamples, each a `share` of the rows.

    A `share` of 1 asks for stability against the seed alone.
    """
    from sklearn.metrics import adjusted_rand_score

    n, clusters = len(vectors), int(labels.max(initial=OUTLIER)) + 1
    scores, overlaps = [], np.full((draws, clusters), np.nan)
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        chosen = np.sort(rng.permutation(n)[: max(1, round(share * n))]) if share < 1 else np.arange(n)
        found, kept = again(vectors[chosen], seed + draw), labels[chosen]
        scores.append(adjusted_rand_score(kept, found))
        shared = np.zeros((clusters + 1, int(found.max(initial=OUTLIER)) + 2))
        np.add.at(shared, (kept, found), 1)  # -1 is the last row and column
        union = shared.sum(1)[:clusters, None] + shared.sum(0)[None, :-1] - shared[:clusters, :-1]
        with np.errstate(invalid="ignore"):
            best = (shared[:clusters, :-1] / union).max(axis=1, initial=0.0)
        overlaps[draw] = np.where(shared.sum(1)[:clusters] > 0, best, np.nan)
    seen = np.isfinite(overlaps)
    mean = np.nansum(overlaps, axis=0) / np.maximum(seen.sum(axis=0), 1)
    return Stability(float(np.mean(scores)), np.where(seen.any(axis=0), mean, np.nan), draws)


def likeness(labels: np.ndarray, others: Sequence[np.ndarray]) -> float:
    """Adjusted Rand index with the most alike of several clusterings of the same rows, outliers a class of their own."""
    from sklearn.metrics import adjusted_rand_score

    return max(float(adjusted_rand_score(labels, other)) for other in others)


def assign(new: np.ndarray, vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Clusters for new vectors, without clustering again: (k,) labels, -1 for outliers.

    A new vector joins the cluster of the nearest known vector if it is no farther from it than the members of
    that cluster are, at most, from their own nearest other member. A vector known as an outlier stays one.
    It never makes or merges clusters: when outliers gather, cluster again.
    """
    from sklearn.neighbors import NearestNeighbors

    if not len(new) or not len(vectors):
        return np.full(len(new), OUTLIER, dtype=np.int64)
    reach = np.zeros(int(labels.max(initial=OUTLIER)) + 2)
    reach[-1] = -1.0  # nothing joins the outliers
    for cluster in range(len(reach) - 1):
        members = vectors[labels == cluster]
        members = members[distinct(members).first]
        if len(members) > 1:
            reach[cluster] = core_distances(members, 2).max()
    distance, nearest = (found[:, 0] for found in NearestNeighbors(n_neighbors=1).fit(vectors).kneighbors(new))
    label = labels[nearest]
    return np.where(distance <= reach[label] * (1 + 1e-6), label, OUTLIER)
