"""The stages of the workload: read from the lake, call the pure function, write to the lake.

Each does exactly what `work.missing` says is left, so that doing it twice does nothing and doing it after
a crash finishes it. None of them knows Dagster; `assets.py` wraps them.
"""

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from panic_assets.compute.protocol import Compute, Needs
from panic_assets.errors import UserError
from panic_assets.ids import uuid7
from panic_assets.lake import catalogue
from panic_assets.lake.lake import Lake
from panic_assets.lake.lease import short_lock
from panic_assets.models.needs import needs_of
from panic_assets.models.preflight import refuse
from panic_assets.progress import Refresh, Watcher
from panic_assets.registry import registry
from panic_assets.trajectories import missing
from panic_assets.trajectories.config import Definition, extended
from panic_assets.trajectories.runs.embed import CODE_VERSION as EMBED_VERSION
from panic_assets.trajectories.runs.vectors import embed_missing, matrix
from panic_assets.trajectories.runs.walk import CODE_VERSION as WALK_VERSION
from panic_assets.trajectories.runs.walk import Cohort, Step, advance, cohorts_of
from panic_assets.trajectories.topology.homology import CODE_VERSION as DIAGRAM_VERSION
from panic_assets.trajectories.topology.homology import Homology, Points, homology

CLUSTER_VERSION = "2"

__all__ = ["CLUSTER_VERSION", "DIAGRAM_VERSION", "EMBED_VERSION", "WALK_VERSION"]
VECTOR_BYTES = 128 << 20
"""Vectors that are in memory at once while diagrams are made, as far as one run allows."""


@dataclass
class Done:
    """What a stage did: new rows, and what it could not do, in sentences."""

    rows: int = 0
    problems: list[str] = field(default_factory=list)
    paces: list["Pace"] = field(default_factory=list)
    """Of each cohort that walked."""


@dataclass
class Pace:
    """How a cohort kept its card busy: seconds in models' calls, of all seconds since its models were loaded.

    Neither counts the time between a worker's death and the first call of the next one.
    """

    cohort: str
    busy: float = 0.0
    wall: float = 0.0

    @property
    def idle(self) -> float:
        """The share of the time in which no model worked; 0 before anything was measured."""
        return 1 - self.busy / self.wall if self.wall else 0.0


def register(lake: Lake, wanted: Definition) -> tuple[Definition, bool]:
    """Store a definition: (as it now stands, whether that is new). Refuses a name taken by a different one."""
    with _definition_lease(lake, wanted.name):
        old = missing.definition(lake, wanted.name)
        stands = extended(old, wanted) if old else wanted
        if stands == old:
            return stands, False
        created = (
            lake.sql("SELECT created_at FROM experiments", experiment=wanted.name)["created_at"][0].as_py()
            if old
            else datetime.now(UTC)
        )
        row = {
            "experiment": stands.name,
            "networks": ["-".join(n) for n in stands.networks],
            "prompts": list(stands.prompts),
            "seeds": [str(s) for s in stands.seeds],
            "embedding_models": list(stands.embedding_models),
            "max_length": stands.max_length,
            "image_size": stands.image_size,
            "image_format": stands.image_format,
            "definition": stands.json,
            "definition_hash": stands.fixed_hash,
            "created_at": created,
        }
        lake.replace("experiments", [row], experiment=stands.name)
        return stands, True


def registered(lake: Lake, name: str) -> Definition:
    """The definition of a registered experiment; a sentence when there is none."""
    found = missing.definition(lake, name)
    if found is None:
        raise UserError(
            f"experiment {name!r} has no definition; register it with `panic experiment add FILE`, by dropping a "
            "file into experiments/, or with the job register_experiment"
        )
    return found


def plan(lake: Lake, name: str) -> Definition:
    """Write the runs of an experiment down, with their ids, unless that was done before."""
    found = registered(lake, name)
    with _definition_lease(lake, name):  # Two who plan at once must not give the runs two sets of ids.
        if lake.manifest("runs", experiment=name) is None:
            rows = [{"run_id": uuid7(), **row} for row in missing.planned(found)]
            lake.replace("runs", rows, experiment=name)
    return found


def _definition_lease(lake: Lake, name: str) -> AbstractContextManager[None]:
    return lake.lease(f"definition of experiment {name}", wait_seconds=30)


def walk(lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, name: str) -> Done:
    """Advance every unfinished run to its end. Rows are stored as they come, a step of a cohort at a time."""
    found = registered(lake, name)
    runs = {r["run_id"]: r for r in lake.sql("SELECT * FROM runs ORDER BY run_id", experiment=name).to_pylist()}
    standing = missing.unfinished(lake, name)
    left = sum(p.max_length - p.length for _, p in standing if p.stop_reason is None)
    done = Done()

    def store_runs() -> None:
        lake.replace("runs", list(runs.values()), experiment=name)
        refresh()

    def note(outcomes: Sequence[dict[str, Any]]) -> None:
        for outcome in outcomes:
            runs[outcome["run_id"]].update(outcome)
            if outcome["stop_reason"] == "failed":
                done.problems.append(f"run {outcome['run_id']}: {outcome['failure']}")

    note([p.outcome() for _, p in standing])
    needs = needs_of(itertools.chain(*found.networks))
    cohorts = cohorts_of(name, found.image_size, found.image_format, standing, compute.width(needs))
    # All models are looked for before the first run starts: that an embedder is missing is no news for tomorrow.
    # Where the networks need no card, an embedder may: it is looked for by a worker that has one.
    named = [*itertools.chain(*found.networks), *found.embedding_models]
    refuse(compute, needs if needs.device == "gpu" else needs_of(named), named, found.image_size, len(cohorts))
    with (
        lake.writer("invocations", experiment=name) as out,
        watcher.stage("invocations", left, "invocations") as tell,
    ):

        def remaining(cohort: Cohort) -> Cohort | None:
            out.flush()
            store_runs()
            mine = {run.run_id for run in cohort.runs}
            again = [(m, p) for m, p in missing.unfinished(lake, name) if p.run_id in mine]
            return next(iter(cohorts_of(name, found.image_size, found.image_format, again)), None)

        done.paces = [Pace(str(cohort)) for cohort in cohorts]
        step: Step
        for index, step in compute.stream(advance, cohorts, needs, remaining):
            done.paces[index].busy += step.busy
            done.paces[index].wall += step.wall
            note(step.runs)
            done.rows += len(step.rows)
            if step.rows and out.add(step.rows):
                store_runs()
            stopped = [runs[o["run_id"]] for o in step.runs if o["stop_reason"] in ("loop", "failed")]
            tell(len(step.rows) + sum(r["max_length"] - r["length"] for r in stopped))
    store_runs()
    return done


def embed(lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, name: str) -> Done:
    """Give every output a vector by every embedding model of its modality that the experiment names."""
    done = Done()
    for left in missing.missing(lake, "embeddings", name):
        assert left.embedding_model is not None
        spec = registry.get(left.embedding_model)
        with watcher.stage(f"embeddings {spec.name}", left.count, "vectors") as tell:
            if left.count:
                needs = needs_of([spec.name])
                refuse(compute, needs, [spec.name])
                rows, problems = embed_missing(lake, compute, needs, name, spec, tell, refresh)
                done.rows += rows
                done.problems += problems
    return done


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
    for left in missing.missing(lake, "persistence_diagrams", name):
        assert left.embedding_model is not None
        todo = _runs_without_diagram(lake, name, left.embedding_model, wanted)
        with watcher.stage(f"diagrams {left.embedding_model}", len(todo), "diagrams") as tell:
            if todo:
                place = {"experiment": name, "embedding_model": left.embedding_model}
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


def cluster(lake: Lake, watcher: Watcher, model: str) -> dict[str, Any] | None:
    """Cluster every vector of one model, over all experiments; returns the clusterings row, None without vectors.

    Computed first, then swapped in; the previous clustering stays readable meanwhile.
    """
    from panic_assets.statistics.distinct import distinct
    from panic_assets.trajectories.clusters.clustering import OUTLIER
    from panic_assets.trajectories.clusters.clustering import cluster as find

    rows = lake.sql(
        "SELECT invocation_id, run_id, experiment, sequence_number, vector FROM embeddings "
        "ORDER BY experiment, run_id, sequence_number",
        embedding_model=model,
    )
    if not rows.num_rows:
        for table in ("cluster_members", "clusters", "clusterings"):
            lake.remove(table, embedding_model=model)
        return None
    began = time.monotonic()
    with watcher.stage(f"clusters {model}", 1, "clusterings") as tell:
        vectors = matrix(rows["vector"], registry.get(model).dimension)
        found = find(vectors)
        tell(1)
    identity = {"clustering_id": uuid7(), "embedding_model": model}
    ids = rows["invocation_id"].to_pylist()
    medoids = [ids[row] for row in found.medoids]
    texts = _texts(lake, medoids)
    clusters = [
        {**identity, "cluster": k, "size": int(size), "medoid_invocation_id": m, "medoid_text": texts.get(m)}
        for k, (size, m) in enumerate(zip(found.sizes, medoids, strict=True))
    ]
    clusters.append({**identity, "cluster": OUTLIER, "size": found.outliers})
    clustering = {
        **identity,
        "experiments": sorted(set(rows["experiment"].to_pylist())),
        "vectors": len(ids),
        "distinct_vectors": len(distinct(vectors).first),
        "clusters": len(medoids),
        "outliers": found.outliers,
        "assigned": 0,
        "parameters": json.dumps(
            {
                "algorithm": "HDBSCAN over distinct vectors, euclidean, excess of mass",
                "min_cluster_size": found.min_cluster_size,
                "min_samples": found.min_samples,
            }
        ),
        "computed_at": datetime.now(UTC),
        "seconds": time.monotonic() - began,
        "code_version": CLUSTER_VERSION,
    }
    members = rows.drop_columns(["vector"]).append_column("cluster", pa.array(found.labels, pa.int32()))
    for column, value in {**identity, "assigned": False}.items():
        members = members.append_column(column, pa.array([value] * len(ids)))
    with short_lock(catalogue.lock(lake)):
        lake.replace("cluster_members", members, embedding_model=model)
        lake.replace("clusters", clusters, embedding_model=model)
        lake.replace("clusterings", [clustering], embedding_model=model)
    return clustering


def _texts(lake: Lake, invocations: Sequence[str]) -> dict[str, str]:
    rows = lake.sql(
        "SELECT invocation_id, output_text FROM invocations WHERE invocation_id IN (SELECT unnest(?))",
        [list(invocations)],
    )
    return dict(zip(rows["invocation_id"].to_pylist(), rows["output_text"].to_pylist(), strict=True))
