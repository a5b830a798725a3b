"""Persistence diagrams as curves and pictures, which can be averaged and compared point by point.

All take a (b, 2) array of births and deaths of one dimension and a grid of filtration values.
"""

import numpy as np


def betti_curve(bars: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """(g,) int64: bars alive at each grid value, birth <= value < death. Infinite bars count."""
    born = np.searchsorted(np.sort(bars[:, 0]), grid, side="right")
    return born - np.searchsorted(np.sort(bars[:, 1]), grid, side="right")


def landscape(bars: np.ndarray, grid: np.ndarray, depth: int = 3) -> np.ndarray:
    """(depth, g): the k-th largest of the tents max(0, min(t - birth, death - t)) (Bubenik 2015). Finite bars only."""
    bars = bars[np.isfinite(bars[:, 1])]
    tents = np.minimum(grid - bars[:, :1], bars[:, 1:] - grid)
    tents = np.vstack([np.maximum(tents, 0.0), np.zeros((depth, len(grid)))])
    return -np.sort(-tents, axis=0)[:depth]


def image(bars: np.ndarray, births: np.ndarray, lengths: np.ndarray, sigma: float) -> np.ndarray:
    """Persistence image (Adams et al. 2017): (len(lengths) - 1, len(births) - 1), over pixel *edges*.

    Each finite bar is a Gaussian of width `sigma` at (birth, length), weighted by its length, integrated over
    each pixel exactly: a pixel size does not change what the image sums to.
    """
    from scipy.special import ndtr

    bars = bars[np.isfinite(bars[:, 1])]
    length = bars[:, 1] - bars[:, 0]
    across = np.diff(ndtr((births - bars[:, :1]) / sigma), axis=1)
    along = np.diff(ndtr((lengths - length[:, None]) / sigma), axis=1)
    return np.einsum("b,bi,bj->ij", length, along, across)
