"""The whole platform on one screen: slices, resources, executor.

Imports no torch, transformers or diffusers: models load in the process that runs them.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from panic_assets.compute.choose import compute_from_environment
from panic_assets.doctor import sensors as operation_sensors
from panic_assets.executors import executor_from_environment
from panic_assets.finetunes import checks as finetune_checks
from panic_assets.finetunes import jobs as finetune_jobs
from panic_assets.finetunes import sensors as finetune_sensors
from panic_assets.grokking import checks as grokking_checks
from panic_assets.grokking import jobs as grokking_jobs
from panic_assets.grokking import sensors as grokking_sensors
from panic_assets.lake.resource import LakeResource
from panic_assets.operations import jobs as operation_jobs
from panic_assets.training import checks as training_checks
from panic_assets.training import jobs as training_jobs
from panic_assets.training import sensors as training_sensors
from panic_assets.trajectories import analyses, registration
from panic_assets.trajectories import checks as trajectory_checks
from panic_assets.trajectories import sensors as trajectory_sensors
from panic_assets.trajectories.assets import ProgressResource
from panic_assets.workloads import ASSETS

CHECKS = [
    *trajectory_checks.CHECKS,
    *training_checks.CHECKS,
    *grokking_checks.CHECKS,
    *finetune_checks.CHECKS,
    operation_sensors.no_orphans,
]
JOBS: list[Any] = [
    registration.register_experiment,
    trajectory_sensors.clusters_job,
    trajectory_sensors.perform_job,
    trajectory_sensors.register_file_job,
    *analyses.JOBS,
    *training_jobs.JOBS,
    *grokking_jobs.JOBS,
    *finetune_jobs.JOBS,
    *operation_jobs.JOBS,
]
SENSORS = [
    trajectory_sensors.experiment_files,
    training_sensors.checkpoint_files,
    grokking_sensors.grokking_files,
    grokking_sensors.grokking_work,
    finetune_sensors.finetune_files,
    finetune_sensors.finetune_work,
    operation_sensors.orphans,
]
SCHEDULES = [trajectory_sensors.nightly_clusters]


@dg.resource(description="Where models run: PANIC_COMPUTE = auto, in_process, local or ray.")
def compute(_: dg.InitResourceContext) -> Any:
    """Chosen from the environment; closed with the step, so that no worker outlives it."""
    chosen = compute_from_environment()
    try:
        yield chosen
    finally:
        chosen.close()


def build(overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything, with resources replaced by `overrides` (the command line brings its own progress display)."""
    resources: dict[str, Any] = {"lake": LakeResource(), "compute": compute, "progress": ProgressResource()}
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=JOBS,
        sensors=[
            *SENSORS,
            dg.AutomationConditionSensorDefinition(
                "automation",
                target=dg.AssetSelection.all(),
                default_status=dg.DefaultSensorStatus.RUNNING,
                minimum_interval_seconds=15,
            ),
        ],
        schedules=SCHEDULES,
        resources={**resources, **(overrides or {})},
        executor=executor_from_environment(),
    )


defs = build()
