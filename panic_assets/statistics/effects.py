"""How large a difference is, in units that do not depend on the number of observations."""

import numpy as np


def hedges_g(first: np.ndarray, second: np.ndarray) -> float:
    """Difference of means (first minus second) in pooled standard deviations, corrected for small samples.

    NaN with fewer than two values on a side or without any spread.
    """
    n, m = len(first), len(second)
    if n < 2 or m < 2:
        return float("nan")
    pooled = np.sqrt(((n - 1) * np.var(first, ddof=1) + (m - 1) * np.var(second, ddof=1)) / (n + m - 2))
    if pooled == 0:
        return float("nan")
    return float((np.mean(first) - np.mean(second)) / pooled * (1 - 3 / (4 * (n + m) - 9)))


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> float:
    """P(first > second) - P(first < second), from -1 to 1; needs no spread and no normality. NaN when one is empty."""
    if not len(first) or not len(second):
        return float("nan")
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left").sum()
    above = (len(second) - np.searchsorted(ordered, first, side="right")).sum()
    return float((below - above) / (len(first) * len(second)))
