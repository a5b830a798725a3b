"""A run's topology beside that of clouds made by chance: where its statistics and its curves stand among theirs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from panic_assets.statistics import surrogates
from panic_assets.statistics.distinct import distinct
from panic_assets.statistics.nulls import standings
from panic_assets.trajectories.topology.curves import betti_curve, landscape
from panic_assets.trajectories.topology.diagrams import Bars, summary
from panic_assets.trajectories.topology.homology import Homology, diagram_of

VALUES = 32
"""Distances at which curves are compared."""
ENVELOPE = (2.5, 97.5)
"""Percentiles of the null curves, point by point."""
CURVES = {"betti": betti_curve, "landscape_1": lambda bars, grid: landscape(bars, grid, 1)[0]}

Row = dict[str, Any]


def against_chance(
    vectors: np.ndarray, wanted: Homology, replicates: int, rng: np.random.Generator
) -> tuple[list[Row], list[Row]]:
    """Rows of topology_nulls and of curve_nulls for the (n, d) outputs of a run; none for fewer than three."""
    statistics: list[Row] = []
    curves: list[Row] = []
    for null, observed, chance in _drawn(vectors, wanted, replicates, rng):
        mark = {"null_model": null, "points": len(vectors)}
        measured = [_statistics(bars, wanted.max_dimension) for bars in (observed, *chance)]
        for (dimension, statistic), found in standings(measured[0], measured[1:]):
            statistics.append({**mark, "dimension": dimension, "statistic": statistic, **vars(found)})
        for dimension in range(wanted.max_dimension + 1):
            every = [bars.of(dimension) for bars in (observed, *chance)]
            curves += [{**mark, "dimension": dimension, **row} for row in _curves(every)]
    return statistics, curves


def _drawn(
    vectors: np.ndarray, wanted: Homology, replicates: int, rng: np.random.Generator
) -> Iterator[tuple[str, Bars, list[Bars]]]:
    """Each null with the bars of what was observed and of the replicates."""
    if len(vectors) < 3:
        return
    once = vectors[distinct(vectors).first]
    plain = diagram_of(vectors, wanted).bars
    draw = {
        "random walk": lambda: surrogates.random_walk(vectors, rng),
        "gaussian": lambda: surrogates.gaussian(once, rng),
        "shuffled time": lambda: surrogates.delays(surrogates.shuffled_time(vectors, rng)),
    }
    for null, cloud in draw.items():
        observed = diagram_of(surrogates.delays(vectors), wanted).bars if null == "shuffled time" else plain
        yield null, observed, [diagram_of(cloud(), wanted).bars for _ in range(replicates)]


def _statistics(bars: Bars, max_dimension: int) -> dict[tuple[int, str], float]:
    return {
        (r.dimension, name): value
        for r in summary(bars, max_dimension)
        for name, value in (
            ("entropy", r.entropy),
            ("total_persistence", r.total_persistence),
            ("max_persistence", r.maximal_persistence),
        )
    }


def _curves(every: Sequence[np.ndarray]) -> Iterator[Row]:
    """Curves of the first (b, 2) bars beside those of the others; nothing where there are no finite bars at all."""
    last = max((bars[np.isfinite(bars[:, 1]), 1].max(initial=0.0) for bars in every), default=0.0)
    if last == 0:
        return
    grid = np.linspace(0, last, VALUES)
    for name, curve in CURVES.items():
        observed, *chance = (curve(bars, grid) for bars in every)
        low, high = np.percentile(chance, ENVELOPE, axis=0)
        for value, mine, mean, least, most in zip(grid, observed, np.mean(chance, axis=0), low, high, strict=True):
            yield {
                "curve": name,
                "value": float(value),
                "observed": float(mine),
                "null_mean": float(mean),
                "null_low": float(least),
                "null_high": float(most),
                "replicates": len(chance),
            }
