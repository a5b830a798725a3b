"""How large a difference is, in units that do not depend on the number of observations."""

import numpy as np


def hedges_g(difference: float, squares: float, degrees: int) -> float:
    """A difference of means in standard deviations, corrected for small samples.

    The deviation is that within groups: `squares` is the sum of squares around their means, with its degrees of freedom.
    NaN without any of either.
    """
    if not degrees or not squares:
        return float("nan")
    return float(difference / np.sqrt(squares / degrees) * (1 - 3 / (4 * degrees - 1)))


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> float:
    """P(first > second) - P(first < second), from -1 to 1; needs no spread and no normality. NaN when one is empty."""
    if not len(first) or not len(second):
        return float("nan")
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left").sum()
    above = (len(second) - np.searchsorted(ordered, first, side="right")).sum()
    return float((below - above) / (len(first) * len(second)))
