"""The sensor that has new checkpoints of the grokking family analysed."""

import hashlib

import dagster as dg

from panic_assets import problems
from panic_assets.grokking import missing
from panic_assets.grokking.config import FAMILY
from panic_assets.grokking.jobs import analyse_job, train_job
from panic_assets.instance.runs import under_way
from panic_assets.problems import Problem, isolated
from panic_assets.resources import LakeResource
from panic_assets.training import runs
from panic_assets.training.sensors import tell


@dg.sensor(
    job=analyse_job,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has checkpoints analysed that are new or were written again, also while their run is still trained.",
)
def grokking_work(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
    """Starts the analysis once for every state of a run's checkpoints. One that failed is started again when they change.

    Starts none while one is running: checkpoints that come in faster than they are analysed are analysed together.
    """
    requests, met = [], list[Problem]()
    for name in missing.trained(lake.lake, in_training=True):
        with isolated(met, name, name):  # One run that fails stops no other.
            left = missing.unanalysed(lake.lake, name)
            in_training = runs.get(lake.lake, name)["status"] == "training"
            if not left or under_way(context.instance, analyse_job.name, name):
                continue
            if not in_training and under_way(context.instance, train_job.name, name):  # analyses them itself
                continue
            digest = hashlib.sha256(" ".join(r["content_hash"] for r in left).encode()).hexdigest()[:16]
            requests.append(dg.RunRequest(partition_key=name, run_key=f"{name}-{digest}"))
    tell(context, problems.report(lake.lake, "grokking_work", met))
    known = {row["training_run"] for row in runs.every(lake.lake, FAMILY.name)}
    problems.report(lake.lake, missing.MEASUREMENTS, [], lambda row: row["subject"] not in known)
    return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("every checkpoint is analysed")
