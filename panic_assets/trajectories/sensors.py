"""Outside facts: an experiment file dropped into `experiments/`. And the schedule that pools clusters again."""

import hashlib
import json
from pathlib import Path

import dagster as dg

from panic_assets import variables
from panic_assets.errors import UserError
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import EMBEDDING_MODEL, EXPERIMENT
from panic_assets.trajectories import config, registration, work

clusters_job = dg.define_asset_job(
    "recompute_clusters",
    ["clusters"],
    partitions_def=EMBEDDING_MODEL,
    description="Cluster one embedding model's vectors again, pooled over all experiments.",
)
register_file_job = dg.define_asset_job(
    "plan_experiment",
    ["experiments"],
    partitions_def=EXPERIMENT,
    description="Plan the runs of a registered experiment; the automation then performs it.",
)
perform_job = dg.define_asset_job(
    "perform_experiment",
    ["experiments", "invocations", "embeddings", "persistence_diagrams"],
    partitions_def=EXPERIMENT,
    description="Everything of one experiment that is missing, from its runs to its diagrams.",
)


def folder() -> Path:
    """Where experiment files are dropped: PANIC_EXPERIMENTS, else `experiments/` in the current folder."""
    return variables.read().experiments


@dg.sensor(
    job=register_file_job,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers experiment files (*.json, *.yaml) dropped into experiments/; one try a version.",
)
def experiment_files(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
    """A file is tried once for each content it has had; a refused one is said to be, and tried again when changed."""
    cursor = json.loads(context.cursor or "{}")
    tried: dict[str, str] = cursor.get("tried", {})
    refused: dict[str, str] = cursor.get("refused", {})
    requests = []
    present = {path.name for path in folder().glob("*")}
    refused = {name: why for name, why in refused.items() if name in present}
    for path in sorted(p for p in folder().glob("*") if p.suffix.lower() in config.SUFFIXES):
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            continue  # Gone again, or not yet readable: the next tick will see.
        if tried.get(path.name) == digest:
            continue
        tried[path.name] = digest
        refused.pop(path.name, None)
        try:
            found, _ = registration.add(lake, context.instance, config.read(path))
        except UserError as error:
            refused[path.name] = str(error)
            context.log.error(f"{path.name} is refused: {error}")
            continue
        # Asked of the lake, and without a run key: a tick that died here, or a deletion, must not stand in the way.
        if _something_left(lake, found.name):
            requests.append(dg.RunRequest(partition_key=found.name))
    after = json.dumps({"tried": tried, "refused": refused})
    if not requests:
        context.update_cursor(after)
        said = "; ".join(f"{name} is refused: {why}" for name, why in refused.items())
        return dg.SkipReason(said or f"no new experiment file in {folder()}")
    return dg.SensorResult(run_requests=requests, cursor=after)


def _something_left(lake: LakeResource, name: str) -> bool:
    planned = lake.lake.manifest("runs", experiment=name) is not None
    stages = ("invocations", "embeddings", "persistence_diagrams")
    return not planned or any(m.count for stage in stages for m in work.missing(lake.lake, stage, name))


@dg.schedule(
    job=clusters_job,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night, pools the clusters that are stale again.",
)
def nightly_clusters(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> list[dg.RunRequest]:
    """Asks for the stale clusterings only."""
    stale = [m.embedding_model for m in work.missing(lake.lake, "clusters") if m.count]
    day = context.scheduled_execution_time.date().isoformat()
    return [dg.RunRequest(partition_key=model, run_key=f"{model}-{day}") for model in stale]
