"""Compiled loops over pixels: the colours of a picture, how many pixels of each region have each, and sums of them."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def distinct(rgb: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes 0xrrggbb of the distinct colours of uint8 RGB (height, width, 3) as they first occur, int64 (n,); how many
    pixels hold each, int64 (n,); and for every pixel which one it holds, int32 (height, width).

    slots: uint32 (2^24,), with any content. A slot counts only if the colour it points at is its own, so the table need
    not be cleared for the next picture.
    """
    height, width = rgb.shape[:2]
    codes = np.empty(height * width, np.int64)
    counts = np.zeros(height * width, np.int64)
    index = np.empty((height, width), np.int32)
    found = 0
    for y in range(height):
        for x in range(width):
            code = np.int64(rgb[y, x, 0]) << 16 | np.int64(rgb[y, x, 1]) << 8 | np.int64(rgb[y, x, 2])
            if slots[code] >= found or codes[slots[code]] != code:
                slots[code] = found
                codes[found] = code
                found += 1
            counts[slots[code]] += 1
            index[y, x] = slots[code]
    return codes[:found].copy(), counts[:found].copy(), index


@njit(cache=True, nogil=True)
def by_label(labels: np.ndarray, index: np.ndarray, label_count: int, kinds: int) -> np.ndarray:
    """How many pixels with each label hold each kind: int64 (label_count, kinds), from arrays of one shape (h, w)."""
    held = np.zeros((label_count, kinds), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            held[labels[y, x], index[y, x]] += 1
    return held


@njit(cache=True, nogil=True)
def sums(bins: np.ndarray, weights: np.ndarray, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    """Of each bin 0..size-1: the weights' sum, and the weighted sums of `first` and of `second`, each (3, n).

    float64 (7, size).
    """
    total = np.zeros((7, size))
    for i in range(len(bins)):
        at, weight = bins[i], weights[i]
        total[0, at] += weight
        for channel in range(3):
            total[1 + channel, at] += weight * first[channel, i]
            total[4 + channel, at] += weight * second[channel, i]
    return total


@njit(cache=True, nogil=True)
def changes(luma: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Absolute change of luma between neighbouring rows, int64 (height - 1,), and between neighbouring columns, int64
    (width - 1,), each summed over the picture. luma: int16, of each kind; index: which kind each pixel is."""
    height, width = index.shape
    down = np.zeros(max(height - 1, 0), np.int64)
    across = np.zeros(max(width - 1, 0), np.int64)
    above, here = np.empty(width, np.int64), np.empty(width, np.int64)
    for y in range(height):
        for x in range(width):
            here[x] = luma[index[y, x]]
        for x in range(1, width):
            across[x - 1] += abs(here[x] - here[x - 1])
        if y:
            for x in range(width):
                down[y - 1] += abs(here[x] - above[x])
        above, here = here, above
    return down, across


@njit(cache=True, nogil=True)
def edges(luma: np.ndarray, index: np.ndarray, every: int, reach: int, least: int) -> tuple[float, int]:
    """Looks for edges along one row in `every`. Gives the sum over edges of the share of their contrast that a single
    step crosses, and the number of edges. An edge is a step that is the largest among those up to `reach` to either
    side, and that makes with them a contrast of at least `least`."""
    total, count = 0.0, 0
    line = np.empty(index.shape[1], np.int64)
    for y in range(0, index.shape[0], every):
        for x in range(len(line)):
            line[x] = luma[index[y, x]]
        for start in range(len(line) - 2 * reach - 1):
            contrast = abs(line[start + 2 * reach + 1] - line[start])
            if contrast < least:
                continue
            step = abs(line[start + reach + 1] - line[start + reach])
            if step * (2 * reach + 1) < contrast:  # The largest step is at least the mean one.
                continue
            largest = step
            for at in range(start, start + 2 * reach + 1):
                largest = max(largest, abs(line[at + 1] - line[at]))
            if step == largest:
                total += min(step / contrast, 1.0)
                count += 1
    return total, count
