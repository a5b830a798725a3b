"""What work is left, read from the lake. Steps, status, resume and the doctor all ask here, so they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from panic_assets.asleep import asleep
from panic_assets.lake.lake import Lake, literal
from panic_assets.registry import registry
from panic_assets.trajectories.config import UNSEEDED, Definition, from_json
from panic_assets.workload import Missing, Query, outdated

if TYPE_CHECKING:
    from panic_assets.trajectories.runs import walk
else:
    walk = asleep("panic_assets.trajectories.runs.walk")

LEASE = "experiment {}"
"""What whoever works on an experiment holds."""


def definition(lake: Lake, experiment: str) -> Definition | None:
    """The registered definition; None when there is no such experiment."""
    rows = lake.sql("SELECT definition FROM experiments", experiment=experiment)
    return from_json(rows["definition"][0].as_py()) if rows.num_rows else None


def definitions(lake: Lake) -> dict[str, Definition]:
    """Every registered experiment."""
    rows = lake.sql("SELECT experiment, definition FROM experiments ORDER BY experiment").to_pylist()
    return {row["experiment"]: from_json(row["definition"]) for row in rows}


def embedding_models(lake: Lake) -> set[str]:
    """Every embedding model that some experiment names."""
    return {model for found in definitions(lake).values() for model in found.embedding_models}


_MODALITIES = ", ".join(f"({literal(s.name)}, {literal(s.input)})" for s in registry.embedders())

_WANTED = f"""
    WITH named AS (
        SELECT experiment, unnest(embedding_models) AS embedding_model FROM experiments
    ), modality(embedding_model, type) AS (VALUES {_MODALITIES}),
    wanted AS (SELECT * FROM named JOIN modality USING (embedding_model))
"""

INVOCATIONS = """
    SELECT experiment AS key, '' AS of,
           coalesce(sum(greatest(max_length - length, 1)) FILTER (stop_reason IS NULL), 0)::BIGINT AS missing,
           sum(CASE WHEN stop_reason IS NULL THEN max_length ELSE length END)::BIGINT AS total
    FROM runs GROUP BY experiment
"""

EMBEDDINGS = f"""
    {_WANTED}
    SELECT w.experiment AS key, w.embedding_model AS of,
           count(*) FILTER (e.invocation_id IS NULL) AS missing, count(*) AS total
    FROM wanted w
    JOIN invocations i ON i.experiment = w.experiment AND i.type = w.type
    LEFT JOIN embeddings e ON e.invocation_id = i.invocation_id AND e.embedding_model = w.embedding_model
    GROUP BY ALL
"""

DIAGRAMS = f"""
    {_WANTED},
    counted AS (SELECT run_id, embedding_model, count(*) AS points FROM embeddings GROUP BY ALL),
    made AS (SELECT run_id, embedding_model, min(points) AS points FROM persistence_summary GROUP BY ALL)
    SELECT w.experiment AS key, w.embedding_model AS of,
           count(*) FILTER (m.points IS DISTINCT FROM coalesce(c.points, 0)) AS missing, count(*) AS total
    FROM wanted w
    JOIN runs r ON r.experiment = w.experiment AND r.stop_reason IS NOT NULL
    LEFT JOIN counted c ON c.run_id = r.run_id AND c.embedding_model = w.embedding_model
    LEFT JOIN made m ON m.run_id = r.run_id AND m.embedding_model = w.embedding_model
    GROUP BY ALL
"""

CLUSTERS = """
    WITH now AS (
        SELECT embedding_model, list_sort(list(DISTINCT experiment)) AS experiments, count(*) AS vectors,
               max(embedded_at) AS latest
        FROM embeddings GROUP BY embedding_model
    ),
    parts AS (
        SELECT embedding_model, count(DISTINCT clustering_id) AS ids FROM (
            SELECT embedding_model, clustering_id FROM clusterings
            UNION ALL SELECT embedding_model, clustering_id FROM clusters
            UNION ALL SELECT embedding_model, clustering_id FROM cluster_members
        ) GROUP BY embedding_model
    )
    SELECT embedding_model AS key, c.clustering_id IS NOT NULL AS made,
           (c.experiments IS DISTINCT FROM n.experiments OR c.vectors IS DISTINCT FROM n.vectors
            OR c.computed_at < n.latest OR parts.ids > 1)::INT AS missing
    FROM now n FULL JOIN clusterings c USING (embedding_model) LEFT JOIN parts USING (embedding_model)
"""


def _asked(stage: str, unit: str, query: str, column: str) -> Query:
    """A missing-work query in SQL: it gives key, of, missing and total."""

    def ask(lake: Lake, key: str | None) -> list[Missing]:
        where = {column: key} if key is not None else {}
        rows = lake.sql(f"{query} ORDER BY 1, 2", **where).to_pylist()
        return [
            Missing(stage, r["key"], r["missing"], r["total"], unit, r["of"])
            for r in rows
            if r["total"] and key in (None, r["key"])
        ]

    return ask


def _clusterings(lake: Lake, key: str | None) -> list[Missing]:
    """Clusters pool every experiment, so they are stale when one of them has changed. At first, a person asks for them."""
    return [
        Missing("clusters", r["key"], r["missing"], 1, "clusterings", stale=r["made"], on_request=not r["made"])
        for r in lake.sql(f"{CLUSTERS} ORDER BY 1").to_pylist()
        if key in (None, r["key"])
    ]


def _plans(lake: Lake, key: str | None) -> list[Missing]:
    """Registered experiments whose runs were never planned."""
    return [
        Missing("experiments", name, int(lake.manifest("runs", experiment=name) is None), 1, "run plans")
        for name in ([key] if key is not None else definitions(lake))
    ]


OF_EXPERIMENT: dict[str, Query] = {
    "experiments": _plans,
    "invocations": _asked("invocations", "invocations", INVOCATIONS, "experiment"),
    "embeddings": _asked("embeddings", "vectors", EMBEDDINGS, "experiment"),
    "persistence_diagrams": _asked("persistence_diagrams", "diagrams", DIAGRAMS, "experiment"),
    "dynamics": outdated("dynamics", "run_dynamics", ("embeddings",), "experiment"),
    "topology": outdated("topology", "topology_nulls", ("persistence_bars",), "experiment"),
    "layouts": outdated("layouts", "layout_points", ("embeddings", "diagram_distances"), "experiment"),
    "statistics": outdated("statistics", "findings", ("persistence_summary", "run_dynamics"), "experiment"),
}
"""Asset -> what it still has to do for an experiment."""

OF_EMBEDDING_MODEL: dict[str, Query] = {
    "clusters": _clusterings,
    "symbolic_dynamics": outdated("symbolic_dynamics", "cluster_states", ("clusterings",), "embedding_model"),
    "cluster_stability": outdated("cluster_stability", "clustering_stability", ("clusterings",), "embedding_model"),
    "cluster_layers": outdated("cluster_layers", "cluster_layers", ("embeddings",), "embedding_model"),
}
"""Asset -> what it still has to do for an embedding model."""

PERFORMED = ("experiments", "invocations", "embeddings", "persistence_diagrams")
"""What performing an experiment makes; analyses are made on request."""


def left(lake: Lake, stage: str, key: str | None = None) -> list[Missing]:
    """What one stage still has to do, for one key or for all of them."""
    return list((OF_EXPERIMENT | OF_EMBEDDING_MODEL)[stage](lake, key))


def to_perform(lake: Lake, experiment: str | None = None) -> list[Missing]:
    """What is missing before an experiment is finished, stage by stage; done stages have a count of 0."""
    return [m for stage in PERFORMED for m in left(lake, stage, experiment)]


def stale_clusterings(lake: Lake) -> list[str]:
    """Embedding models whose clusters do not pool the vectors that there are now."""
    return [m.key for m in left(lake, "clusters") if m.count]


def unfinished(lake: Lake, experiment: str) -> list[tuple[tuple[str, ...], walk.Progress]]:
    """Where each unfinished run stands, found by replaying its stored invocations.

    The replay may show that a run is complete: then its `stop_reason` says why.
    """
    runs = lake.sql(
        "SELECT run_id, models, prompt, seed, max_length FROM runs WHERE stop_reason IS NULL ORDER BY run_id",
        experiment=experiment,
    ).to_pylist()
    found = {
        r["run_id"]: (tuple(r["models"]), walk.Progress(r["run_id"], r["prompt"], r["seed"], r["max_length"]))
        for r in runs
    }
    if not found:
        return []
    with lake.connect(["invocations", "runs"], experiment=experiment) as connection:
        stored = connection.sql(
            """SELECT run_id, invocation_id, content_hash, started_at, completed_at
               FROM invocations SEMI JOIN (FROM runs WHERE stop_reason IS NULL) USING (run_id)
               ORDER BY run_id, sequence_number"""
        ).to_arrow_reader(10_000)
        for batch in stored:
            for row in batch.to_pylist():
                models, progress = found[row["run_id"]]
                progress.record(
                    len(models), row["content_hash"], row["invocation_id"], row["started_at"], row["completed_at"]
                )
    _load_last(lake, experiment, [p for _, p in found.values() if p.stop_reason is None])
    return list(found.values())


def _load_last(lake: Lake, experiment: str, runs: list[walk.Progress]) -> None:
    """Fetch the last stored output of each run: what its next step starts from."""
    by_id = {run.last_id: run for run in runs if run.last_id is not None}
    if not by_id:
        return
    rows = lake.sql(
        "SELECT invocation_id, output_text, output_image FROM invocations WHERE invocation_id IN (SELECT unnest(?))",
        [list(by_id)],
        experiment=experiment,
    ).to_pylist()
    for row in rows:
        image = row["output_image"]
        by_id[row["invocation_id"]].last = row["output_text"] if image is None else image


def planned(definition: Definition) -> list[dict[str, Any]]:
    """Rows of the runs table, without ids, before anything ran: one per network, prompt and seed."""
    rows = []
    for network in definition.networks:
        for prompt in definition.prompts:
            unseeded = 0
            for seed in definition.seeds:
                rows.append(
                    {
                        "experiment": definition.name,
                        "network": "-".join(network),
                        "models": list(network),
                        "prompt": prompt,
                        "seed": seed,
                        "replicate": unseeded if seed == UNSEEDED else 0,
                        "max_length": definition.max_length,
                        "length": 0,
                    }
                )
                unseeded += seed == UNSEEDED
    return rows
