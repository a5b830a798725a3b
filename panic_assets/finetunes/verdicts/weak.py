"""What a checkpoint draws badly: attributes that score lower than others, named only if that is more than noise.

Every attribute is judged by its own measure: hair colour by the hair score, background colour by the background
score, an accessory by its detection. A cell that has the attribute is paired with the mean of the other cells of
the same checkpoint and seed.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from panic_assets.finetunes.verdicts.averages import CONFIDENCE, RESAMPLES, SIGNIFICANT
from panic_assets.statistics.multiple import benjamini_hochberg

LEAST = 5.0
"""An attribute is named only if it scores more than this many points (of 100) lower, beyond noise."""
FINEST = 1.0
"""The spread of scores is never taken to be smaller than this many points."""


@dataclass(frozen=True)
class Trait:
    """One attribute of one measured cell: `measure` ("hair") has `value` ("blue") and scored 0..100."""

    checkpoint: str
    prompt: str
    seed: int
    measure: str
    value: str
    score: float


@dataclass(frozen=True)
class Weakness:
    """An attribute against the others of its measure. difference = mean of pairs, negative is worse.

    p: one-sided t-test over the pairs, of a gap larger than LEAST. q: p after Benjamini-Hochberg correction over all
    attributes tested in the same round.
    """

    measure: str
    value: str
    mean: float
    others: float
    difference: float
    low: float
    high: float
    p: float
    q: float
    cells: int
    prompts: int
    weak: bool

    @property
    def sentence(self) -> str:
        """`blue hair scores 41 and other hair 88 (difference -47, 95% interval -52 to -41, 9 pairs)`."""
        return (
            f"{self.value} {self.measure} scores {self.mean:.0f} and other {self.measure} {self.others:.0f} "
            f"(difference {self.difference:+.0f}, 95% interval {self.low:+.0f} to {self.high:+.0f}, {self.cells} pairs)"
        )


def weak_areas(traits: Collection[Trait]) -> list[Weakness]:
    """Every attribute that can be compared, weakest first; `weak` marks those named.

    The weakest attribute that survives Benjamini-Hochberg at 5% is named, its cells are set aside, and the rest
    is compared again: what only looked bad (or good) because of it is judged without it.
    """
    left = [t for t in traits if np.isfinite(t.score)]
    named: list[Weakness] = []
    while True:
        compared = _compare(left)
        weak = [w for w in compared if w.q <= SIGNIFICANT]
        if not weak:
            return sorted(named, key=lambda w: w.difference) + sorted(compared, key=lambda w: w.difference)
        worst = min(weak, key=lambda w: (w.p, w.difference))
        named.append(Weakness(**{**worst.__dict__, "weak": True}))
        left = [t for t in left if (t.measure, t.value) != (worst.measure, worst.value)]


def _compare(traits: Sequence[Trait]) -> list[Weakness]:
    groups: dict[tuple[str, str], list[tuple[str, float, float]]] = defaultdict(list)
    situation: dict[tuple[str, str, int], list[Trait]] = defaultdict(list)
    for t in traits:
        situation[t.measure, t.checkpoint, t.seed].append(t)
    for t in traits:
        around = situation[t.measure, t.checkpoint, t.seed]
        others = [o.score for o in around if o.value != t.value and o.prompt != t.prompt]
        if others:
            groups[t.measure, t.value].append((t.prompt, t.score, float(np.mean(others))))
    found = []
    for (measure, value), pairs in sorted(groups.items()):
        scores, others_mean = np.array([p[1] for p in pairs]), np.array([p[2] for p in pairs])
        gaps = scores - others_mean
        draws = np.random.default_rng(0).integers(0, len(gaps), (RESAMPLES, len(gaps)))
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(gaps[draws].mean(axis=1), [tail, 1 - tail])
        found.append(
            Weakness(
                measure=measure,
                value=value,
                mean=float(scores.mean()),
                others=float(others_mean.mean()),
                difference=float(gaps.mean()),
                low=float(low),
                high=float(high),
                p=_lower(gaps),
                q=1.0,
                cells=len(gaps),
                prompts=len({p[0] for p in pairs}),
                weak=False,
            )
        )
    adjusted = benjamini_hochberg(np.array([w.p for w in found]))
    return [Weakness(**{**w.__dict__, "q": float(q)}) for w, q in zip(found, adjusted, strict=True)]


def _lower(gaps: np.ndarray) -> float:
    """One-sided t-test p-value that the mean gap is beyond -LEAST; 1 for a single pair.

    The spread is taken to be at least FINEST: nine equal scores of 0 are no proof beyond all doubt.
    """
    from scipy.stats import t as student

    n = len(gaps)
    if n < 2:
        return 1.0
    error = max(float(gaps.std(ddof=1)), FINEST) / np.sqrt(n)
    return float(student.cdf((gaps.mean() + LEAST) / error, n - 1))
