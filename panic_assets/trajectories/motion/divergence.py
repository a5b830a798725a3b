"""How runs from the same or from different prompts come apart: growth, relaxation, diffusion, or neither.

Distances on a sphere cannot exceed 2, so growth that is exponential at first must saturate, and a straight line
through its logarithm measures mostly where it saturates. Models of the mean distance d(t) between pairs are
fitted and compared, beside the constant that each must beat:

  growth      d(t) = d0 exp(rate t)                      rate: the finite-time Lyapunov exponent, per step
  relaxation  d(t) = dinf - (dinf - d0) exp(-t / tau)    tau in steps
  diffusion   d(t)^2 = d0^2 + D (t - p (1 - exp(-t / p)))   free walks; p steps long they keep their direction (Furth)

Pairs that share a run are not independent: intervals are from leaving out one run at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Law = Literal["growth", "relaxation", "diffusion"]
Verdict = Literal[Law, "neither"]


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
    diffusion: Fit
    constant: Fit
    rate: float
    rate_low: float
    rate_high: float
    tau: float
    tau_low: float
    tau_high: float
    pairs: int


def diverge(distances: np.ndarray, runs: np.ndarray | None = None, level: float = 0.95) -> Divergence:
    """Fits finite (pairs, times) distances: one row per pair of runs, one column per time, at least 8 times.

    `runs` (pairs, 2) int says which runs each pair is of, from 0; without it the pairs themselves are independent.
    An interval needs three runs, or pairs, each of which can be left out: else it is NaN.

    A model is accepted when its AIC is at least 2 below the constant's, it explains at least half of the
    variance in time, and it predicts the held-out last quarter better than the constant does. Of several accepted
    ones the lowest AIC wins, unless another predicts better: then neither, for the data do not decide.
    """
    if distances.ndim != 2 or distances.shape[1] < 8 or not len(distances):
        raise ValueError(f"distances have shape {distances.shape}; at least 1 pair and 8 times are needed")
    curve = distances.mean(axis=0)
    fits: dict[Law, Fit] = {name: _fit(model, curve) for name, model in LAWS.items()}
    constant = _fit(_constant, curve)
    verdict = _verdict(fits, constant)
    unknown = (float("nan"),) * 3
    rate = _interval(_growth, 1, distances, runs, level) if verdict == "growth" else unknown
    tau = _interval(_relaxation, 2, distances, runs, level) if verdict == "relaxation" else unknown
    return Divergence(
        verdict=verdict,
        growth=fits["growth"],
        relaxation=fits["relaxation"],
        diffusion=fits["diffusion"],
        constant=constant,
        rate=rate[0],
        rate_low=rate[1],
        rate_high=rate[2],
        tau=tau[0],
        tau_low=tau[1],
        tau_high=tau[2],
        pairs=len(distances),
    )


def _interval(
    model: "Fitter", which: int, distances: np.ndarray, runs: np.ndarray | None, level: float
) -> tuple[float, float, float]:
    """(estimate, low, high) of one parameter, by the jackknife over runs (or pairs) and Student's t.

    Few runs drawn with replacement vary too little, and many of their pairs would be of a run with itself.
    """
    from scipy.special import stdtrit

    units = np.arange(len(distances))[:, None] if runs is None else runs
    count = int(units.max()) + 1
    kept = np.array([(units != unit).all(axis=1) for unit in range(count)])
    times = np.arange(distances.shape[1], dtype=np.float64)
    estimate = float(model(times, distances.mean(axis=0))[0][which])
    if count < 3 or not kept.any(axis=1).all():
        return estimate, float("nan"), float("nan")
    without = np.array([model(times, distances[some].mean(axis=0))[0][which] for some in kept])
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    reach = float(stdtrit(count - 1, (1 + level) / 2) * error)
    return estimate, estimate - reach, estimate + reach


def _verdict(fits: dict[Law, Fit], constant: Fit) -> Verdict:
    accepted = {
        name: fit
        for name, fit in fits.items()
        if fit.aic < constant.aic - 2 and fit.r2 >= 0.5 and fit.held_out < constant.held_out
    }
    if not accepted:
        return "neither"
    best = min(accepted, key=lambda name: accepted[name].aic)
    if accepted[best].held_out > min(fit.held_out for fit in accepted.values()):
        return "neither"
    return best


Fitter = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]


def _fit(model: Fitter, curve: np.ndarray) -> Fit:
    times, n = np.arange(len(curve), dtype=np.float64), len(curve)
    parameters, predict = model(times, curve)
    residual = float(((curve - predict(times)) ** 2).sum())
    total = float(((curve - curve.mean()) ** 2).sum())
    cut = 3 * n // 4
    _, early = model(times[:cut], curve[:cut])
    floor = max(1e-30 * float((curve**2).sum()), 1e-300)  # an exact fit has no finite logarithm
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


def _diffusion(times: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """A straight line in d^2, weighted by 1 / d^2, which is least squares in d to first order; p is searched for."""
    squares = curve**2
    weights = 1 / np.maximum(squares, 0.01 * squares.mean() + 1e-300)
    weights /= weights.sum()

    def walked(memories: np.ndarray, at: np.ndarray) -> np.ndarray:
        memory = memories[:, None]
        return at + memory * np.expm1(-at / memory)

    def line(memories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m,) d0^2 and D, neither of them negative."""
        walks = walked(memories, times)
        mean, level = walks @ weights, squares @ weights
        off = walks - mean[:, None]
        slope = (off * weights) @ squares / ((off**2) @ weights)
        through_zero = (walks * weights) @ squares / ((walks**2) @ weights)
        start = level - slope * mean
        slope = np.where(start < 0, through_zero, slope)
        return np.where(slope < 0, level, np.maximum(start, 0)), np.maximum(slope, 0)

    def loss(logs: np.ndarray) -> np.ndarray:
        start, slope = line(np.exp(logs))
        fitted = np.sqrt(start[:, None] + slope[:, None] * walked(np.exp(logs), times))
        return ((curve - fitted) ** 2).sum(axis=1)

    memory = np.exp([_minimum(loss, np.linspace(np.log(0.1), np.log(max(len(times), 2)), 51))])
    start, slope = line(memory)
    return np.array([start[0], slope[0], memory[0]]), lambda t: np.sqrt(start[0] + slope[0] * walked(memory, t)[0])


LAWS: dict[Law, Fitter] = {"growth": _growth, "relaxation": _relaxation, "diffusion": _diffusion}


def _minimum(loss: Callable[[np.ndarray], np.ndarray], grid: np.ndarray) -> float:
    """The minimiser within the ends of a grid, which is laid again between the neighbours of its best point."""
    for _ in range(8):
        best = int(np.argmin(loss(grid)))
        found = float(grid[best])
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 21)
    return found
