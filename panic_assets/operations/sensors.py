"""The orphan sensor: what the graph says should exist, against what is there; reported, and repaired when allowed."""

import hashlib
import time

import dagster as dg

from panic_assets import variables
from panic_assets.lake.resource import LakeResource
from panic_assets.operations import deletion, doctor, journal
from panic_assets.operations.jobs import repair_job
from panic_assets.settings import home
from panic_assets.trajectories import work
from panic_assets.trajectories.assets import clusters, experiments
from panic_assets.trajectories.checks import STALE
from panic_assets.trajectories.sensors import perform_job

CHECK = "no_orphans"


@dg.asset_check(
    asset=experiments,
    name=CHECK,
    description="Dagster's keys, the lake's rows and unfinished deletions agree; the orphan sensor keeps this current.",
)
def no_orphans(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """The quick part of the examination: keys and partitions, no rows."""
    found = list(doctor.examine_keys(lake.lake, context.instance))
    return dg.AssetCheckResult(passed=not found, description="; ".join(map(str, found)) or None)


@dg.sensor(
    jobs=[repair_job, perform_job],
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Finishes interrupted deletions, examines everything, reports it as a check of `experiments`; "
    "with PANIC_REPAIR=1 also launches the repair and what is missing.",
)
def orphans(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
    """Level-triggered: what is wrong is asked about at every tick, and the same finding is acted on once an hour."""
    for begun in journal.unfinished(home()):
        deletion.run(context.instance, begun)
        context.log.info(f"finished the deletion of {begun.space} {begun.key}")
    deletion.expire(home())
    found = [f for f in doctor.examine(lake.lake, context.instance) if f.kind != "stale"]
    stale = {m.embedding_model: m.count > 0 for m in work.missing(lake.lake, "clusters") if m.embedding_model}
    said = "; ".join(map(str, found))
    digest = hashlib.sha256(f"{said} {sorted(stale.items())}".encode()).hexdigest()[:12]
    events = []
    if context.cursor != digest:
        events = [_report(experiments.key, CHECK, not found, said, dg.AssetCheckSeverity.ERROR, None)]
        for model, is_stale in stale.items():
            events.append(_report(clusters.key, "complete", not is_stale, STALE, dg.AssetCheckSeverity.WARN, model))
    requests = []
    if found and variables.read().repair:
        hour = int(time.time() // 3600)
        wrong = [f for f in found if f.kind != "missing"]
        if wrong:
            requests.append(dg.RunRequest(job_name=repair_job.name, run_key=f"repair-{digest}-{hour}"))
        else:
            for name in sorted({dict(f.where)["experiment"] for f in found}):
                key = f"perform-{name}-{digest}-{hour}"
                requests.append(dg.RunRequest(job_name=perform_job.name, partition_key=name, run_key=key))
    return dg.SensorResult(run_requests=requests, asset_events=events, cursor=digest)


def _report(
    asset: dg.AssetKey, check: str, passed: bool, said: str, severity: dg.AssetCheckSeverity, partition: str | None
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=check,
        passed=passed,
        severity=severity,
        description=None if passed else said,
        partition=partition,
    )
