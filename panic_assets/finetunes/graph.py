"""The assets, checks, jobs and sensors of the finetunes workload."""

from panic_assets.finetunes import assets, checks, jobs, sensors
from panic_assets.workload import Graph


def graph() -> Graph:
    """What the workload adds to the definitions."""
    return Graph(assets=assets.ASSETS, checks=checks.CHECKS, jobs=jobs.JOBS, sensors=[sensors.finetune_work])
