"""Is it a Lissajous figure, or would any random walk look like that? Shapes of a path, each compared with random walks.

The principal components of a plain random walk in many dimensions are cosines: component k has a share of
6 / (pi k)^2 of the variance and the shape cos(pi k t) (Antognini and Sohl-Dickstein 2018). So loops and crossings
alone mean nothing: every number comes with its percentile among matched random walks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np

from panic_assets.errors import UserError
from panic_assets.grokking.spectra.fourier import basis
from panic_assets.grokking.spectra.pca import evenly, of_gram, part, step_gram

Array = np.ndarray
Null = Literal["even", "lengths", "autocorrelation"]
NULLS: tuple[Null, ...] = get_args(Null)
"""Random walks with equal steps; with the path's own step lengths; and with its step autocorrelation too."""
PAIRS = ((1, 2), (1, 3), (2, 3))
POINTS = 64
"""A longer path, and the walks it is compared with, are looked at in this many checkpoints, evenly among all: what a
new checkpoint costs does not grow with those before."""


def statistics(gram: Array) -> dict[str, float]:
    """Every statistic of a path, from its centred Gram matrix: variance shares of PC1..3, and per pair of
    components the largest loop, the crossings and the size of the signed area (a null has no sense of rotation)."""
    from panic_assets.grokking.paths.shapes import figure  # Late: numba.

    found = of_gram(gram, 3)
    shares = found.shares if found.shares is not None else np.zeros(3)
    out = {f"share_pc{i + 1}": float(shares[i]) for i in range(3)}
    for a, b in PAIRS:
        shape = figure(found.scores[:, [a - 1, b - 1]])
        out[f"loop_pc{a}{b}"] = shape.loop
        out[f"crossings_pc{a}{b}"] = float(shape.crossings)
        out[f"area_pc{a}{b}"] = abs(shape.signed)
    return out


# --- nulls -------------------------------------------------------------------------------------


def autocorrelation(gram: Array) -> Array:
    """(T-1,) mean cosine between steps that lie 0, 1, 2, ... steps apart."""
    steps = step_gram(gram)
    lengths = np.sqrt(np.diagonal(steps).clip(1e-300))
    cosines = steps / np.outer(lengths, lengths)
    return np.array([np.diagonal(cosines, lag).mean() for lag in range(len(steps))])


def random_gram(steps: int, dimension: int, rng: np.random.Generator) -> Array:
    """(steps, dimension'), an isometric copy of `steps` independent normal vectors in `dimension` dimensions.

    Bartlett's decomposition: the Gram matrix of such vectors is L L^T with L lower triangular, chi variables on
    the diagonal and normals below. Exact, at the cost of `steps` dimensions instead of millions.
    """
    if dimension <= steps:
        return rng.standard_normal((steps, dimension))
    lower = np.tril(rng.standard_normal((steps, steps)), -1)
    lower[np.diag_indices(steps)] = np.sqrt(rng.chisquare(dimension - np.arange(steps)))
    return lower


class Walks:
    """Random walks matched to a path: `gram` (T, T) of the path, in a space of `dimension` parameters."""

    def __init__(self, gram: Array, dimension: int, kind: Null) -> None:
        if kind not in NULLS:
            raise UserError(f"null is {kind!r}; accepted: {', '.join(NULLS)}")
        self.steps, self.dimension = len(gram) - 1, dimension
        self.lengths = np.ones(self.steps) if kind == "even" else np.sqrt(np.diagonal(step_gram(gram)).clip(0))
        self.mix: Array | None = None
        if kind == "autocorrelation":
            lags = np.abs(np.subtract.outer(np.arange(self.steps), np.arange(self.steps)))
            values, vectors = np.linalg.eigh(autocorrelation(gram)[lags])
            self.mix = vectors * np.sqrt(values.clip(0))  # the nearest covariance: negative eigenvalues are noise

    def draw(self, rng: np.random.Generator) -> Array:
        """Centred Gram matrix (T, T) of one walk."""
        steps = random_gram(self.steps, self.dimension, rng)
        if self.mix is not None:
            steps = self.mix @ steps
        steps *= (self.lengths / np.linalg.norm(steps, axis=1).clip(1e-300))[:, None]
        points = np.vstack([np.zeros(steps.shape[1]), np.cumsum(steps, axis=0)])
        points -= points.mean(axis=0)
        return points @ points.T


@dataclass(frozen=True)
class Standing:
    """One statistic of a path against one null. `percentile` in 0..100: share of walks below, ties half. `points`: in
    how many checkpoints path and walks were looked at."""

    statistic: str
    value: float
    null: Null
    median: float
    percentile: float
    draws: int
    points: int


def against_nulls(gram: Array, dimension: int, draws: int = 200, seed: int = 0) -> list[Standing]:
    """Every statistic of the path against every null. Needs at least four checkpoints; of more than `POINTS`, that many
    are looked at."""
    if len(gram) < 4:
        raise UserError(f"the path has {len(gram)} checkpoints; four or more are needed to judge its shape")
    gram = part(gram, evenly(len(gram), POINTS))
    mine = statistics(gram)
    out = []
    for kind in NULLS:
        rng = np.random.default_rng([seed, NULLS.index(kind)])
        walks = Walks(gram, dimension, kind)
        drawn = [statistics(walks.draw(rng)) for _ in range(draws)]
        for name, value in mine.items():
            null = np.array([d[name] for d in drawn])
            out.append(Standing(name, value, kind, float(np.median(null)), percentile(value, null), draws, len(gram)))
    return out


def percentile(value: float, null: Array) -> float:
    """Where a value stands among null values: 0 below all, 100 above all, ties counted half."""
    return float(100 * ((null < value).mean() + (null == value).mean() / 2))


# --- frequencies -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tone:
    """The dominant frequency of one component of a ring of p classes: score(c) is about
    amplitude cos(2 pi k c / p + phase), which explains r2 of its variance."""

    component: int
    k: int
    amplitude: float
    phase: float
    r2: float


def ring_tones(scores: Array) -> list[Tone | None]:
    """The tone of each component of scores (p, c) over the classes 0..p-1; None for one that does not vary."""
    p = len(scores)
    transformed = basis(p) @ scores
    out: list[Tone | None] = []
    for i in range(scores.shape[1]):
        cos, sin = transformed[1::2, i], transformed[2::2, i]
        energy = cos**2 + sin**2
        if energy.sum() <= 1e-20 * max(float((transformed[:, i] ** 2).sum()), 1e-300):
            out.append(None)
            continue
        at = int(energy.argmax())
        amplitude = math.sqrt(2 / p * float(energy[at]))
        phase = math.atan2(-float(sin[at]), float(cos[at]))
        out.append(Tone(i + 1, at + 1, amplitude, phase, float(energy[at] / energy.sum())))
    return out


def reduced(k1: int, k2: int) -> str:
    """The ratio of two frequencies in lowest terms, as `3:2`."""
    divisor = math.gcd(k1, k2)
    return f"{k1 // divisor}:{k2 // divisor}"


@dataclass(frozen=True)
class Ratio:
    """The ratio of two free frequencies and the simplest fraction it is within tolerance of, if any. `chance` is the
    share of all ratios that are as near to a fraction with that denominator or a smaller one."""

    value: float
    rational: Fraction | None
    limit: int
    chance: float | None

    def __str__(self) -> str:
        if self.rational is None:
            return f"no rational within q <= {self.limit}"
        return f"{self.rational.numerator}:{self.rational.denominator}"


def ratio(f1: float, f2: float, limit: int = 50, tolerance: float = 1e-3) -> Ratio:
    """The simplest fraction with denominator at most `limit` within `tolerance` of f1 / f2.

    Never "irrational": a finite signal cannot tell.
    """
    if f1 <= 0 or f2 <= 0:
        raise UserError(f"frequencies are {f1} and {f2}; both must be above 0")
    value = f1 / f2
    low, high = (Fraction(value) + Fraction(sign * tolerance) for sign in (-1, 1))
    found = simplest(max(low, Fraction(1, 2 * limit)), high) if high > 0 else None
    if found is None or found.denominator > limit:
        return Ratio(value, None, limit, None)
    # Fractions in [0, 1) with denominators up to q: one for each q' and number below it without common divisor.
    q = np.arange(1, found.denominator + 1)
    count = int((np.gcd.outer(q, q) == 1)[np.tril_indices(len(q))].sum())
    return Ratio(value, found, limit, min(1.0, 2 * tolerance * count))


def simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction with the smallest denominator between two positive numbers, by their common continued fraction.

    >>> simplest(Fraction(314, 100), Fraction(315, 100))
    Fraction(22, 7)
    """
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / simplest(1 / (high - whole + 1), 1 / (low - whole + 1))


def tone_frequency(signal: Sequence[float] | Array) -> float:
    """Dominant frequency of an evenly sampled signal, in cycles per sample: the periodogram's peak, refined by
    least squares of one cosine and one sine between the neighbouring bins."""
    from scipy.optimize import minimize_scalar

    y = np.asarray(signal, float)
    y = y - y.mean()
    n = len(y)
    if n < 4 or not y.any():
        raise UserError("the signal has fewer than four samples or does not vary; four or more that vary are needed")
    spectrum = np.abs(np.fft.rfft(y, 8 * n))
    spectrum[: max(1, 8 // 2)] = 0
    peak = int(spectrum.argmax()) / (8 * n)
    t = np.arange(n)

    def left_over(f: float) -> float:
        design = np.stack([np.ones(n), np.cos(2 * np.pi * f * t), np.sin(2 * np.pi * f * t)], 1)
        fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
        return float(((y - fitted) ** 2).sum())

    width = 1 / (4 * n)
    found = minimize_scalar(
        left_over, bounds=(max(peak - width, 1e-9), peak + width), method="bounded", options={"xatol": 1e-12}
    )
    return float(found.x)


def cycles(scores: Array, epochs: Sequence[int]) -> list[float | None]:
    """Cycles that each component of a path (T, c) makes over the run, read at even distances; None for one at rest.

    A plain random walk's component k is cos(pi k t): k / 2 cycles.
    """
    even = np.linspace(epochs[0], epochs[-1], len(epochs))
    signals = [np.interp(even, epochs, scores[:, i]) for i in range(scores.shape[1])]
    return [tone_frequency(s) * (len(even) - 1) if np.ptp(s) > 0 else None for s in signals]
