"""Runs of the grokking family with checkpoints that nobody has analysed."""

import hashlib

import dagster as dg

from panic_assets.grokking import missing
from panic_assets.grokking.jobs import analyse_job, train_job
from panic_assets.instance.runs import under_way
from panic_assets.resources import LakeResource
from panic_assets.training import runs


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
    for name, left in missing.waiting(lake.lake, in_training=True).items():
        in_training = runs.get(lake.lake, name)["status"] == "training"
        if under_way(context.instance, analyse_job.name, name):
            continue
        if not in_training and under_way(context.instance, train_job.name, name):  # analyses them itself
            continue
        digest = hashlib.sha256(" ".join(r["content_hash"] for r in left).encode()).hexdigest()[:16]
        requests.append(dg.RunRequest(partition_key=name, run_key=f"{name}-{digest}"))
    return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("no checkpoint waits to be analysed")
