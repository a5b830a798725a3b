"""The orphan sensor: compares what the graph says should exist with what is there, reports it, and may repair it."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import dagster as dg

from panic_assets import variables
from panic_assets.checks import COMPLETE, evaluation
from panic_assets.doctor import doctor
from panic_assets.doctor.jobs import repair
from panic_assets.house import open_house
from panic_assets.operations import deletion, operation
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.workloads import SPACES, WORKLOADS

ROOT = WORKLOADS[0].graph().assets[0]
"""The asset whose page shows what the sensor found."""
CHECK = "no_orphans"


@dg.asset_check(
    asset=ROOT,
    name=CHECK,
    description="Every partition key of Dagster has rows, all rows have a key, and no operation is unfinished. The sensor "
    "`orphans` keeps this result up to date.",
)
def no_orphans(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The quick part of the examination: it reads keys and partitions, but no rows."""
    found = list(doctor.examine_keys(open_house(context.instance)))
    return dg.AssetCheckResult(passed=not found, description="; ".join(map(str, found)) or None)


def orphans(jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor; `jobs` are those that make what is missing, of every workload."""

    @dg.sensor(
        name="orphans",
        jobs=jobs,
        minimum_interval_seconds=120,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Finishes what was interrupted, such as a deletion, examines everything that is stored, and "
        "reports what is wrong as the check `no_orphans`. With PANIC_REPAIR=1 it also starts the repair, and the jobs that make what is missing.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        """Examines everything at every tick, and acts on the same finding once per hour."""
        house = open_house(context.instance)
        for done in operation.finish_all(operation.stores(lake.lake, context.instance)):
            context.log.info(done)
            lake.refresh()
        deletion.expire(home())
        found = [f for f in doctor.examine(house) if f.kind != "stale"]
        stale = [m for space in SPACES.values() for m in space.left(lake.lake) if m.stale and not m.on_request]
        said = "; ".join(map(str, found))
        digest = hashlib.sha256(f"{said} {stale}".encode()).hexdigest()[:12]
        events = []
        if context.cursor != digest:
            events = [_report(ROOT.key, CHECK, not found, said, dg.AssetCheckSeverity.ERROR, None)]
            for m in stale:
                asset = dg.AssetKey.from_user_string(m.stage)
                events.append(_report(asset, COMPLETE, not m.count, str(m), dg.AssetCheckSeverity.WARN, m.key))
        requests = []
        if found and variables.read().repair:
            hour = int(time.time() // 3600)
            if any(f.kind != "missing" for f in found):
                requests.append(dg.RunRequest(job_name=repair.name, run_key=f"repair-{digest}-{hour}"))
            else:
                for job, key in doctor.recompute(lake.lake, stale=False):
                    run_key = f"{job}-{key}-{digest}-{hour}"
                    requests.append(dg.RunRequest(job_name=job, partition_key=key, run_key=run_key))
        return dg.SensorResult(run_requests=requests, asset_events=events, cursor=digest)

    return sensor


def _report(
    asset: dg.AssetKey, check: str, passed: bool, said: str, severity: dg.AssetCheckSeverity, partition: str | None
) -> dg.AssetCheckEvaluation:
    told = dg.AssetCheckResult(passed=passed, severity=severity, description=None if passed else said)
    return evaluation(dg.AssetCheckKey(asset, check), told, partition)
