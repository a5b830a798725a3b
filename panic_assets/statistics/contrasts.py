"""Compares two levels of a factor: their difference, its interval, its effect size, and a permutation test.

All are about other runs of the same blocks (prompts) under the same two levels: runs are what chance drew, blocks are given.
How much blocks differ from each other enters none of them.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from panic_assets.statistics.effects import cliffs_delta, hedges_g
from panic_assets.statistics.resampling import permutation_test


@dataclass(frozen=True)
class Contrast:
    """First minus other."""

    mean: float
    other_mean: float
    rows: int
    other_rows: int
    difference: float
    """Mean difference within blocks. A block with n and m values weighs n m / (n + m)."""
    low: float
    high: float
    """Ends of the 95% interval of the difference. NaN where no block has two values on a side, or too few pairs."""
    hedges_g: float
    """NaN when no cell has two values, or nothing varies within cells."""
    cliffs_delta: float
    p_value: float
    """Of the permutation test: labels exchanged within blocks."""
    permutations: int


def contrast(
    values: np.ndarray,
    first: np.ndarray,
    blocks: Sequence[Hashable],
    cells: Sequence[Hashable] | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Contrast:
    """(n,) values, where `first` (n,) bool says on which side; every block must have some on both.

    `blocks` are the prompts where each run is on one side, and the runs where each has a value on both (pairs). `cells`
    are what runs on one side must share to differ by chance alone: the blocks unless given, for pairs the prompts.
    """
    block = np.unique(np.asarray(blocks), return_inverse=True)[1]
    sides = [np.flatnonzero(first), np.flatnonzero(~first)]
    counts = np.array([np.bincount(block[side], minlength=block.max() + 1) for side in sides])
    if not counts.all():
        raise ValueError("a block has values on one side only; there is nothing to compare them with")
    means = [np.bincount(block[side], values[side]) / count for side, count in zip(sides, counts, strict=True)]
    differences, weights = means[0] - means[1], 1 / (1 / counts).sum(axis=0)
    difference = float(np.average(differences, weights=weights))
    if (counts == 1).all():
        error, degrees = _error_of_pairs(differences)
    else:
        error, degrees = _error_within(values, block, sides, counts, weights / weights.sum())
    reach = _quantile(degrees) * error
    kind = block if cells is None else np.unique(np.asarray(cells), return_inverse=True)[1]
    tested = permutation_test(values, first.tolist(), blocks, permutations=permutations, seed=seed)
    one, other = values[first], values[~first]
    return Contrast(
        mean=float(one.mean()),
        other_mean=float(other.mean()),
        rows=len(one),
        other_rows=len(other),
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        hedges_g=hedges_g(difference, *map(sum, zip(*(_within(values[s], kind[s]) for s in sides), strict=True))),
        cliffs_delta=cliffs_delta(one, other),
        p_value=tested.p_value,
        permutations=permutations,
    )


def _within(values: np.ndarray, cell: np.ndarray) -> tuple[float, int]:
    """(sum of squares around the means of cells, its degrees of freedom)."""
    cell = np.unique(cell, return_inverse=True)[1]
    count = np.bincount(cell)
    residuals = values - (np.bincount(cell, values) / count)[cell]
    return float((residuals**2).sum()), len(values) - len(count)


def _error_of_pairs(differences: np.ndarray) -> tuple[float, float]:
    """(standard error of their mean, its degrees of freedom)."""
    squares, degrees = _within(differences, np.zeros(len(differences), dtype=np.int64))
    return float(np.sqrt(squares / max(degrees, 1) / len(differences))), degrees


def _error_within(
    values: np.ndarray, block: np.ndarray, sides: list[np.ndarray], counts: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """The same for means within blocks, each side with a variance of its own (Welch, Satterthwaite).

    The variance is pooled over the blocks of a side: a block of two to four runs is too few to resample.
    """
    found = [_within(values[side], block[side]) for side in sides]
    if not all(degrees for _, degrees in found):
        return 0.0, 0
    parts = [(squares / d * (weights**2 / c).sum(), d) for (squares, d), c in zip(found, counts, strict=True)]
    total = sum(part for part, _ in parts)
    if not total:
        return 0.0, sum(d for _, d in parts)
    return float(np.sqrt(total)), float(total**2 / sum(part**2 / d for part, d in parts))


def _quantile(degrees: float) -> float:
    """Of Student's t at 97.5%; NaN without degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975)) if degrees else float("nan")
