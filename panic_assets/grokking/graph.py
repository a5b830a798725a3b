"""The assets, checks, jobs and sensors of the grokking workload."""

from panic_assets.grokking import assets, checks, jobs, sensors
from panic_assets.workload import Graph


def graph() -> Graph:
    """What the workload adds to the definitions."""
    return Graph(assets=assets.ASSETS, checks=checks.CHECKS, jobs=jobs.JOBS, sensors=[sensors.grokking_work])
