"""Every complete run gets its persistence diagrams."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from panic_assets.compute.protocol import Compute, Needs
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Refresh, Watcher
from panic_assets.registry import registry
from panic_assets.trajectories import missing
from panic_assets.trajectories.stages.vectors import matrix
from panic_assets.trajectories.topology.homology import Homology, Points, homology
from panic_assets.trajectories.versions import DIAGRAM_VERSION

VECTOR_BYTES = 128 << 20
"""Vectors that are in memory at once while diagrams are made, as far as one run allows."""


def diagrams(
    lake: Lake,
    compute: Compute,
    watcher: Watcher,
    refresh: Refresh,
    name: str,
    max_dimension: int | None = None,
    field: int | None = None,
    metric: str | None = None,
) -> Done:
    """A persistence diagram for every complete run and embedding model that lacks it.

    What is not given is as in the experiment's diagrams so far. Diagrams that reach a higher dimension are kept;
    those of another field or metric are made again.
    """
    done = Done()
    wanted = homology_of(lake, name, max_dimension, field, metric)
    for left in missing.left(lake, "persistence_diagrams", name):
        todo = _runs_without_diagram(lake, name, left.of, wanted)
        with watcher.stage(f"diagrams {left.of}", len(todo), "diagrams") as tell:
            if todo:
                place = {"experiment": name, "embedding_model": left.of}
                _diagrams_of(lake, compute, place, todo, wanted, tell, refresh, done)
    return done


def homology_of(
    lake: Lake, name: str, max_dimension: int | None = None, field: int | None = None, metric: str | None = None
) -> Homology:
    """What is asked of an experiment's diagrams: what is given, else as its newest ones are, else the default."""
    stored = lake.sql(
        """SELECT coalesce(?, max(dimension), ?)::INTEGER AS max_dimension,
                  coalesce(?, arg_max(field, computed_at), ?)::INTEGER AS field,
                  coalesce(?, arg_max(metric, computed_at), ?) AS metric FROM persistence_summary""",
        [
            v
            for k, given in (("max_dimension", max_dimension), ("field", field), ("metric", metric))
            for v in (given, getattr(Homology, k))
        ],
        experiment=name,
    ).to_pylist()[0]
    return Homology(**stored)


def _diagrams_of(
    lake: Lake,
    compute: Compute,
    place: dict[str, str],
    todo: Sequence[str],
    wanted: Homology,
    tell: Callable[[int], None],
    refresh: Refresh,
    done: Done,
) -> None:
    for table in ("persistence_bars", "persistence_summary"):
        _drop_runs(lake, table, todo, place)
    longest = lake.sql("SELECT max(length) AS n FROM runs", experiment=place["experiment"])["n"][0].as_py() or 1
    runs_a_call = max(1, VECTOR_BYTES // (4 * (registry.get(place["embedding_model"]).dimension or 1) * longest))
    with lake.writer("persistence_bars", **place) as bars, lake.writer("persistence_summary", **place) as summaries:
        summaries.flush_first = bars  # A summary says that the diagram is there.
        for start in range(0, len(todo), runs_a_call):
            for result in _stream_diagrams(lake, compute, todo[start : start + runs_a_call], place, wanted):
                if result.bars:
                    bars.add([{**place, **row} for row in result.bars])
                now = datetime.now(UTC)
                stamp = {**place, "computed_at": now, "code_version": DIAGRAM_VERSION}
                done.rows += len(result.bars)
                one = result.summary[0]
                if one["error_bound"] > 0:
                    done.problems.append(
                        f"diagram of run {one['run_id']} by {place['embedding_model']} is from {one['used_points']} "
                        f"landmarks of {one['distinct_points']} points: bottleneck error at most {one['error_bound']:.3g}"
                    )
                if summaries.add([{**stamp, **row} for row in result.summary]):
                    refresh()
                tell(1)


def _stream_diagrams(
    lake: Lake, compute: Compute, runs: Sequence[str], place: dict[str, str], wanted: Homology
) -> Iterator[Any]:
    """Diagrams of `runs`, which are in ascending order."""
    found = lake.sql(
        "SELECT run_id, invocation_id, vector FROM embeddings WHERE run_id IN (SELECT unnest(?)) "
        "ORDER BY run_id, sequence_number",
        [list(runs)],
        **place,
    )
    rows = Counter(found["run_id"].to_pylist())
    vectors = matrix(found["vector"], registry.get(place["embedding_model"]).dimension)
    ids = found["invocation_id"].to_pylist()
    ends = np.cumsum([rows[run] for run in runs])
    spans = [(run, slice(int(end) - rows[run], int(end))) for run, end in zip(runs, ends, strict=True)]
    tasks = [Points(run, vectors[span], ids[span], wanted) for run, span in spans]
    for _, result in compute.stream(homology, tasks, Needs(), lambda task: task):
        yield result


def _runs_without_diagram(lake: Lake, name: str, model: str, wanted: Homology) -> list[str]:
    rows = lake.sql(
        """SELECT r.run_id FROM runs r
           LEFT JOIN (SELECT run_id, count(*) AS points FROM embeddings GROUP BY ALL) c USING (run_id)
           LEFT JOIN (
               SELECT run_id, min(points) AS points FROM persistence_summary GROUP BY ALL
               HAVING max(dimension) >= ? AND bool_and(field = ? AND metric = ?)
           ) m USING (run_id)
           WHERE r.stop_reason IS NOT NULL AND m.points IS DISTINCT FROM coalesce(c.points, 0)
           ORDER BY r.run_id""",
        [wanted.max_dimension, wanted.field, wanted.metric],
        experiment=name,
        embedding_model=model,
    )
    return rows["run_id"].to_pylist()


def _drop_runs(lake: Lake, table: str, runs: Sequence[str], place: dict[str, str]) -> None:
    """Remove rows of runs that are about to be written: an interrupted step may have left some."""
    anti = "run_id NOT IN (SELECT unnest(?))"
    stale = lake.sql(f"SELECT count(*) AS n FROM {table} WHERE NOT ({anti})", [list(runs)], **place)["n"][0].as_py()
    if stale:
        lake.replace(table, lake.sql(f"SELECT * FROM {table} WHERE {anti}", [list(runs)], **place), **place)
