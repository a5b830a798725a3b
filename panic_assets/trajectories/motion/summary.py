"""How one run moves, as rows: its drift and steps, output by output, and figures of the whole run."""

from typing import Any

import numpy as np

from panic_assets.statistics.distinct import distinct
from panic_assets.statistics.finite import number
from panic_assets.statistics.surrogates import random_walk
from panic_assets.trajectories.motion import measures
from panic_assets.trajectories.motion.changes import change_points
from panic_assets.trajectories.runs.walked import Walked

RECURRENCE_POINTS = 2000
"""Outputs, from a run's start, that recurrence (quadratic) is quantified on."""
WALKS = 20


def summarise(
    one: Walked, prompt: np.ndarray | None, loop: Any, exponent: float | None, rng: np.random.Generator
) -> tuple[dict[str, Any], list[dict[str, Any]], np.ndarray]:
    """The row of run_dynamics, the rows of drift_steps, and the steps at which drift changes.

    `prompt` is where the run starts from; without it, that is its first output. `loop` is its first repetition.
    """
    vectors = one.vectors
    n = len(vectors)
    origin = vectors[0] if prompt is None else prompt
    drift, angle, step = measures.drift(vectors, origin), measures.angle(vectors, origin), measures.steps(vectors)
    jumps = change_points(drift)
    walks = [len(change_points(measures.drift(random_walk(vectors, rng), origin))) for _ in range(WALKS)]
    again = recurrence(vectors)
    row = {
        "outputs": n,
        "distinct_outputs": len(distinct(vectors).first),
        "final_drift": float(drift[-1]),
        "mean_step": number(step.mean()) if n > 1 else None,
        "displacement_exponent": exponent,
        "autocorrelation_time": number(measures.autocorrelation_time(vectors)),
        "recurrence_radius": again.radius,
        "recurrence_rate": again.rate,
        "determinism": again.determinism,
        "laminarity": again.laminarity,
        "trapping_time": again.trapping_time,
        "mean_diagonal": again.mean_diagonal,
        "longest_diagonal": again.longest_diagonal,
        "diagonal_entropy": again.diagonal_entropy,
        "changes": len(jumps),
        "walk_changes": float(np.mean(walks)),
        "loop_start": loop.first if loop else None,
        "loop_time": loop.again if loop else None,
    }
    steps = [
        {
            "invocation_id": one.invocations[k],
            "sequence_number": int(one.sequence[k]),
            "step": k,
            "origin": "first output" if prompt is None else "prompt",
            "drift_chord": float(drift[k]),
            "drift_angle": number(angle[k]),
            "step_chord": float(step[k - 1]) if k else None,
        }
        for k in range(n)
    ]
    return row, steps, jumps


def recurrence(vectors: np.ndarray) -> measures.Recurrence:
    """How the run returns to within a tenth of its outputs' mean distance from their centre."""
    radius = 0.1 * float(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).mean())
    return measures.quantify(measures.recurrent(vectors[:RECURRENCE_POINTS], radius), radius)


def displacements(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lags up to a quarter of the run, closer together where short, and the mean squared displacement at each."""
    lags = np.unique(np.geomspace(1, max(len(vectors) // 4, 1), 12).astype(int))
    return lags, measures.mean_squared_displacement(vectors, lags)


def exponent_of(lags: np.ndarray, spread: np.ndarray) -> float | None:
    """The power of the lag that the displacement grows with: 1 for a free walk. None where that cannot be fitted."""
    if len(lags) < 3 or not (spread > 0).all():
        return None
    return float(np.polyfit(np.log(lags), np.log(spread), 1)[0])
