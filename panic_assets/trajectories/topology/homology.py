"""A run's persistence diagram as rows: its settings, and the function that a worker runs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from panic_assets.compute.protocol import Worker
from panic_assets.errors import UserError

if TYPE_CHECKING:
    from panic_assets.trajectories.topology import diagrams

METRICS = ("chord", "angle")
FIELDS = (2, 3, 5, 7, 11, 13, 17, 19, 23)


@dataclass(frozen=True)
class Homology:
    """Which homology: the highest dimension, coefficients modulo which prime, and the distance between vectors."""

    max_dimension: int = 1
    field: int = 2
    metric: str = "chord"

    def __post_init__(self) -> None:
        if self.max_dimension not in (0, 1, 2):
            raise UserError(f"max_dimension is {self.max_dimension!r}; it must be 0, 1 or 2")
        if self.field not in FIELDS:
            raise UserError(f"field is {self.field!r}; it must be a prime: {', '.join(map(str, FIELDS))}")
        if self.metric not in METRICS:
            raise UserError(f"metric is {self.metric!r}; it must be {' or '.join(METRICS)}")


@dataclass(frozen=True)
class Points:
    """One run's vectors in order, whose they are, and which homology is wanted."""

    run_id: str
    vectors: np.ndarray
    invocations: Sequence[str]
    wanted: Homology

    def __str__(self) -> str:
        return f"diagram of run {self.run_id} ({len(self.vectors)} vectors)"


@dataclass(frozen=True)
class Diagram:
    """Rows of persistence_bars and persistence_summary, without the columns that name the partition."""

    bars: list[dict[str, Any]]
    summary: list[dict[str, Any]]


def diagram_of(vectors: np.ndarray, wanted: Homology) -> "diagrams.Diagram":
    """The diagram of (n, d) vectors, within the usual budget."""
    from panic_assets.trajectories.topology import diagrams

    angle = wanted.metric == "angle"
    points = diagrams.directions(vectors) if angle else vectors
    found = diagrams.budgeted(points, wanted.max_dimension, wanted.field)
    return diagrams.angular(found) if angle else found


def homology(points: Points, _: Worker) -> Iterator[Diagram]:
    """The diagram of one run."""
    from panic_assets.trajectories.topology import diagrams

    began = time.monotonic()
    wanted = points.wanted
    found = diagram_of(points.vectors, wanted)
    bars = found.bars
    seconds = time.monotonic() - began
    counts = {d: iter(range(len(bars))) for d in range(wanted.max_dimension + 1)}
    columns = (bars.dimension.tolist(), bars.birth.tolist(), bars.death.tolist())
    simplices = (bars.birth_simplex.tolist(), bars.death_simplex.tolist())
    yield Diagram(
        bars=[
            {
                "run_id": points.run_id,
                "dimension": dimension,
                "bar": next(counts[dimension]),
                "birth": birth,
                "death": death,
                "birth_invocations": [points.invocations[row] for row in makes if row >= 0],
                "death_invocations": [points.invocations[row] for row in ends if row >= 0],
            }
            for dimension, birth, death, makes, ends in zip(*columns, *simplices, strict=True)
        ],
        summary=[
            {
                "run_id": points.run_id,
                "dimension": row.dimension,
                "metric": wanted.metric,
                "field": wanted.field,
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
            for row in diagrams.summary(bars, wanted.max_dimension)
        ],
    )
