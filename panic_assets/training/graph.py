"""The assets, checks, jobs and sensors of the training workload."""

import dagster as dg

from panic_assets.training import assets, checks, jobs, names, sensors
from panic_assets.training.workload import CONCLUDE, FAMILY
from panic_assets.workload import Graph


def graph() -> Graph:
    """What the workload adds to the definitions."""
    spine = assets.spine(FAMILY, "training")
    conclude = dg.define_asset_job(
        CONCLUDE,
        dg.AssetSelection.assets(*(names.asset(FAMILY.name, shared) for shared in names.SPINE)),
        description="Registers the checkpoints of a run of your own training loop, and gives advice from its metrics.",
    )
    return Graph(
        assets=spine.assets,
        checks=checks.spine_checks(FAMILY, spine),
        jobs=[conclude, *jobs.JOBS],
        sensors=[sensors.checkpoint_files],
    )
