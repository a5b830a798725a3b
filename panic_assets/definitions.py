"""The whole platform: every workload's assets, checks, jobs and sensors, and the platform's own.

Names no workload. Imports no library that only a stage needs: those load in the process that runs it.
"""

import contextlib
import gc
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Python looks for garbage while it loads modules: among all of Dagster's, and finds none. That is a tenth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


with _without_collecting():
    from panic_assets import drops
    from panic_assets.checks import checks_of
    from panic_assets.doctor import jobs as doctor_jobs
    from panic_assets.doctor import sensors as doctor_sensors
    from panic_assets.executors import executor_from_environment
    from panic_assets.resources import RESOURCES
    from panic_assets.workloads import WORKLOADS, graphs

    ASSETS = [asset for graph in graphs() for asset in graph.assets]
    CHECKS = [
        *(checks_of(asset) for asset in ASSETS),
        *(check for graph in graphs() for check in graph.checks),
        doctor_sensors.no_orphans,
    ]
    JOBS: list[Any] = [*(job for graph in graphs() for job in graph.jobs), *doctor_jobs.JOBS]
    SENSORS = [
        drops.sensor([drop for workload in WORKLOADS for drop in workload.drops], JOBS),
        *(sensor for graph in graphs() for sensor in graph.sensors),
        doctor_sensors.orphans(JOBS),
        dg.AutomationConditionSensorDefinition(
            "automation",
            target=dg.AssetSelection.all(),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=15,
        ),
    ]
    SCHEDULES = [schedule for graph in graphs() for schedule in graph.schedules]


def build(overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything, with resources replaced by `overrides` (the command line brings its own progress display)."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=JOBS,
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources={**RESOURCES, **(overrides or {})},
        executor=executor_from_environment(),
    )


defs = build()
