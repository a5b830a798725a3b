"""An observed value among values made by chance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Measure = TypeVar("Measure")


@dataclass(frozen=True)
class Standing:
    """Where an observation stands among null values."""

    observed: float
    null_mean: float
    null_deviation: float
    percentile: float
    """0 to 100: share of null values below it, ties counted half. 50 is what chance gives."""
    p_value: float
    """Two-sided, (1 + at least as extreme) / (1 + replicates), doubled: never 0, as no finite null proves that."""
    replicates: int


ROUNDING = 1e-9
"""Values this close, relatively, are ties: a null may keep a measure exactly, but for how it is summed."""


def standing(observed: float, null: np.ndarray) -> Standing:
    """The standing of one observation among finite null values (at least one)."""
    same = np.abs(null - observed) <= ROUNDING * abs(observed)
    below, ties = int((~same & (null < observed)).sum()), int(same.sum())
    above = len(null) - below - ties
    tail = (1 + min(below, above) + ties) / (1 + len(null))
    return Standing(
        observed=float(observed),
        null_mean=float(null.mean()),
        null_deviation=float(null.std(ddof=1)) if len(null) > 1 else 0.0,
        percentile=100 * (below + ties / 2) / len(null),
        p_value=min(1.0, 2 * tail),
        replicates=len(null),
    )


def standings(
    observed: Mapping[Measure, float | None], chance: Sequence[Mapping[Measure, float | None]]
) -> Iterator[tuple[Measure, Standing]]:
    """The standing of each of several measures among replicates of all of them.

    Values that are None or not finite are ignored. A measure without a value, or without null values, is left out.
    """
    for measure, value in observed.items():
        null = np.array([one[measure] for one in chance], dtype=np.float64)  # None becomes NaN.
        null = null[np.isfinite(null)]
        if value is not None and np.isfinite(value) and len(null):
            yield measure, standing(value, null)


def pooled(percentiles: np.ndarray, replicates: int) -> float:
    """Two-sided p-value of (n,) percentiles of independent observations, each among `replicates` null values.

    By chance each is one of 0, 1, ..., `replicates` null values up, all as likely; their mean is taken to be normal. With
    few observations, or ties, p-values up to 0.1 come out too large, not too small. Many observations that lean the same
    way are found where each by itself could not be: two-sided, no single one is below 2 / (replicates + 1).
    """
    from scipy.special import ndtr

    deviation = 100 * np.sqrt((replicates + 2) / (12 * replicates * len(percentiles)))
    return float(2 * ndtr(-abs(np.mean(percentiles) - 50) / deviation))
