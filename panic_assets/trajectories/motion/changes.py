"""Change points: where the mean of a signal jumps, with a penalty that grows with the signal's own noise."""

import numpy as np

from panic_assets.trajectories.clusters.clustering import OUTLIER


def change_points(signal: np.ndarray, shortest: int = 5) -> np.ndarray:
    """Positions where a new segment starts, in an (n,) or (n, d) signal; segments have at least `shortest` values.

    Minimises squared deviations from segment means plus a penalty for each change (PELT; Killick et al. 2012):
    2 v ln n, with v half the mean squared difference of successive values, which a few jumps hardly raise.
    Made for jumps in independent noise. A wandering signal has successive values closer to each other than
    to their mean and is cut into pieces: compare with a surrogate that wanders as much.
    """
    import ruptures

    n = len(signal)
    if n < 2 * shortest:
        return np.empty(0, dtype=np.int64)
    values = np.asarray(signal, dtype=np.float64).reshape(n, -1)
    noise = float((np.diff(values, axis=0) ** 2).sum() / (2 * (n - 1)))
    if noise <= 1e-24 * float((values**2).sum() / n):
        return np.empty(0, dtype=np.int64)
    found = ruptures.KernelCPD(kernel="linear", min_size=shortest).fit(values).predict(pen=2 * noise * np.log(n))
    return np.array(found[:-1], dtype=np.int64)


def indicators(sequence: np.ndarray) -> np.ndarray:
    """(n, clusters): one column per cluster, 1 where the run is in it. Its change points are changes of whereabouts."""
    sequence = np.asarray(sequence)
    clusters = np.unique(sequence[sequence != OUTLIER])
    return (sequence[:, None] == clusters).astype(np.float64)
