"""Applies the convergence rule to a finished run, epoch by epoch, and says what obeying it would have lost."""

from dataclasses import dataclass

import numpy as np

from panic_assets.training.convergence import State, Verdict, verdicts
from panic_assets.training.series import Series

STOPPING: tuple[State, ...] = ("plateau", "degrading", "optimal")


@dataclass(frozen=True)
class Replayed:
    """One epoch of a replay.

    `regret`, in the metric's units and never negative: how much better the best of the whole run is than the
    best seen when training had been stopped here.
    """

    verdict: Verdict
    regret: float
    epochs_saved: int


@dataclass(frozen=True)
class Followed:
    """The outcome of stopping at the first epoch whose state says so. `stop_epoch` and `state` are None if none did."""

    stop_epoch: int | None
    state: State | None
    best_epoch: int
    """The best among the epochs seen before stopping."""
    true_best_epoch: int
    regret: float
    epochs_saved: int


def replay(series: Series, tolerance: float) -> list[Replayed]:
    """One row per point of a finished run."""
    good = series.goodness
    if not len(good):
        return []
    regrets = good.max() - np.maximum.accumulate(good)
    last = series.epochs[-1]
    return [Replayed(v, float(r), last - v.epoch) for v, r in zip(verdicts(series, tolerance), regrets, strict=True)]


def follow(series: Series, tolerance: float, states: tuple[State, ...] = STOPPING) -> Followed | None:
    """What obeying the rule would have brought: stop at the first epoch whose state is one of `states`."""
    rows = replay(series, tolerance)
    if not rows:
        return None
    true_best = rows[-1].verdict.best_epoch
    for row in rows:
        if row.verdict.state in states:
            v = row.verdict
            return Followed(v.epoch, v.state, v.best_epoch, true_best, row.regret, row.epochs_saved)
    return Followed(None, None, true_best, true_best, 0.0, 0)


def regret_of(series: Series, tolerance: float) -> float | None:
    """Regret of obeying the rule on a finished run; None for a run without points."""
    followed = follow(series, tolerance)
    return None if followed is None else followed.regret
