"""How a run moves: drift, steps, spread, memory, recurrence.

Vectors are (n, d), one row per embedded output, in order. Two measures of distance, named for what they are:
`chord` is the euclidean distance (unit vectors: 0 same, sqrt 2 orthogonal, 2 opposite), `angle` is in radians
(0, pi / 2, pi). Neither is a cosine distance.
"""

from dataclasses import dataclass

import numpy as np


def chord(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distance along the last axis."""
    return np.linalg.norm(np.asarray(first, np.float64) - np.asarray(second, np.float64), axis=-1)


def angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle in radians along the last axis, accurate at 0 and pi where an arc cosine is not (Kahan). NaN for zeros."""
    a, b = (np.asarray(v, np.float64) for v in (first, second))
    with np.errstate(invalid="ignore"):
        a = a / np.linalg.norm(a, axis=-1, keepdims=True)
        b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


def drift(vectors: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(n,) chord from the origin, which is the prompt's vector (of the same model) or the run's first."""
    return chord(vectors, origin)


def steps(vectors: np.ndarray) -> np.ndarray:
    """(n - 1,) chord from each output to the next."""
    return chord(vectors[1:], vectors[:-1])


def mean_squared_displacement(vectors: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """(lags,) mean over t of |x(t + lag) - x(t)|^2; NaN where the run is not longer than the lag.

    Linear in the lag for a free walk, level (twice the variance) once a run moves within bounds.
    """
    x = vectors.astype(np.float64)
    return np.array([((x[k:] - x[: len(x) - k]) ** 2).sum(axis=1).mean() if k < len(x) else np.nan for k in lags])


def autocorrelation(vectors: np.ndarray, longest: int) -> np.ndarray:
    """(longest + 1,) normalised autocovariance of (n,) or (n, d) values, summed over coordinates; 1 at lag 0.

    The mean is subtracted and the biased (1 / n) estimate used, which keeps the sequence positive definite.
    A series that never changes has no memory to measure: NaN.
    """
    x = vectors.astype(np.float64).reshape(len(vectors), -1)
    x = x - x.mean(axis=0) if len(x) else x
    n, longest = len(x), min(longest, max(len(x) - 1, 0))
    power = np.abs(np.fft.rfft(x, 2 * n, axis=0)) ** 2 if n else np.zeros((1, 1))
    covariance = np.fft.irfft(power.sum(axis=1), max(2 * n, 1))[: longest + 1]
    scale = (x**2).sum()
    return covariance / scale if scale > 1e-24 * max(n, 1) else np.full(longest + 1, np.nan)


def autocorrelation_time(vectors: np.ndarray, window: float = 5.0) -> float:
    """Integrated autocorrelation time 1 + 2 sum rho(k) in steps, summed up to the first lag >= `window` times itself.

    (Sokal's window.) n / this is the number of independent outputs. Trust it when the run is 50 times as long.
    """
    rho = autocorrelation(vectors, len(vectors) - 1)
    if not np.isfinite(rho).all() or len(rho) < 2:
        return float("nan")
    times = 2 * np.cumsum(rho) - 1
    enough = np.flatnonzero(np.arange(len(rho)) >= window * times)
    return float(times[enough[0]] if len(enough) else times[-1])


@dataclass(frozen=True)
class Recurrence:
    """Recurrence quantification (Marwan et al. 2007). Shares are of recurrent points off the main diagonal."""

    radius: float
    rate: float
    """Share of pairs of times at which the run is in the same place."""
    determinism: float
    """Share on diagonal lines of at least `shortest` points: stretches that are walked again in the same order."""
    mean_diagonal: float
    longest_diagonal: int
    diagonal_entropy: float
    """Shannon entropy, in nats, of the lengths of those lines."""
    laminarity: float
    """Share on vertical lines of at least `shortest` points: places where the run stays."""
    trapping_time: float
    """Mean length of those lines."""


def recurrent(vectors: np.ndarray, radius: float) -> np.ndarray:
    """(n, n) bool recurrence plot: whether two outputs are within `radius` of each other (0: equal vectors)."""
    from scipy.spatial.distance import pdist, squareform

    near = squareform((pdist(vectors.astype(np.float64)) <= radius).astype(np.int8)).astype(bool)
    np.fill_diagonal(near, True)
    return near


def quantify(near: np.ndarray, radius: float, shortest: int = 2) -> Recurrence:
    """Recurrence quantification of a recurrence plot. Everything is 0 when nothing recurs."""
    n = len(near)
    above = [_lengths(np.diagonal(near, k)) for k in range(1, n)]
    diagonal = np.concatenate(above) if above else np.empty(0, np.int64)
    off = near & ~np.eye(n, dtype=bool)
    # One padded pass over all columns: a line cannot run on into the next column.
    vertical = _lengths(np.vstack([off, np.zeros((1, n), dtype=bool)]).T.ravel())
    long_diagonal, long_vertical = diagonal[diagonal >= shortest], vertical[vertical >= shortest]
    _, frequency = np.unique(long_diagonal, return_counts=True)
    share = frequency / max(frequency.sum(), 1)
    return Recurrence(
        radius=radius,
        rate=float(off.sum() / max(n * (n - 1), 1)),
        determinism=float(long_diagonal.sum() / max(diagonal.sum(), 1)),
        mean_diagonal=float(long_diagonal.mean()) if len(long_diagonal) else 0.0,
        longest_diagonal=int(diagonal.max(initial=0)),
        diagonal_entropy=max(0.0, float(-(share * np.log(share)).sum())),
        laminarity=float(long_vertical.sum() / max(vertical.sum(), 1)),
        trapping_time=float(long_vertical.mean()) if len(long_vertical) else 0.0,
    )


def _lengths(line: np.ndarray) -> np.ndarray:
    """Lengths of the stretches of True."""
    edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0))
    return edges[1::2] - edges[::2]
