"""Compares two levels of a factor: their difference, its interval, its effect size, and a permutation test."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from panic_assets.statistics.effects import cliffs_delta, hedges_g
from panic_assets.statistics.resampling import bootstrap, permutation_test


@dataclass(frozen=True)
class Contrast:
    """First minus other."""

    mean: float
    other_mean: float
    rows: int
    other_rows: int
    difference: float
    low: float
    high: float
    """Ends of the bootstrap interval of the difference, over units."""
    hedges_g: float
    """NaN when a side has fewer than two values, or nothing varies."""
    cliffs_delta: float
    p_value: float
    """Of the permutation test: labels exchanged within blocks."""
    permutations: int


def contrast(
    values: np.ndarray,
    first: np.ndarray,
    units: Sequence[Hashable],
    blocks: Sequence[Hashable],
    permutations: int = 999,
    replicates: int = 500,
    seed: int = 0,
) -> Contrast:
    """(n,) values, where `first` (n,) bool says on which side; both sides must have some.

    `units` (runs) are what was sampled: their rows are drawn together. Labels are exchanged within `blocks`: give the
    prompts when a unit is on one side, and the units again when each has a value on both (paired).
    """
    unit = np.unique(np.asarray(units), return_inverse=True)[1]
    paired = bool(np.isin(unit[first], unit[~first]).any())
    sides = np.column_stack([values, first])

    def difference(rows: np.ndarray) -> float:
        mine = rows[:, 1] > 0
        return float(rows[mine, 0].mean() - rows[~mine, 0].mean())

    strata = None if paired else first.tolist()
    interval = bootstrap(sides, unit.tolist(), difference, replicates, seed, blocks=strata)
    tested = permutation_test(values, first.tolist(), blocks, permutations=permutations, seed=seed)
    one, other = values[first], values[~first]
    return Contrast(
        mean=float(one.mean()),
        other_mean=float(other.mean()),
        rows=len(one),
        other_rows=len(other),
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        hedges_g=hedges_g(one, other),
        cliffs_delta=cliffs_delta(one, other),
        p_value=tested.p_value,
        permutations=permutations,
    )
