"""The graph of the trajectories workload: experiments -> invocations -> embeddings -> diagrams; clusters; analyses.

The first four follow each other by themselves. Clusters and analyses are made on request.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from panic_assets.asleep import asleep
from panic_assets.automation import FOLLOW
from panic_assets.lake.lake import Lake
from panic_assets.partitions import EMBEDDING_MODEL, EXPERIMENT
from panic_assets.progress import Done
from panic_assets.steps import GPU, Outcome, Stage, markdown, outcome, stage
from panic_assets.trajectories import missing
from panic_assets.trajectories.tables import TABLES
from panic_assets.trajectories.versions import (
    CLUSTER_VERSION,
    CODE_VERSION,
    DIAGRAM_VERSION,
    EMBED_VERSION,
    SEED,
    WALK_VERSION,
)

if TYPE_CHECKING:
    from panic_assets.trajectories import stages
    from panic_assets.trajectories.clusters import layers
else:
    stages = asleep("panic_assets.trajectories.stages")
    layers = asleep("panic_assets.trajectories.clusters.layers")

GROUP = "trajectories"
ANALYSES = "analyses"
T = {table.name: table for table in TABLES}

_of_experiment = partial(stage, space=EXPERIMENT, lease=missing.LEASE)
_of_model = partial(stage, space=EMBEDDING_MODEL, lease="clusters of {}")
_analysis = partial(_of_experiment, group=ANALYSES, version=CODE_VERSION, metadata={"seed of what is random": SEED})
_analysis_of_model = partial(_of_model, group=ANALYSES, version=CODE_VERSION, metadata={"seed of what is random": SEED})
_ALL_EXPERIMENTS = dg.AllPartitionMapping()


class PrecisionConfig(dg.Config):
    """By default, what is missing is made in the precision of the rows that exist, or refused."""

    other_precision: bool = Field(
        default=False,
        description="Whether models may run in another precision or placement than for the rows that exist.",
    )


class DiagramConfig(dg.Config):
    """How diagrams are computed. What is not given stays as it is in the experiment; at first it is H0 and H1, modulo 2,
    by chord."""

    max_dimension: int | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Highest homology dimension: 0, 1 or 2. 2 adds voids, and takes much longer.",
    )
    field: int | None = Field(default=None, description="Prime number: homology is computed modulo it.")
    metric: str | None = Field(default=None, description="Distance between vectors: chord, or angle in radians.")


class ClusterConfig(dg.Config):
    """By default, all vectors are clustered again. With `assign_only`, new vectors are put into the existing clusters."""

    assign_only: bool = False


class DynamicsConfig(dg.Config):
    """How many runs are compared with chance, and how often."""

    null_runs: int = Field(default=20, ge=0, description="Number of runs that are compared with chance.")
    null_points: int = Field(
        default=300, ge=3, description="Number of outputs per run that are compared with chance, from its start."
    )
    replicates: int = Field(default=39, ge=1, description="Number of random surrogates of each kind.")


class TopologyConfig(DynamicsConfig):
    """How many runs are compared, and how often. Time grows with `replicates`, and with the square of `distance_runs`."""

    distance_runs: int = Field(default=100, ge=2, description="Number of runs whose diagrams are compared in pairs.")
    across_runs: int = Field(
        default=20, ge=0, description="Number of runs per experiment that are compared with runs of other experiments."
    )


@_of_experiment(T["experiments"], T["runs"], group=GROUP, kinds={"parquet", "duckdb"})
def experiments(here: Stage) -> Outcome:
    """The definition of a registered experiment, and its planned runs. A run is one network that starts from one prompt
    with one seed."""
    found = stages.plan(here.lake, here.key)
    return outcome(
        Done(),
        runs=found.runs,
        networks=["-".join(n) for n in found.networks],
        prompts=len(found.prompts),
        seeds=len(found.seeds),
        embedding_models=list(found.embedding_models),
        max_length=found.max_length,
    )


@_of_experiment(
    T["invocations"],
    changes=[T["runs"]],
    deps=[experiments],
    group=GROUP,
    kinds={"parquet", "python"},
    version=WALK_VERSION,
    needs=GPU,
    compute=True,
    config=PrecisionConfig,
    automation=FOLLOW,
)
def invocations(here: Stage) -> Outcome:
    """Every model call of every run, with its output: a text or an image. Runs that share a network advance in lockstep,
    as a batch, until they loop or reach their length."""
    asked = here.config(PrecisionConfig).model_dump()
    done = stages.walk(here.lake, here.compute, here.watcher, here.refresh, here.key, **asked)
    shown: dict[str, Any] = {}
    if walked := sum(pace.wall for pace in done.paces):
        idle = sorted(done.paces, key=lambda pace: -pace.idle)[:100]
        rows = ((p.batch, round(p.busy, 1), round(p.wall, 1), f"{p.idle:.1%}") for p in idle)
        shown["idle share"] = round(1 - sum(pace.busy for pace in done.paces) / walked, 4)
        shown["batches"] = dg.MetadataValue.md(
            markdown(("batch", "seconds in model calls", "seconds in all", "idle share"), rows, characters=120),
        )
    counted = here.lake.sql(
        """SELECT count(*) AS runs, count(*) FILTER (stop_reason = 'loop') AS looped,
                  count(*) FILTER (stop_reason = 'failed') AS failed FROM runs""",
        experiment=here.key,
    ).to_pylist()[0]
    blank = here.lake.sql("SELECT count(*) AS n FROM invocations WHERE blank", experiment=here.key)["n"][0].as_py()
    strip = _last_pictures(here.lake, here.key)
    return outcome(
        done,
        pictures=dg.MetadataValue.md(strip) if strip else None,
        **counted,
        blank_captions=blank,
        **shown,
    )


@_of_experiment(
    T["embeddings"],
    deps=[invocations],
    group=GROUP,
    kinds={"parquet", "python"},
    version=EMBED_VERSION,
    needs=GPU,
    compute=True,
    config=PrecisionConfig,
    automation=FOLLOW,
)
def embeddings(here: Stage) -> Outcome:
    """The vector of every output, by every embedding model of the experiment that takes its kind: texts or images."""
    asked = here.config(PrecisionConfig).model_dump()
    done = stages.embed(here.lake, here.compute, here.watcher, here.refresh, here.key, **asked)
    models = here.lake.sql("SELECT count(DISTINCT embedding_model) AS n FROM embeddings", experiment=here.key)
    return outcome(done, embedding_models=models["n"][0].as_py())


@_of_experiment(
    T["persistence_summary"],
    T["persistence_bars"],
    deps=[embeddings],
    group=GROUP,
    kinds={"parquet", "python"},
    version=DIAGRAM_VERSION,
    compute=True,
    config=DiagramConfig,
    automation=FOLLOW,
)
def persistence_diagrams(here: Stage) -> Outcome:
    """The persistence diagram of every complete run, by every embedding model. A bar of a diagram is a loop (or a cluster,
    or a void) in the cloud of the run's vectors, from its birth to its death; longer bars are clearer."""
    asked = here.config(DiagramConfig).model_dump()
    done = stages.diagrams(here.lake, here.compute, here.watcher, here.refresh, here.key, **asked)
    by_dimension = here.lake.sql(
        """SELECT dimension, avg(entropy) AS entropy, max(max_persistence) AS longest FROM persistence_summary
           GROUP BY dimension ORDER BY dimension""",
        experiment=here.key,
    ).to_pylist()
    shown: dict[str, Any] = {}
    for row in by_dimension:
        for name, value in (("mean entropy", row["entropy"]), ("longest bar", row["longest"])):
            if value is not None:
                shown[f"{name} of H{row['dimension']}"] = round(value, 4)
    return outcome(done, **shown)


@_of_model(
    T["clusterings"],
    T["clusters"],
    T["cluster_members"],
    deps=[dg.AssetDep(embeddings, partition_mapping=_ALL_EXPERIMENTS)],
    group=GROUP,
    kinds={"parquet", "scikitlearn"},
    version=CLUSTER_VERSION,
    config=ClusterConfig,
)
def clusters(here: Stage) -> Outcome:
    """Clusters of the vectors of an embedding model, pooled over all experiments. They are made on request, or by the
    schedule `nightly_clusters`."""
    only = here.config(ClusterConfig).assign_only
    row = (stages.assign if only else stages.cluster)(here.lake, here.watcher, here.key)
    if row is None:
        return outcome(Done(), vectors=0)
    kept = ("clusters", "outliers", "vectors", "distinct_vectors", "assigned", "experiments")
    return outcome(
        Done(row["vectors"]),
        **{name: row[name] for name in kept},
        outlier_share=round(row["outliers"] / row["vectors"], 4),
        parameters=dg.MetadataValue.text(row["parameters"]),
    )


@_analysis(
    T["run_dynamics"],
    T["drift_steps"],
    T["displacements"],
    T["change_points"],
    T["run_divergence"],
    T["prompt_recoverability"],
    T["motion_nulls"],
    deps=[embeddings],
    kinds={"parquet", "python"},
    needs=GPU,
    compute=True,
    config=DynamicsConfig,
)
def dynamics(here: Stage) -> Outcome:
    """How runs move: how far they drift from the prompt, how long they remember, how often they come back, where they
    change, whether they diverge, and whether the prompt can be told from the outputs."""
    asked = here.config(DynamicsConfig).model_dump()
    done = stages.dynamics(here.lake, here.compute, here.watcher, here.key, **asked)
    return outcome(
        done,
        **_averages(
            here,
            "run_dynamics",
            "final_drift",
            "mean_step",
            "displacement_exponent",
            "recurrence_rate",
            "determinism",
            "changes",
        ),
    )


@_analysis(
    T["topology_nulls"],
    T["diagram_distances"],
    T["persistence_curves"],
    T["persistence_images"],
    T["curve_nulls"],
    deps=[persistence_diagrams],
    kinds={"parquet", "python"},
    config=TopologyConfig,
)
def topology(here: Stage) -> Outcome:
    """Comparisons of persistence diagrams: as curves and images, by their distances, and with diagrams that chance makes."""
    done = stages.topology(here.lake, here.watcher, here.key, **here.config(TopologyConfig).model_dump())
    return outcome(done, **_averages(here, "topology_nulls", "percentile"))


@_analysis(T["layout_points"], deps=[topology], kinds={"parquet", "python"})
def layouts(here: Stage) -> Outcome:
    """Flat maps (t-SNE) of all outputs, and of runs by the distances of their diagrams. Use them for charts, and not as
    evidence."""
    done = stages.layouts(here.lake, here.watcher, here.key)
    return outcome(done, **_averages(here, "layout_points", "trustworthiness"))


@_analysis_of_model(
    T["cluster_dwells"],
    T["cluster_transitions"],
    T["cluster_states"],
    T["cluster_change_points"],
    T["markov_models"],
    T["symbol_nulls"],
    deps=[clusters],
    kinds={"parquet", "python"},
)
def symbolic_dynamics(here: Stage) -> Outcome:
    """Runs as sequences of clusters: how long they stay in each, where they go next, where they end; Markov state models
    of this, and tests of those models."""
    return outcome(stages.symbols(here.lake, here.watcher, here.key))


@_analysis_of_model(
    T["clustering_stability"], T["cluster_stability"], deps=[clusters], kinds={"parquet", "scikitlearn"}
)
def cluster_stability(here: Stage) -> Outcome:
    """Tests of whether clusters are real: how many come back when subsamples are clustered, and how many are found in
    random vectors that have no clusters."""
    done = stages.stability(here.lake, here.watcher, here.key)
    found = here.lake.sql(
        "SELECT agreement, clusters, null_clusters FROM clustering_stability", embedding_model=here.key
    ).to_pylist()
    return outcome(done, **{name: round(value, 4) for row in found for name, value in row.items()})


@_analysis_of_model(
    T["cluster_layers"],
    T["cluster_layer_members"],
    deps=[dg.AssetDep(embeddings, partition_mapping=_ALL_EXPERIMENTS)],
    kinds={"parquet", "python"},
)
def cluster_layers(here: Stage) -> Outcome:
    """Clusters of an embedding model's vectors at several resolutions, by EVoC, which can take more vectors than HDBSCAN.
    EVoC compiles when it is used first."""
    here.say(layers.COMPILES)
    done = stages.layers(here.lake, here.watcher, here.key)
    return outcome(done, layers=done.rows)


@_analysis(
    T["findings"],
    T["model_effects"],
    T["model_terms"],
    T["model_variances"],
    T["contrasts"],
    T["null_tests"],
    deps=[
        persistence_diagrams,
        dynamics,
        topology,
        # How long runs stay is measured in clusters, which pool all experiments.
        dg.AssetDep(symbolic_dynamics, partition_mapping=_ALL_EXPERIMENTS),
    ],
    kinds={"parquet", "python"},
)
def statistics(here: Stage) -> Outcome:
    """Tests of what decides each outcome, the network, the prompt or the embedding model, by mixed-effects models; and
    sentences that sum up the results."""
    done = stages.statistics(here.lake, here.watcher, here.key)
    said = here.lake.sql("SELECT sentence FROM findings ORDER BY outcome, position LIMIT 5", experiment=here.key)
    sentences = said["sentence"].to_pylist()
    return outcome(done, findings=dg.MetadataValue.md("\n".join(f"- {s}" for s in sentences)) if sentences else None)


def _averages(here: Stage, table: str, *columns: str) -> dict[str, Any]:
    """Mean of each column over the partition's rows; without a column that has no values."""
    asked = ", ".join(f'avg("{c}") AS "mean {c}"' for c in columns)
    row = here.lake.sql(f"SELECT {asked} FROM {table}", experiment=here.key).to_pylist()[0]
    return {name: round(value, 4) for name, value in row.items() if value is not None}


def _last_pictures(lake: Lake, experiment: str) -> str | None:
    """The latest picture of up to eight runs side by side, small enough for the UI."""
    from panic_assets.graphics.previews import strip

    rows = lake.sql(
        """SELECT i.output_image FROM invocations i
           JOIN (SELECT run_id, max(sequence_number) AS sequence_number FROM invocations
                 WHERE type = 'image' GROUP BY run_id ORDER BY run_id LIMIT 8) USING (run_id, sequence_number)""",
        experiment=experiment,
    )["output_image"].to_pylist()
    return strip(rows, "last pictures of runs")
