"""The assets, checks, jobs and sensors of the trajectories workload."""

from panic_assets.trajectories import assets, jobs
from panic_assets.workload import Graph


def graph() -> Graph:
    """What the workload adds to the definitions."""
    return Graph(
        assets=[
            assets.experiments,
            assets.invocations,
            assets.embeddings,
            assets.persistence_diagrams,
            assets.clusters,
            assets.dynamics,
            assets.topology,
            assets.layouts,
            assets.symbolic_dynamics,
            assets.cluster_stability,
            assets.cluster_layers,
            assets.statistics,
        ],
        jobs=jobs.JOBS,
        schedules=[jobs.nightly_clusters],
    )
