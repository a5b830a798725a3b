"""Rings: how well the answers form circles inside the model, and the circle hypothesis as a test.

Centroids are the means of a site's activations over all pairs with the same answer, (p, d). With m equally strong
frequencies each fills a plane of its own and the best two principal components hold only 1/m of the variance. So a
circle is looked for in each frequency's own plane, not in PC1-PC2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from panic_assets.grokking.paths.lissajous import Walks
from panic_assets.grokking.spectra.fourier import basis, frequencies
from panic_assets.grokking.spectra.pca import evenly, of_gram, of_rows, part

Array = np.ndarray
SITES = ("resid_pre", "attn_out", "mlp_out", "resid_post")


def centroids(values: Array, answers: Array, p: int) -> Array:
    """(p, d) mean of values (n, d) by answer; every answer must occur."""
    order = np.argsort(answers, kind="stable")
    counts = np.bincount(answers, minlength=p)
    sums = np.add.reduceat(np.asarray(values, float)[order], np.concatenate([[0], counts.cumsum()[:-1]]), axis=0)
    return sums / counts[:, None]


@dataclass(frozen=True)
class Ring:
    """Centroids projected on one frequency's own plane.

    `share` is the frequency's part of the centroids' variance. `circularity` is 1 - rms(r - radius) / radius for
    the least-squares circle, at least 0: 1 for a perfect circle. `residual` is rms(r - radius).
    """

    k: int
    share: float
    circularity: float
    radius: float
    residual: float
    points: Array


def ring(points_by_answer: Array, k: int) -> Ring | None:
    """The ring of frequency k; None where the centroids coincide or hold nothing of k."""
    centred = points_by_answer - points_by_answer.mean(axis=0)
    p = len(centred)
    total = float((centred**2).sum())
    if total <= 1e-20 * max(float((points_by_answer**2).sum()), 1e-300):
        return None
    axes = basis(p)[[2 * k - 1, 2 * k]] @ centred
    share = float((axes**2).sum()) / total
    _, sizes, plane = np.linalg.svd(axes, full_matrices=False)
    if share <= 1e-12 or sizes[-1] <= 1e-9 * sizes[0]:
        return None
    points = centred @ plane.T
    radius, residual = circle_fit(points)
    return Ring(k, share, max(0.0, 1 - residual / radius), radius, residual, points)


def circle_fit(points: Array) -> tuple[float, float]:
    """Least-squares circle (Kasa) through points (n, 2): radius, and rms distance of the points from it."""
    x, y = points[:, 0], points[:, 1]
    design = np.stack([x, y, np.ones(len(x))], 1)
    cx, cy, c = np.linalg.lstsq(design, x**2 + y**2, rcond=None)[0]
    radius = float(np.sqrt(max(c + (cx**2 + cy**2) / 4, 1e-300)))
    distance = np.hypot(x - cx / 2, y - cy / 2)
    return radius, float(np.sqrt(((distance - radius) ** 2).mean()))


def rings(points_by_answer: Array, least_share: float = 0.05) -> list[Ring]:
    """Rings of every frequency that holds at least `least_share` of the variance; the strongest first."""
    centred = points_by_answer - points_by_answer.mean(axis=0)
    total = float((centred**2).sum())
    if total <= 1e-20 * max(float((points_by_answer**2).sum()), 1e-300):
        return []
    power = ((basis(len(centred)) @ centred) ** 2).sum(axis=1)
    share = (power[1::2] + power[2::2]) / total
    strong = [int(k) for k in frequencies(len(centred))[share >= least_share]]
    found = [r for k in strong if (r := ring(points_by_answer, k)) is not None]
    return sorted(found, key=lambda r: (-r.share, r.k))


def site_circularity(found: Sequence[Ring]) -> float | None:
    """One number for a site: the rings' circularity, weighted by their shares; None without rings."""
    if not found:
        return None
    weights = np.array([r.share for r in found])
    return float(np.average([r.circularity for r in found], weights=weights))


def class_distribution(points_by_answer: Array) -> tuple[float, float, float, float] | None:
    """Shares of PC1, PC2, PC3 and the remainder in the centroids' variance; None (undefined) when they coincide."""
    shares = of_rows(points_by_answer, 3).shares
    if shares is None:
        return None
    return float(shares[0]), float(shares[1]), float(shares[2]), float(max(0.0, 1 - shares.sum()))


# --- the hypothesis ----------------------------------------------------------------------------

Verdict = Literal["supported", "not supported", "undetermined"]
CIRCULAR = 0.9
SIGNIFICANT = 5.0
FEWEST = 10
POINTS = 300
"""A longer path is looked at in this many checkpoints, evenly among all, and so are the walks."""


@dataclass(frozen=True)
class Hypothesis:
    """When training first reaches the loss, is the representation a circle, and does the path turn there?

    `distances` are epochs from `epoch` to the nearest extremum of PC1..3 (None for a component without one), and
    `percentile` is the larger of two: walks (matched in step lengths and autocorrelation) that turn as near, and other
    epochs of this path as near to a turn; both in percent.
    """

    verdict: Verdict
    reason: str
    epoch: int | None
    checkpoint: int | None
    circularity: dict[str, float | None]
    distances: tuple[int | None, int | None, int | None]
    percentile: float | None


def first_below(epochs: Sequence[int], loss: Sequence[float], level: float = 1e-6) -> int | None:
    """First epoch with a loss at or below the level; None when it is never reached."""
    hits = np.flatnonzero(np.asarray(loss) <= level)
    return int(epochs[int(hits[0])]) if len(hits) else None


def extrema(scores: Array, epochs: Sequence[int]) -> list[Array]:
    """Epochs of the turning points of each component of scores (T, c)."""
    turns = np.diff(np.sign(np.diff(scores, axis=0)), axis=0) != 0
    inner = np.asarray(epochs)[1:-1]
    return [inner[turns[:, i]] for i in range(scores.shape[1])]


def nearest(turns: Sequence[Array], epoch: int) -> list[int | None]:
    """Distance in epochs from `epoch` to the nearest turning point of each component."""
    return [int(np.abs(t - epoch).min()) if len(t) else None for t in turns]


def nearer_anywhere(turns: Sequence[Array], distance: int, epochs: Sequence[int]) -> float:
    """Percent of the epochs between the first and last checkpoint that lie within `distance` of a turning point."""
    every = np.arange(min(epochs), max(epochs) + 1)
    at = np.unique(np.concatenate([np.asarray(t, int) for t in turns]))
    return float(100 * (np.abs(every[:, None] - at[None, :]).min(axis=1) <= distance).mean())


def circle_hypothesis(
    epoch: int | None,
    epochs: Sequence[int],
    gram: Array,
    dimension: int,
    circularity: Mapping[int, Mapping[str, float | None]],
    draws: int = 200,
    seed: int = 0,
) -> Hypothesis:
    """Test the hypothesis for a run with checkpoints at `epochs` (T), path Gram matrix (T, T) and circularity per
    checkpoint epoch and site. `epoch` is the first at which the train loss is low (see `first_below`).

    Supported: some site is circular (0.9 or more) and the nearest turn is closer than in all but 5% of walks, and than
    from all but 5% of the path's epochs.
    """
    if epoch is None:
        return Hypothesis("undetermined", "the training loss never gets low enough", None, None, {}, (None,) * 3, None)
    at = min(epochs, key=lambda e: (abs(e - epoch), e))
    sites = dict(circularity.get(at, {}))
    kept = evenly(len(epochs), POINTS)
    epochs, gram = [epochs[i] for i in kept], part(gram, kept)
    scores = of_gram(gram, 3).scores
    apart = nearest(extrema(scores, epochs), epoch)
    known = [d for d in apart if d is not None]
    distances = (apart[0], apart[1], apart[2])
    best = max((c for c in sites.values() if c is not None), default=None)

    def says(verdict: Verdict, reason: str, where: float | None = None) -> Hypothesis:
        return Hypothesis(verdict, reason, epoch, at, sites, distances, where)

    if len(epochs) < FEWEST or best is None or not known:
        return says("undetermined", f"fewer than {FEWEST} checkpoints, no turning point, or no site with a ring")
    rng = np.random.default_rng(seed)
    walks = Walks(gram, dimension, "autocorrelation")
    null = []
    for _ in range(draws):
        drawn = [d for d in nearest(extrema(of_gram(walks.draw(rng), 3).scores, epochs), epoch) if d is not None]
        null.append(min(drawn) if drawn else max(epochs) - min(epochs))
    spread = np.array(null, float)
    # Matched walks turn at much the same epochs, so they alone would call any small difference rare: the epoch must
    # stand out against walks and against any other epoch of the same path.
    anywhere = nearer_anywhere(extrema(scores, epochs), min(known), epochs)
    where = max(float(100 * (spread <= min(known)).mean()), anywhere)
    i = min(range(len(epochs)), key=lambda i: abs(epochs[i] - epoch))
    gap = max(np.diff(epochs)[max(i - 1, 0) : i + 1])
    if gap > np.median(spread) > 0:
        return says(
            "undetermined", f"checkpoints lie {gap} epochs apart there, too far to locate a turning point", where
        )
    if best < CIRCULAR:
        return says(
            "not supported", f"no site is circular: the best circularity is {best:.2f}, and {CIRCULAR} is needed", where
        )
    if where > SIGNIFICANT:
        closer = f"{where:.0f}% of matched random walks, or of other epochs, are as near"
        return says("not supported", f"the nearest turning point is {min(known)} epochs away, and {closer}", where)
    return says(
        "supported", f"circularity is {best:.2f}, and the nearest turning point is {min(known)} epochs away", where
    )
