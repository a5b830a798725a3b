"""A run's motion beside that of random walks, and of its own outputs in shuffled order."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from panic_assets.statistics.finite import number
from panic_assets.statistics.nulls import standings
from panic_assets.statistics.surrogates import random_walk, shuffled_time
from panic_assets.trajectories.motion import measures
from panic_assets.trajectories.motion.changes import change_points
from panic_assets.trajectories.motion.summary import displacements, exponent_of, recurrence


def against_chance(
    vectors: np.ndarray, prompt: np.ndarray | None, replicates: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Rows of motion_nulls for the (n, d) outputs of a run; none for fewer than three.

    Every run needs random numbers of its own, for runs are pooled as independent.
    """
    if len(vectors) < 3:
        return
    origin = vectors[0] if prompt is None else prompt

    def measured(points: np.ndarray) -> dict[str, float | None]:
        drift, again = measures.drift(points, origin), recurrence(points)
        return {
            "final_drift": float(drift[-1]),
            "displacement_exponent": exponent_of(*displacements(points)),
            "autocorrelation_time": number(measures.autocorrelation_time(points)),
            "recurrence_rate": again.rate,
            "determinism": again.determinism,
            "laminarity": again.laminarity,
            "trapping_time": again.trapping_time,
            "changes": float(len(change_points(drift))),
        }

    nulls = {
        "random walk": [measured(random_walk(vectors, rng)) for _ in range(replicates)],
        "shuffled time": [measured(shuffled_time(vectors, rng)) for _ in range(replicates)],
    }
    observed = measured(vectors)
    for name, chance in nulls.items():
        for statistic, found in standings(observed, chance):
            if (name, statistic) == ("shuffled time", "recurrence_rate"):
                continue  # how many places are the same does not depend on their order
            yield {
                "statistic": statistic,
                "null_model": name,
                "points": len(vectors),
                **vars(found),
            }
