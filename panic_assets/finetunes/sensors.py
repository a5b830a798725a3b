"""The sensor that has the checkpoints of fine-tunes tested as they appear."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from panic_assets import problems
from panic_assets.asleep import asleep
from panic_assets.finetunes import config, jobs, missing
from panic_assets.instance.runs import under_way
from panic_assets.problems import Problem, isolated
from panic_assets.resources import LakeResource
from panic_assets.training import names, runs
from panic_assets.training.sensors import tell
from panic_assets.training.watch import Cursor, tick

if TYPE_CHECKING:
    from panic_assets.training import stages as spine
else:
    spine = asleep("panic_assets.training.stages")


@dg.sensor(
    job=jobs.test_job,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers complete checkpoints in the folders of registered fine-tunes, and has them tested.",
)
def finetune_work(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
    """Starts the test once for every state of what is missing, unless one is running. A test that failed is started again
    when that state changes."""
    before = json.loads(context.cursor or "{}")
    after: dict[str, Any] = {}
    requests, events, met = [], [], list[Problem]()
    for row in runs.every(lake.lake, config.FAMILY.name):
        name = row["training_run"]
        if row["status"] == runs.TOMBSTONE:
            continue
        after[name] = before.get(name, {})
        with isolated(met, name, name):  # One run that fails stops no other.
            watch = spine.watch_of(row)
            found = tick(watch, Cursor.from_json(after[name]), runs.registered(lake.lake, name))
            after[name] = found.cursor.to_json()
            tell(context, spine.report_files(lake.lake, watch, found.cursor))
            mine = [a for a in found.arrivals if a.checkpoint.run == name]
            if mine:
                spine.store_arrivals(lake.lake, mine)
                version = {"dagster/data_version": spine.checkpoints_version(lake.lake, name)}
                asset = names.asset(config.FAMILY.name, "checkpoints")
                events.append(dg.AssetMaterialization(asset, partition=name, tags=version))
            left = missing.missing(lake.lake, name)
            if any(left.values()) and not under_way(context.instance, jobs.test_job.name, name):
                digest = hashlib.sha256(json.dumps([left, *missing.current(lake.lake, name)]).encode()).hexdigest()[:16]
                requests.append(dg.RunRequest(partition_key=name, run_key=f"{name}-{digest}"))
    tell(context, problems.report(lake.lake, "finetune_work", met))
    known = {row["training_run"] for row in runs.every(lake.lake, config.FAMILY.name)}
    problems.report(lake.lake, missing.IMAGES, [], lambda row: row["subject"] not in known)
    if events:
        lake.refresh()
    if not requests and not events:
        context.update_cursor(json.dumps(after))
        return dg.SkipReason("every checkpoint of every fine-tune is tested")
    return dg.SensorResult(run_requests=requests, asset_events=events, cursor=json.dumps(after))
