"""The jobs of the trajectories workload: register, perform, cluster, analyse, delete, restore."""

import dagster as dg
from pydantic import Field

from panic_assets.checks import table_findings
from panic_assets.errors import UserError
from panic_assets.house import open_house
from panic_assets.operations import deletion
from panic_assets.partitions import EMBEDDING_MODEL, EXPERIMENT
from panic_assets.resources import LakeResource
from panic_assets.steps import CPU, on
from panic_assets.trajectories import assets, missing, registration
from panic_assets.trajectories.config import parse

plan_experiment = dg.define_asset_job(
    "plan_experiment",
    dg.AssetSelection.assets("experiments"),
    partitions_def=EXPERIMENT,
    description="Plans the runs of a registered experiment. The sensor `automation` then has it performed.",
)
perform_experiment = dg.define_asset_job(
    "perform_experiment",
    dg.AssetSelection.assets(*missing.PERFORMED),
    partitions_def=EXPERIMENT,
    description="Performs an experiment: makes what is missing of it, from model calls to persistence diagrams.",
)
analyse_experiment = dg.define_asset_job(
    "analyse_experiment",
    dg.AssetSelection.assets("dynamics", "topology", "layouts", "statistics"),
    partitions_def=EXPERIMENT,
    description="Makes every analysis of a finished experiment.",
)
recompute_clusters = dg.define_asset_job(
    "recompute_clusters",
    dg.AssetSelection.assets("clusters"),
    partitions_def=EMBEDDING_MODEL,
    description="Clusters the vectors of an embedding model again, pooled over all experiments.",
)
analyse_clusters = dg.define_asset_job(
    "analyse_clusters",
    dg.AssetSelection.assets("symbolic_dynamics", "cluster_stability"),
    partitions_def=EMBEDDING_MODEL,
    description="Describes runs as sequences of an embedding model's clusters, and tests whether the clusters are real.",
)
recompute_layers = dg.define_asset_job(
    "recompute_layers",
    dg.AssetSelection.assets("cluster_layers"),
    partitions_def=EMBEDDING_MODEL,
    description="Clusters the vectors of an embedding model at several resolutions with EVoC, pooled over all experiments.",
)


class ExperimentConfig(dg.Config):
    """An experiment. The fields are those of an experiment file, as in experiments/examples/first.yaml."""

    name: str = Field(description="The name of the experiment, which is also its partition key.")
    networks: list[list[str]] = Field(
        description="Lists of models. The models of a list take turns; the first must take text."
    )
    prompts: list[str] = Field(description="Texts that runs start from. Every network starts from each of them.")
    seeds: list[int] | None = Field(default=None, description="Seeds, with one run per seed; -1 makes an unseeded run.")
    seed_count: int | None = Field(default=None, description="Instead of seeds: the number of unseeded runs.")
    embedding_models: list[str] = Field(description="Models that embed the outputs. More can be added later.")
    max_length: int = Field(description="Number of model calls per run. A run that loops ends earlier.")
    image_size: int | None = Field(
        default=None, description="Side length of images in pixels. Default: the size that each model was trained with."
    )
    image_format: str = Field(
        default="png", description="How images are stored: png or webp (both lossless), or jpeg (lossy)."
    )
    precision: dict[str, str] | None = Field(
        default=None, description="Precisions that models must be held in, as in {Qwen3VL: nf4}. Default: what fits."
    )


@dg.op(tags=on(CPU)["op_tags"])
def register(context: dg.OpExecutionContext, config: ExperimentConfig, lake: LakeResource) -> None:
    """Checks and stores an experiment, adds its partition keys, and plans its runs. The rest of the graph follows."""
    given = {k: v for k, v in config.model_dump().items() if v is not None}
    try:
        found, _ = registration.add(lake, context.instance, parse(given))
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    lake.refresh()
    context.log_event(
        dg.AssetMaterialization(
            "experiments",
            partition=found.name,
            description="registered from the launchpad",
            metadata={"runs": found.runs, "embedding models": list(found.embedding_models)},
        )
    )
    for evaluation in table_findings(assets.experiments, lake.lake, found.name):
        context.log_event(evaluation)  # type: ignore[arg-type]  # Its code takes them; its annotation forgets to say so.


class DeleteConfig(dg.Config):
    """The name of the experiment. `dry_run` only prints what would be deleted; with `purge` it cannot be restored."""

    name: str
    dry_run: bool = False
    purge: bool = False


class RestoreConfig(dg.Config):
    """The name of the deleted experiment."""

    name: str


@dg.op(name="delete_experiment_op")
def delete(context: dg.OpExecutionContext, config: DeleteConfig) -> None:
    """Logs what is deleted of each asset, and deletes it, unless `dry_run` is set."""
    house = open_house(context.instance)
    try:
        planned = deletion.plan(house, "experiment", config.name, config.purge)
        for entry in planned.entries:
            if entry.rows or entry.rebuild:
                fate = f"rebuilds {', '.join(entry.rebuild)}" if entry.rebuild else f"{entry.bytes:,} bytes"
                context.log.info(f"{entry.asset}: {entry.rows:,} rows, {fate}")
        if not config.dry_run:
            deletion.run(house, planned, spare=[context.run_id])
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.op(name="restore_experiment_op")
def restore(context: dg.OpExecutionContext, config: RestoreConfig) -> None:
    """Restores a deleted experiment."""
    try:
        done = deletion.restore(open_house(context.instance), "experiment", config.name)
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"{done.rows:,} rows were restored")


@dg.job(
    description="Registers an experiment that is typed into the launchpad. While the daemon runs, it is then performed."
)
def register_experiment() -> None:
    register()


@dg.job(description="Deletes an experiment and everything made from it.")
def delete_experiment() -> None:
    delete()


@dg.job(description="Restores an experiment that was deleted less than PANIC_TRASH_DAYS (7) days ago.")
def restore_experiment() -> None:
    restore()


@dg.schedule(
    job=recompute_clusters,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night at 3:00, clusters the vectors of embedding models again whose clusters are stale.",
)
def nightly_clusters(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> list[dg.RunRequest]:
    """Starts a job for every stale clustering."""
    day = context.scheduled_execution_time.date().isoformat()
    return [dg.RunRequest(partition_key=m, run_key=f"{m}-{day}") for m in missing.stale_clusterings(lake.lake)]


JOBS = [
    register_experiment,
    plan_experiment,
    perform_experiment,
    analyse_experiment,
    recompute_clusters,
    analyse_clusters,
    recompute_layers,
    delete_experiment,
    restore_experiment,
]
