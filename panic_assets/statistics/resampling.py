"""Permutation tests over what was sampled: whole runs, in blocks, not rows.

Rows of one run are not independent. The test gives whole units another label, and only within their block (their
prompt, say), where labels could have been otherwise.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

BATCH = 1_000_000
"""Values that are shuffled at once."""


@dataclass(frozen=True)
class Permutation:
    """A permutation test of no difference between groups."""

    statistic: float
    """Share of the variance within blocks that the groups explain, 0 to 1."""
    p_value: float
    """(1 + permutations at least as large) / (1 + permutations)."""
    units: int
    permutations: int


def permutation_test(
    values: np.ndarray,
    groups: Sequence[Hashable],
    blocks: Sequence[Hashable] | None = None,
    units: Sequence[Hashable] | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Permutation:
    """Whether group means differ, for (n,) values. Rows of a unit are averaged first: they are one observation."""
    values = np.asarray(values, dtype=np.float64)
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    block = np.unique(np.asarray(blocks), return_inverse=True)[1] if blocks is not None else np.zeros_like(group)
    if units is not None:
        unit = np.unique(np.asarray(units), return_inverse=True)[1]
        values = np.bincount(unit, values) / np.bincount(unit)
        first = np.unique(unit, return_index=True)[1]
        if (group[first][unit] != group).any() or (block[first][unit] != block).any():
            raise ValueError("a unit has rows in several groups or blocks; labels can only be exchanged between units")
        group, block = group[first], block[first]
    centred = values - (np.bincount(block, values) / np.bincount(block))[block]
    total = float((centred**2).sum())
    # Sorting random keys within blocks shuffles all blocks at once; a row of keys is a permutation.
    order = np.argsort(block, kind="stable")
    member = (group[order][:, None] == np.arange(group.max() + 1)).astype(np.float64)

    def between(shuffled: np.ndarray) -> np.ndarray:
        sums = shuffled @ member
        return (sums**2 / member.sum(axis=0)).sum(axis=-1) / total if total > 0 else np.zeros(len(shuffled))

    observed = float(between(centred[order][None])[0])
    rng = np.random.default_rng(seed)
    larger, at_once = 0, max(1, BATCH // len(group))
    for start in range(0, permutations, at_once):
        keys = block + rng.random((min(at_once, permutations - start), len(group)))
        larger += int((between(centred[np.argsort(keys, axis=1)]) >= observed * (1 - 1e-12)).sum())
    return Permutation(observed, (1 + larger) / (1 + permutations), len(values), permutations)
