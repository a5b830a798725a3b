"""Flat maps of clouds that are not flat: t-SNE, with a figure for how far its neighbourhoods can be trusted."""

from dataclasses import dataclass

import numpy as np

from panic_assets.statistics.distinct import distinct


@dataclass(frozen=True)
class Layout:
    """Positions in the plane. Distances between groups, sizes and densities of groups mean nothing in them."""

    positions: np.ndarray
    """(n, 2) float64."""
    trustworthiness: float
    """0 to 1 (Venna and Kaski 2001): 1 when nothing is near on the map that was not near before. NaN below 8 points."""
    perplexity: float


SAMPLE = 3000
"""Points that trustworthiness, which is quadratic, is measured on."""


def layout(vectors: np.ndarray, seed: int = 0) -> Layout:
    """A map of (n, d) vectors by euclidean distance. Equal vectors get equal positions."""
    rows = distinct(vectors)
    points = vectors[rows.first].astype(np.float64)
    found = _tsne(points, "euclidean", seed)
    return Layout(found.positions[rows.inverse], found.trustworthiness, found.perplexity)


def layout_of_distances(distances: np.ndarray, seed: int = 0) -> Layout:
    """A map from an (n, n) matrix of distances, between diagrams for instance."""
    return _tsne(distances, "precomputed", seed)


def _tsne(points: np.ndarray, metric: str, seed: int) -> Layout:
    n = len(points)
    if n < 8:  # too few for neighbourhoods: on a line, in order
        return Layout(np.column_stack([np.arange(n), np.zeros(n)]).astype(np.float64), float("nan"), float("nan"))
    from openTSNE import TSNE
    from sklearn.manifold import trustworthiness

    perplexity = min(30.0, (n - 1) / 3)
    model = TSNE(
        perplexity=perplexity,
        metric=metric,
        initialization="random" if metric == "precomputed" else "pca",
        neighbors="exact" if n <= SAMPLE else "auto",
        random_state=seed,
        n_jobs=1,  # threads add in no fixed order: with one the same seed gives the same map
    )
    positions = np.asarray(model.fit(points), dtype=np.float64)
    chosen = np.random.default_rng(seed).permutation(n)[:SAMPLE]
    sample = points[np.ix_(chosen, chosen)] if metric == "precomputed" else points[chosen]
    neighbours = min(10, (len(chosen) - 1) // 2)
    trust = float(trustworthiness(sample, positions[chosen], n_neighbors=neighbours, metric=metric))
    return Layout(positions, trust, perplexity)
