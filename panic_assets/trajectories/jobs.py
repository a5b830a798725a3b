"""What can be asked of the trajectories workload from Dagster: register, perform, cluster, analyse, delete, restore."""

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
    description="Plans the runs of a registered experiment. The automation then performs it.",
)
perform_experiment = dg.define_asset_job(
    "perform_experiment",
    dg.AssetSelection.assets(*missing.PERFORMED),
    partitions_def=EXPERIMENT,
    description="Makes everything that is missing of an experiment, from its runs to its diagrams.",
)
analyse_experiment = dg.define_asset_job(
    "analyse_experiment",
    dg.AssetSelection.assets("dynamics", "topology", "layouts", "statistics"),
    partitions_def=EXPERIMENT,
    description="Makes every analysis of one finished experiment.",
)
recompute_clusters = dg.define_asset_job(
    "recompute_clusters",
    dg.AssetSelection.assets("clusters"),
    partitions_def=EMBEDDING_MODEL,
    description="Clusters one embedding model's vectors again, pooled over all experiments.",
)
analyse_clusters = dg.define_asset_job(
    "analyse_clusters",
    dg.AssetSelection.assets("symbolic_dynamics", "cluster_stability"),
    partitions_def=EMBEDDING_MODEL,
    description="Describes runs as sequences of one embedding model's clusters, and tests whether the clusters hold.",
)
recompute_layers = dg.define_asset_job(
    "recompute_layers",
    dg.AssetSelection.assets("cluster_layers"),
    partitions_def=EMBEDDING_MODEL,
    description="Clusters one embedding model's vectors at several resolutions (EVoC), pooled over all experiments.",
)


class ExperimentConfig(dg.Config):
    """An experiment as typed into the launchpad: the fields of an experiment file."""

    name: str = Field(description="what it is called from now on: the key of its partition")
    networks: list[list[str]] = Field(description="each a list of models that take turns; the first one reads text")
    prompts: list[str] = Field(description="where runs start; every network starts from each of them")
    seeds: list[int] | None = Field(default=None, description="one run each; -1 is an unseeded run")
    seed_count: int | None = Field(default=None, description="instead of seeds: this many unseeded runs")
    embedding_models: list[str] = Field(description="what outputs are embedded with; more can be named later")
    max_length: int = Field(description="invocations in a run, unless it loops before")
    image_size: int | None = Field(default=None, description="pixels per side; without it, what each model likes best")
    image_format: str = Field(default="png", description="how images are stored: png and webp lose nothing, jpeg does")


@dg.op(tags=on(CPU)["op_tags"])
def register(context: dg.OpExecutionContext, config: ExperimentConfig, lake: LakeResource) -> None:
    """Validate and store the definition, add its partition keys and plan its runs; the rest of the graph follows."""
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
    """Which experiment, and how."""

    name: str
    dry_run: bool = False
    purge: bool = False


class RestoreConfig(dg.Config):
    """Which experiment."""

    name: str


@dg.op(name="delete_experiment_op")
def delete(context: dg.OpExecutionContext, config: DeleteConfig) -> None:
    """Print what goes, by asset, rows and bytes; then delete it along the graph, unless `dry_run`."""
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
    """Bring a deleted experiment back."""
    try:
        done = deletion.restore(open_house(context.instance), "experiment", config.name)
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"{done.rows:,} rows restored")


@dg.job(description="Registers an experiment from the launchpad. With the daemon running, it is then performed.")
def register_experiment() -> None:
    register()


@dg.job(description="Deletes an experiment and everything made from it, along the asset graph.")
def delete_experiment() -> None:
    delete()


@dg.job(description="Brings back an experiment that was deleted less than PANIC_TRASH_DAYS (7) days ago.")
def restore_experiment() -> None:
    restore()


@dg.schedule(
    job=recompute_clusters,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night, pools the clusters that are stale again.",
)
def nightly_clusters(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> list[dg.RunRequest]:
    """Asks for the stale clusterings only."""
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
