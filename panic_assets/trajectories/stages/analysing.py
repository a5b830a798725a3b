"""What the analyses of finished runs share: a seed, a version, and the runs with their vectors.

With the same seed, doing an analysis again gives the same rows. What is quadratic in runs is done for a sample of them, of
a stated size.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from panic_assets.lake.lake import Lake
from panic_assets.registry import registry
from panic_assets.trajectories.runs.walked import Walked
from panic_assets.trajectories.stages.vectors import matrix

RUNS_A_QUERY = 64


def walked(lake: Lake, experiment: str, model: str, only: Sequence[str] | None = None) -> Iterator[Walked]:
    """Complete runs, or some of them, with vectors of one model, a few in memory at once."""
    runs = lake.sql(
        "SELECT * FROM runs WHERE stop_reason IS NOT NULL AND (? IS NULL OR run_id IN (SELECT unnest(?))) ORDER BY run_id",
        [only, only],
        experiment=experiment,
    ).to_pylist()
    for start in range(0, len(runs), RUNS_A_QUERY):
        some = {r["run_id"]: r for r in runs[start : start + RUNS_A_QUERY]}
        rows = lake.sql(
            "SELECT run_id, invocation_id, sequence_number, vector FROM embeddings "
            "WHERE run_id IN (SELECT unnest(?)) ORDER BY run_id, sequence_number",
            [list(some)],
            experiment=experiment,
            embedding_model=model,
        )
        if not rows.num_rows:
            continue
        vectors = matrix(rows["vector"], registry.get(model).dimension)
        owner = np.array(rows["run_id"].to_pylist())
        ids, sequence = rows["invocation_id"].to_pylist(), rows["sequence_number"].to_numpy()
        starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
        for a, b in pairwise([*starts.tolist(), len(owner)]):
            yield Walked(some[owner[a]], ids[a:b], sequence[a:b], vectors[a:b])


def models_of(lake: Lake, experiment: str) -> list[str]:
    """Embedding models with vectors of this experiment."""
    return sorted(p["embedding_model"] for p, m in lake.partitions("embeddings", experiment=experiment) if m.rows)
