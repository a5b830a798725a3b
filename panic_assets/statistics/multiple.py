"""Many tests at once."""

from typing import Any

import numpy as np


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """(m,) adjusted p-values of one family of tests; NaN (tests that could not be made) stay NaN and do not count.

    Calling those <= q significant keeps the expected share of false ones among them <= q, for independent or
    positively dependent tests (Benjamini and Hochberg 1995).
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    made = np.flatnonzero(np.isfinite(p))
    order = made[np.argsort(p[made])[::-1]]
    m = len(order)
    adjusted[order] = np.minimum.accumulate(np.minimum(p[order] * m / np.arange(m, 0, -1), 1.0))
    return np.maximum(adjusted, p)  # p m / m may round to less than p


def adjust(rows: list[dict[str, Any]]) -> None:
    """Gives every row of one family of tests its `adjusted_p_value`, from `p_value`."""
    for row, p in zip(rows, benjamini_hochberg(np.array([r["p_value"] for r in rows])), strict=True):
        row["adjusted_p_value"] = float(p)
