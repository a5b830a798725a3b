"""Should training go on? A rule puts each metric into one of four states. The result is advice and stops nothing.

The rule looks at one metric of one run, point by point, and never at later points. Values are turned so that
larger is better. With a window of w = 3 points and a tolerance t in the metric's units, the first case that fits
the points seen so far decides:

1. fewer than w points: `continue`
2. the best point lies before the last window, and the mean of the window is more than t below the best such
   mean: `degrading`
3. the best point is the one before the last, and the last is more than t lower: `optimal`
4. the window's least-squares slope is within t, and its range within 2 t: `plateau`
5. the slope is below -t: `degrading`
6. otherwise: `continue`

Comparisons with t allow for 1e-9 of rounding. Of equal points, the first is the best. Slopes are per point and
not per epoch, so that a tolerance in the metric's units also suits uneven checkpoints.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from panic_assets.errors import UserError
from panic_assets.training.series import Series, shared

State = Literal["continue", "plateau", "degrading", "optimal"]
RULE = "trailing-3/1"
"""Version of the rule; part of every stored verdict."""
WINDOW = 3
SLACK = 1e-9
CONFIDENCE = 0.90
T_QUANTILE = math.tan(math.pi * CONFIDENCE / 2)
"""Student's t with WINDOW - 2 = 1 degree of freedom (a Cauchy variable), two-sided."""


@dataclass(frozen=True)
class Verdict:
    """What the rule says after `epoch`, and why. Values are in the metric's own units and direction.

    Slope (per point, in the direction "larger is better") with its 90% interval, range and trailing means
    are None while there are fewer points than a window.
    """

    epoch: int
    state: State
    best_epoch: int
    best_value: float
    last_value: float
    trailing_mean: float | None
    best_trailing_mean: float | None
    slope: float | None
    slope_low: float | None
    slope_high: float | None
    spread: float | None
    """Largest minus smallest value of the last window."""
    tolerance: float
    reason: str
    rule: str = RULE


def verdicts(series: Series, tolerance: float) -> list[Verdict]:
    """The verdict after every point of the series, each from the points up to it. O(n).

    >>> [v.state for v in verdicts(Series((1, 2, 3), (9, 8, 6)), 0.15)]
    ['continue', 'continue', 'degrading']
    """
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise UserError(f"tolerance is {tolerance}; it must be 0 or more, in the units of the metric")
    good = series.goodness
    sign = 1.0 if series.direction == "up" else -1.0
    best = _first_best(good)
    n = len(good)
    if n < WINDOW:
        return [_early(series, i, int(best[i]), tolerance) for i in range(n)]
    windows = sliding_window_view(good, WINDOW)
    means = windows.mean(axis=1)
    best_means = np.maximum.accumulate(means)
    slopes, margins = _slopes(windows)
    spreads = windows.max(axis=1) - windows.min(axis=1)
    out = [_early(series, i, int(best[i]), tolerance) for i in range(WINDOW - 1)]
    for i in range(WINDOW - 1, n):
        k, b = i - WINDOW + 1, int(best[i])
        drop, fall = best_means[k] - means[k], good[b] - good[i]
        slope, spread = slopes[k], spreads[k]
        state: State
        if b < k and drop > tolerance + SLACK:
            state, reason = (
                "degrading",
                f"the mean of the last {WINDOW} points is {drop:.4g} worse than the best such mean",
            )
        elif b == i - 1 and fall > tolerance + SLACK:
            state, reason = "optimal", f"the point before is the best, and the last one is {fall:.4g} worse"
        elif abs(slope) <= tolerance + SLACK and spread <= 2 * tolerance + SLACK:
            state, reason = (
                "plateau",
                f"the last {WINDOW} points are flat: slope {slope:.4g} per point, range {spread:.4g}",
            )
        elif slope < -tolerance - SLACK:
            state, reason = "degrading", f"the last {WINDOW} points get worse by {-slope:.4g} per point"
        else:
            state, reason = (
                "continue",
                f"the last {WINDOW} points are not flat: slope {slope:.4g} per point, range {spread:.4g}",
            )
        out.append(
            Verdict(
                epoch=series.epochs[i],
                state=state,
                best_epoch=series.epochs[b],
                best_value=series.values[b],
                last_value=series.values[i],
                trailing_mean=float(sign * means[k]),
                best_trailing_mean=float(sign * best_means[k]),
                slope=float(slope),
                slope_low=float(slope - margins[k]),
                slope_high=float(slope + margins[k]),
                spread=float(spread),
                tolerance=tolerance,
                reason=reason,
            )
        )
    return out


def judge(series: Series, tolerance: float) -> Verdict:
    """The verdict after the last point. Refuses an empty series."""
    if not series.epochs:
        raise UserError("the series has no points, so it has no verdict; at least one is needed")
    return verdicts(series, tolerance)[-1]


@dataclass(frozen=True)
class Advice:
    """What all target metrics of a run say together. Stopping is advised only when none says `continue`."""

    epoch: int
    stop: bool
    best_epoch: int
    """Best by mean rank over the target metrics; the earlier of equals."""
    states: dict[str, State]
    saves_epochs: int | None
    """Epochs not trained if stopped now; None when the planned number is unknown."""
    saves_cost: float | None
    risk: float | None
    """Share of finished runs in which the same advice would have missed a better epoch; None without any."""
    risk_runs: int
    sentence: str


def advise(
    targets: Mapping[str, tuple[Series, float]],
    planned_epochs: int | None = None,
    cost_per_epoch: float | None = None,
    finished_regrets: Sequence[float] = (),
) -> Advice:
    """Combine target metrics (name -> series and tolerance). Looks only at epochs that all of them have.

    `finished_regrets` are the regrets of finished runs (see `replay.regret_of`), from which the risk follows.
    """
    if not targets:
        raise UserError("advice needs at least one target metric; name one under targets")
    common = shared([s for s, _ in targets.values()])
    if not common:
        raise UserError(
            f"target metrics {', '.join(sorted(targets))} share no epoch; measure at least one epoch by all of them"
        )
    aligned = {name: (_restrict(s, common), tol) for name, (s, tol) in targets.items()}
    judged = {name: judge(s, tol) for name, (s, tol) in aligned.items()}
    states = {name: v.state for name, v in judged.items()}
    stop = "continue" not in states.values()
    best = best_epoch([s for s, _ in aligned.values()])
    now = common[-1]
    left = None if planned_epochs is None else max(planned_epochs - now, 0)
    saved = None if left is None or cost_per_epoch is None else left * cost_per_epoch
    missed = sum(r > 0 for r in finished_regrets)
    risk = missed / len(finished_regrets) if finished_regrets else None
    words = [
        f"Stop: epoch {best} is best." if stop else f"Continue: epoch {best} is best so far.",
        "States: " + ", ".join(f"{name} {state}" for name, state in sorted(states.items())) + ".",
    ]
    if stop and left is not None:
        words.append(f"Stopping saves {left} epochs" + ("." if saved is None else f", which would cost {saved:.2f}."))
    words.append(
        f"In {missed} of {len(finished_regrets)} finished runs, stopping by this rule would have missed a better epoch."
        if finished_regrets
        else "The risk is unknown, because no other run of the family is finished."
    )
    return Advice(now, stop, best, states, left, saved, risk, len(finished_regrets), " ".join(words))


def best_epoch(series: Sequence[Series]) -> int:
    """The epoch with the best mean rank over series that share their epochs; the earlier of equals."""
    better = [(s.goodness[None, :] > s.goodness[:, None]).sum(axis=1) for s in series]
    ranks = np.mean(better, axis=0)
    return series[0].epochs[int(np.argmin(ranks))]


def _restrict(series: Series, epochs: Sequence[int]) -> Series:
    at = dict(zip(series.epochs, series.values, strict=True))
    return Series(tuple(epochs), tuple(at[e] for e in epochs), series.direction)


def _first_best(good: np.ndarray) -> np.ndarray:
    """(n,) index of the first best among the points up to each."""
    if not len(good):
        return np.zeros(0, int)
    highest = np.maximum.accumulate(good)
    fresh = np.concatenate([[True], good[1:] > highest[:-1]])
    return np.maximum.accumulate(np.where(fresh, np.arange(len(good)), 0))


def _slopes(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """OLS slope of each window (k, w) against 0..w-1, and the half width of its 90% interval."""
    w = windows.shape[1]
    x = np.arange(w) - (w - 1) / 2
    sxx = float(x @ x)
    centred = windows - windows.mean(axis=1, keepdims=True)
    slopes = centred @ x / sxx
    residual = ((centred - slopes[:, None] * x) ** 2).sum(axis=1) / (w - 2)
    return slopes, T_QUANTILE * np.sqrt(residual / sxx)


def _early(series: Series, i: int, b: int, tolerance: float) -> Verdict:
    return Verdict(
        epoch=series.epochs[i],
        state="continue",
        best_epoch=series.epochs[b],
        best_value=series.values[b],
        last_value=series.values[i],
        trailing_mean=None,
        best_trailing_mean=None,
        slope=None,
        slope_low=None,
        slope_high=None,
        spread=None,
        tolerance=tolerance,
        reason=f"there are fewer than {WINDOW} points",
    )
