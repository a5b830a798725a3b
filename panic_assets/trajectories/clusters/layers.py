"""Clusters at several resolutions (EVoC), fast enough for hundreds of thousands of vectors.

EVoC compares by angle and is made for normalised embeddings. It is approximate and random: it is seeded here,
and its answer depends on the seed, which `stability` measures.
"""

import numpy as np

from panic_assets.statistics.distinct import distinct
from panic_assets.trajectories.clusters.clustering import OUTLIER, Partition, partition

COMPILES = "EVoC is compiled when it is first used on a machine; this takes one to two minutes"
PARAMETERS = {"noise_level": 0.5, "base_min_cluster_size": 5, "n_neighbors": 15, "min_samples": 5, "n_epochs": 50}
"""Parameters of EVoC; they are stored with the results."""
SMALLEST = 20
"""With fewer distinct vectors there are no neighbourhoods: everything is an outlier, in one layer."""


def layers(vectors: np.ndarray, seed: int = 0) -> list[Partition]:
    """Partitions of the rows of (n, d) vectors, finest first; equal rows get equal labels."""
    rows = distinct(vectors)
    points = vectors[rows.first].astype(np.float32)
    if len(points) < SMALLEST:
        return [partition(points, rows, np.full(len(points), OUTLIER, dtype=np.int64))]
    import warnings

    from evoc import EVoC

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of logarithms of rounding errors, and of sparse neighbourhoods
        model = EVoC(random_state=seed, **PARAMETERS)
        model.fit_predict(points)
    found = [np.asarray(layer, dtype=np.int64) for layer in model.cluster_layers_]
    found.sort(key=lambda layer: -layer.max(initial=OUTLIER))
    return [partition(points, rows, layer) for layer in found]
