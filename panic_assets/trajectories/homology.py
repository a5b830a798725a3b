"""A run's persistence diagram as rows: what a worker runs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from panic_assets.compute.protocol import Worker

CODE_VERSION = "2"
MAX_DIMENSION = 1


@dataclass(frozen=True)
class Points:
    """One run's vectors, in order, and the highest homology dimension wanted."""

    run_id: str
    vectors: np.ndarray
    max_dimension: int

    def __str__(self) -> str:
        return f"diagram of run {self.run_id} ({len(self.vectors)} vectors)"


@dataclass(frozen=True)
class Diagram:
    """Rows of persistence_bars and persistence_summary, without the columns that name the partition."""

    bars: list[dict[str, Any]]
    summary: list[dict[str, Any]]


def homology(points: Points, _: Worker) -> Iterator[Diagram]:
    """The diagram of one run."""
    from panic_assets.trajectories import diagrams

    began = time.monotonic()
    found = diagrams.budgeted(points.vectors, points.max_dimension)
    bars = found.bars
    seconds = time.monotonic() - began
    counts = {d: iter(range(len(bars))) for d in range(points.max_dimension + 1)}
    yield Diagram(
        bars=[
            {"run_id": points.run_id, "dimension": int(d), "bar": next(counts[int(d)]), "birth": b, "death": e}
            for d, b, e in zip(bars.dimension, bars.birth, bars.death, strict=True)
        ],
        summary=[
            {
                "run_id": points.run_id,
                "dimension": row.dimension,
                "points": len(points.vectors),
                "distinct_points": found.distinct,
                "used_points": len(found.rows),
                "error_bound": found.error_bound,
                "bars": row.bars,
                "finite_bars": row.finite,
                "entropy": row.entropy,
                "normalised_entropy": row.normalised_entropy,
                "total_persistence": row.total_persistence,
                "max_persistence": row.maximal_persistence,
                "seconds": seconds,
            }
            for row in diagrams.summary(bars, points.max_dimension)
        ],
    )
