"""Registers checkpoint files that appear in watched folders. Each family decides what is then done with them."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from panic_assets import problems
from panic_assets.asleep import asleep
from panic_assets.errors import UserError
from panic_assets.problems import Problem, isolated
from panic_assets.resources import LakeResource
from panic_assets.training import names, registration, runs, settings
from panic_assets.training.watch import Cursor, Registered, Watch, tick

if TYPE_CHECKING:
    from panic_assets.training import stages
else:
    stages = asleep("panic_assets.training.stages")

SETTINGS = "checkpoint_files"
"""The source of what is wrong with training.yaml itself."""


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers complete checkpoint files in the folders that training.yaml names under watch. It reports files "
    "that are not valid checkpoints.",
)
def checkpoint_files(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
    """Registers a file when it has not changed for two ticks. Each content is registered once, also after a restart."""
    try:
        watches = settings.read().watches
    except UserError as error:
        tell(context, problems.report(lake.lake, SETTINGS, [Problem(str(settings.path()), str(error))]))
        return dg.SkipReason(str(error))
    problems.report(lake.lake, SETTINGS, [])
    before = json.loads(context.cursor or "{}")
    after = {}
    touched: dict[str, int] = {}
    family_of: dict[str, str] = {}
    waiting = 0
    for watch in watches:
        key = json.dumps([watch.family, watch.url, watch.pattern, watch.run])
        cursor, met = Cursor.from_json(before.get(key, {})), list[Problem]()
        with isolated(met, watch.url):  # A folder that cannot be read stops no other.
            found = tick(watch, cursor, _registered(lake, watch))
            cursor = found.cursor
            for name in sorted({a.checkpoint.run for a in found.arrivals}):
                mine = [a for a in found.arrivals if a.checkpoint.run == name]
                with isolated(met, mine[0].checkpoint.path):
                    registration.add_watched(lake.lake, context.instance, watch, mine)
                    stages.store_arrivals(lake.lake, mine)
                    touched[name] = touched.get(name, 0) + len(mine)
                    family_of[name] = watch.family
        tell(context, stages.report_files(lake.lake, watch, cursor, met))
        waiting += len(cursor.waiting)
        after[key] = cursor.to_json()
    if not touched:
        context.update_cursor(json.dumps(after))
        return dg.SkipReason(
            f"there is no new checkpoint in {len(watches)} folders; {waiting} files are waiting, because they may still "
            "be written"
        )
    lake.refresh()
    events = [
        dg.AssetMaterialization(
            names.asset(family_of[name], "checkpoints"),
            partition=name,
            metadata={"new checkpoints": count},
            tags={"dagster/data_version": stages.checkpoints_version(lake.lake, name)},
        )
        for name, count in touched.items()
    ]
    return dg.SensorResult(asset_events=events, cursor=json.dumps(after))


def tell(context: dg.SensorEvaluationContext, new: Sequence[Problem]) -> None:
    """Write new problems into the log of a tick."""
    for problem in new:
        context.log.warning(f"{problem.item}: {problem.problem}")


def _registered(lake: LakeResource, watch: Watch) -> list[Registered]:
    names = [r["training_run"] for r in runs.every(lake.lake, watch.family) if r["folder"] == watch.url]
    return [r for name in names for r in runs.registered(lake.lake, name)]
