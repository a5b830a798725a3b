"""The graph of the analyses: what hangs on embeddings, diagrams and clusters. Made on request, never by themselves."""

import time
from typing import Any

import dagster as dg
from pydantic import Field

from panic_assets.compute.protocol import Compute
from panic_assets.instance.home import GPU_POOL
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import EMBEDDING_MODEL, EXPERIMENT
from panic_assets.steps import CPU, GPU, OWNERS, on, working_on
from panic_assets.trajectories import assets
from panic_assets.trajectories import stages as analysis
from panic_assets.trajectories import stages as symbolic
from panic_assets.trajectories.assets import ProgressResource
from panic_assets.trajectories.clusters import layers

GROUP = "analyses"


class DynamicsConfig(dg.Config):
    """How many runs and repetitions are compared with chance."""

    null_runs: int = Field(default=20, ge=0, description="Runs that are compared with chance.")
    null_points: int = Field(default=300, ge=3, description="Outputs, from a run's start, compared with chance.")
    replicates: int = Field(default=39, ge=1, description="Repetitions of each kind of chance.")


class TopologyConfig(DynamicsConfig):
    """How many runs and repetitions; each costs diagrams, and distances cost the square of runs."""

    distance_runs: int = Field(default=100, ge=2, description="Runs whose diagrams are compared in pairs.")
    across_runs: int = Field(default=20, ge=0, description="Runs of each experiment compared with those of the others.")


def _common(tables: list[str]) -> dict[str, Any]:
    return {
        "group_name": GROUP,
        "owners": OWNERS,
        "metadata": {"tables": tables, "seed": analysis.SEED},
        "code_version": analysis.CODE_VERSION,
    }


@dg.asset(
    partitions_def=EXPERIMENT,
    deps=[assets.embeddings],
    kinds={"parquet", "python"},
    pool=GPU_POOL,
    **on(GPU),
    **_common(
        [
            "drift_steps",
            "displacements",
            "change_points",
            "run_divergence",
            "prompt_recoverability",
            "motion_nulls",
            "run_dynamics",
        ]
    ),
)
def dynamics(
    context: dg.AssetExecutionContext,
    config: DynamicsConfig,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
    progress: ProgressResource,
) -> dg.MaterializeResult:
    """How runs move: drift from the prompt, memory, recurrence, change points, divergence, recoverability."""
    began = time.monotonic()
    with working_on(context, lake, f"experiment {context.partition_key}"):
        watcher = progress.watcher(context)
        done = analysis.dynamics(lake.lake, compute, watcher, context.partition_key, **config.model_dump())
    return assets._result(context, lake, began, done, "drift_steps", "run_divergence", "run_dynamics")


@dg.asset(
    partitions_def=EXPERIMENT,
    deps=[assets.persistence_diagrams],
    kinds={"parquet", "python"},
    **on(CPU),
    **_common(["persistence_curves", "persistence_images", "diagram_distances", "topology_nulls", "curve_nulls"]),
)
def topology(
    context: dg.AssetExecutionContext, config: TopologyConfig, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Diagrams as curves and images, how far apart they are, and whether chance would have made them."""
    began = time.monotonic()
    with working_on(context, lake, f"experiment {context.partition_key}"):
        done = analysis.topology(lake.lake, progress.watcher(context), context.partition_key, **config.model_dump())
    return assets._result(context, lake, began, done, "diagram_distances", "topology_nulls")


@dg.asset(
    partitions_def=EXPERIMENT,
    deps=[topology],
    kinds={"parquet", "python"},
    **on(CPU),
    **_common(["layout_points"]),
)
def layouts(context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource) -> dg.MaterializeResult:
    """Flat maps (t-SNE) of all outputs, and of runs by the distance of their diagrams; for charts, not for claims."""
    began = time.monotonic()
    with working_on(context, lake, f"experiment {context.partition_key}"):
        done = analysis.layouts(lake.lake, progress.watcher(context), context.partition_key)
    return assets._result(context, lake, began, done, "layout_points")


@dg.asset(
    partitions_def=EMBEDDING_MODEL,
    deps=[assets.clusters],
    kinds={"parquet", "python"},
    **on(CPU),
    **_common(list(symbolic.SYMBOL_TABLES)),
)
def symbolic_dynamics(
    context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Runs as sequences of clusters: stays, moves, where they end, Markov state models and whether those hold."""
    model = context.partition_key
    with working_on(context, lake, f"clusters of {model}"):
        done = symbolic.symbols(lake.lake, progress.watcher(context), model)
    return dg.MaterializeResult(metadata={"new rows": done.rows})


@dg.asset(
    partitions_def=EMBEDDING_MODEL,
    deps=[assets.clusters],
    kinds={"parquet", "scikitlearn"},
    **on(CPU),
    **_common(["clustering_stability", "cluster_stability"]),
)
def cluster_stability(
    context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Whether clusters are there or were made: subsamples clustered again, and clouds that have no clusters."""
    model = context.partition_key
    with working_on(context, lake, f"clusters of {model}"):
        done = symbolic.stability(lake.lake, progress.watcher(context), model)
    return dg.MaterializeResult(metadata={"new rows": done.rows})


@dg.asset(
    partitions_def=EMBEDDING_MODEL,
    deps=[dg.AssetDep(assets.embeddings, partition_mapping=dg.AllPartitionMapping())],
    kinds={"parquet", "python"},
    **on(CPU),
    **_common(["cluster_layers", "cluster_layer_members"]),
)
def cluster_layers(
    context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Clusters at several resolutions (EVoC), for more vectors than HDBSCAN can take. EVoC compiles at its first use."""
    model = context.partition_key
    context.log.info(layers.COMPILES)
    with working_on(context, lake, f"clusters of {model}"):
        done = symbolic.layers(lake.lake, progress.watcher(context), model)
    return dg.MaterializeResult(metadata={"layers": done.rows})


@dg.asset(
    partitions_def=EXPERIMENT,
    deps=[
        assets.persistence_diagrams,
        dynamics,
        topology,
        # Stays are those of clusters, which pool all experiments.
        dg.AssetDep(symbolic_dynamics, partition_mapping=dg.AllPartitionMapping()),
    ],
    kinds={"parquet", "python"},
    **on(CPU),
    **_common(["model_effects", "model_terms", "model_variances", "contrasts", "null_tests", "findings"]),
)
def statistics(
    context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Which part of the system decides: mixed-effects models of each outcome, their tests, and sentences."""
    began = time.monotonic()
    with working_on(context, lake, f"experiment {context.partition_key}"):
        done = analysis.statistics(lake.lake, progress.watcher(context), context.partition_key)
    return assets._result(context, lake, began, done, "model_effects", "model_terms", "findings")


ANALYSED = ("dynamics", "topology", "layouts", "statistics")

analyse_job = dg.define_asset_job(
    "analyse_experiment",
    list(ANALYSED),
    partitions_def=EXPERIMENT,
    description="Every analysis of one finished experiment.",
)
symbols_job = dg.define_asset_job(
    "analyse_clusters",
    ["symbolic_dynamics", "cluster_stability"],
    partitions_def=EMBEDDING_MODEL,
    description="Symbolic dynamics on the current clusters of one embedding model, and whether those hold.",
)
layers_job = dg.define_asset_job(
    "recompute_layers",
    ["cluster_layers"],
    partitions_def=EMBEDDING_MODEL,
    description="Clusters of one embedding model's vectors at several resolutions (EVoC), pooled over all experiments.",
)
JOBS = [analyse_job, symbols_job, layers_job]
