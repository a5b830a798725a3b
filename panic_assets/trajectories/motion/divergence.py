"""How runs from the same or from different prompts come apart: growth, relaxation, or neither.

Distances on a sphere cannot exceed 2, so growth that is exponential at first must saturate, and a straight line
through its logarithm measures mostly where it saturates. Two models of the mean distance d(t) between pairs are
fitted and compared, beside the constant that either must beat:

  growth      d(t) = d0 exp(rate t)                      rate: the finite-time Lyapunov exponent, per step
  relaxation  d(t) = dinf - (dinf - d0) exp(-t / tau)    tau in steps

Intervals are over bootstrap samples of runs: pairs that share a run are not independent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["growth", "relaxation", "neither"]


@dataclass(frozen=True)
class Fit:
    """One model fitted to a curve by least squares."""

    parameters: np.ndarray
    r2: float
    aic: float
    """n ln(residual sum of squares / n) + 2 (parameters + 1)."""
    held_out: float
    """Root mean squared error on the last quarter of the time, fitted on the first three quarters."""


@dataclass(frozen=True)
class Divergence:
    """The fitted laws, and which one the data prefer. `rate` and `tau` are NaN unless their law is preferred."""

    verdict: Verdict
    growth: Fit
    relaxation: Fit
    constant: Fit
    rate: float
    rate_low: float
    rate_high: float
    tau: float
    tau_low: float
    tau_high: float
    pairs: int


def diverge(
    distances: np.ndarray,
    runs: np.ndarray | None = None,
    replicates: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Divergence:
    """Fits finite (pairs, times) distances: one row per pair of runs, one column per time, at least 8 times.

    `runs` (pairs, 2) int says which runs each pair is of, from 0; without it the pairs themselves are drawn again.
    An interval needs three runs, or two pairs: with fewer it is NaN.

    A model is accepted when its AIC is at least 2 below the constant's, it explains at least half of the
    variance in time, and it predicts the held-out last quarter better than the constant does. Of two accepted
    ones the lower AIC wins, unless the other predicts better: then neither, for the data do not decide.
    """
    if distances.ndim != 2 or distances.shape[1] < 8 or not len(distances):
        raise ValueError(f"distances have shape {distances.shape}; at least 1 pair and 8 times are needed")
    curve = distances.mean(axis=0)
    growth, relaxation, constant = (_fit(model, curve) for model in (_growth, _relaxation, _constant))
    verdict = _verdict(growth, relaxation, constant)
    low = high = float("nan")
    if verdict != "neither":
        model, which = (_growth, 1) if verdict == "growth" else (_relaxation, 2)
        samples = _resampled(distances, runs, replicates, np.random.default_rng(seed))
        values = [model(np.arange(len(curve)), sample)[0][which] for sample in samples]
        if values:
            low, high = (float(q) for q in np.quantile(values, [(1 - level) / 2, (1 + level) / 2]))
    nan = float("nan")
    grows, relaxes = verdict == "growth", verdict == "relaxation"
    return Divergence(
        verdict=verdict,
        growth=growth,
        relaxation=relaxation,
        constant=constant,
        rate=float(growth.parameters[1]) if grows else nan,
        rate_low=low if grows else nan,
        rate_high=high if grows else nan,
        tau=float(relaxation.parameters[2]) if relaxes else nan,
        tau_low=low if relaxes else nan,
        tau_high=high if relaxes else nan,
        pairs=len(distances),
    )


def _resampled(distances: np.ndarray, runs: np.ndarray | None, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """(samples, times) mean curves. A run drawn k times and another drawn l times have k l pairs in a sample."""
    units = len(distances) if runs is None else int(runs.max()) + 1
    if units < (2 if runs is None else 3):
        return np.empty((0, distances.shape[1]))
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=replicates)
    weights = drawn if runs is None else drawn[:, runs[:, 0]] * drawn[:, runs[:, 1]]
    weights = weights[weights.sum(axis=1) > 0]  # a sample of copies of one run has no pairs
    return weights @ distances / weights.sum(axis=1, keepdims=True)


def _verdict(growth: Fit, relaxation: Fit, constant: Fit) -> Verdict:
    def accepted(fit: Fit) -> bool:
        return fit.aic < constant.aic - 2 and fit.r2 >= 0.5 and fit.held_out < constant.held_out

    both: list[tuple[Verdict, Fit]] = [("growth", growth), ("relaxation", relaxation)]
    found = [(name, fit) for name, fit in both if accepted(fit)]
    if len(found) == 2:
        winner = min(found, key=lambda pair: pair[1].aic)
        return winner[0] if winner[1].held_out == min(fit.held_out for _, fit in found) else "neither"
    return found[0][0] if found else "neither"


Fitter = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]


def _fit(model: Fitter, curve: np.ndarray) -> Fit:
    times, n = np.arange(len(curve), dtype=np.float64), len(curve)
    parameters, predict = model(times, curve)
    residual = float(((curve - predict(times)) ** 2).sum())
    total = float(((curve - curve.mean()) ** 2).sum())
    cut = 3 * n // 4
    _, early = model(times[:cut], curve[:cut])
    floor = 1e-30 * max(float((curve**2).sum()), 1e-300)  # an exact fit has no finite logarithm
    return Fit(
        parameters=parameters,
        r2=1 - residual / total if total > 0 else 0.0,
        aic=n * float(np.log(max(residual, floor) / n)) + 2 * (len(parameters) + 1),
        held_out=float(np.sqrt(((curve[cut:] - early(times[cut:])) ** 2).mean())),
    )


def _constant(times: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    mean = curve.mean()
    return np.array([mean]), lambda t: np.full(len(t), mean)


def _growth(times: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Least squares in d, not in ln d: the logarithm would give the smallest distances the most weight."""

    def loss(rates: np.ndarray) -> np.ndarray:
        shapes = np.exp(rates[:, None] * (times - times[-1]))
        return -((shapes @ curve) ** 2) / (shapes**2).sum(axis=1)

    rate = _minimum(loss, np.linspace(-5, 5, 201) / max(len(times) - 1, 1))
    shape = np.exp(rate * times)
    scale = float(shape @ curve / (shape @ shape))
    return np.array([scale, rate]), lambda t: scale * np.exp(rate * t)


def _relaxation(times: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """tau between a third of a step and the length of the curve: a slower one is a straight line to these data."""
    centred = curve - curve.mean()

    def loss(log_taus: np.ndarray) -> np.ndarray:
        decay = np.exp(-times / np.exp(log_taus)[:, None])
        decay -= decay.mean(axis=1, keepdims=True)
        return -((decay @ centred) ** 2) / (decay**2).sum(axis=1)

    tau = float(np.exp(_minimum(loss, np.linspace(np.log(1 / 3), np.log(max(len(times), 2)), 101))))
    decay = np.exp(-times / tau)
    slope = float((decay - decay.mean()) @ centred / ((decay - decay.mean()) ** 2).sum())
    end = float(curve.mean() - slope * decay.mean())
    return np.array([end, end + slope, tau]), lambda t: end + slope * np.exp(-t / tau)


def _minimum(loss: Callable[[np.ndarray], np.ndarray], grid: np.ndarray) -> float:
    """The minimiser within the ends of a grid, which is laid again between the neighbours of its best point."""
    for _ in range(8):
        best = int(np.argmin(loss(grid)))
        found = float(grid[best])
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 21)
    return found
