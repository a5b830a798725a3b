"""Outside facts of the grokking family: definition files, and runs with checkpoints nobody has analysed."""

import hashlib
import json

import dagster as dg

from panic_assets.errors import UserError
from panic_assets.grokking import config, stages
from panic_assets.grokking.jobs import analyse_job, train_job
from panic_assets.instance.runs import under_way
from panic_assets.lake.resource import LakeResource
from panic_assets.training import registration, runs
from panic_assets.trajectories.sensors import folder


@dg.sensor(
    job=train_job,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers and trains the runs of *.grokking files dropped into experiments/; one try a version.",
)
def grokking_files(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
    """A file is tried once for each content it has had."""
    tried: dict[str, str] = json.loads(context.cursor or "{}")
    requests = []
    for path in sorted(folder().glob(f"*{config.SUFFIX}")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if tried.get(path.name) == digest:
            continue
        tried[path.name] = digest
        try:
            made = config.read(path)
            for run in made:
                stages.register(lake.lake, run)
        except UserError as error:
            context.log.error(f"{path.name} is refused: {error}")
            continue
        registration.add_keys(context.instance, [run.name for run in made])
        left = [run.name for run in made if runs.get(lake.lake, run.name)["status"] != "finished"]
        requests += [dg.RunRequest(partition_key=name) for name in left]
    if not requests:
        context.update_cursor(json.dumps(tried))
        return dg.SkipReason(f"no new grokking file in {folder()}")
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(tried))


@dg.sensor(
    job=analyse_job,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Analyses checkpoints that are new or were written again, while the run is trained too.",
)
def grokking_work(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
    """Asks once for every state of a run's checkpoints; one that failed is asked for again when they change.

    Not while a run is at it: checkpoints that come in faster than they are analysed are analysed together.
    """
    requests = []
    for name, left in stages.waiting(lake.lake, in_training=True).items():
        in_training = runs.get(lake.lake, name)["status"] == "training"
        if under_way(context.instance, analyse_job.name, name):
            continue
        if not in_training and under_way(context.instance, train_job.name, name):  # analyses them itself
            continue
        digest = hashlib.sha256(" ".join(r["content_hash"] for r in left).encode()).hexdigest()[:16]
        requests.append(dg.RunRequest(partition_key=name, run_key=f"{name}-{digest}"))
    return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("no checkpoint waits to be analysed")
