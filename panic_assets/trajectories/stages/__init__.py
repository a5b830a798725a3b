"""The stages of the trajectories: read from the lake, call the pure functions, write to the lake. No Dagster.

Each does exactly what `missing` says is left, so that doing it twice does nothing and doing it after a crash finishes it.
The analyses are computed again whenever they are asked for.
"""

from panic_assets.progress import Done, Pace
from panic_assets.trajectories.stages.analysing import models_of, walked
from panic_assets.trajectories.stages.cluster_stability import layers, stability
from panic_assets.trajectories.stages.clustering import assign, cluster
from panic_assets.trajectories.stages.comparisons import topology
from panic_assets.trajectories.stages.effects import statistics
from panic_assets.trajectories.stages.embedding import embed
from panic_assets.trajectories.stages.maps import layouts
from panic_assets.trajectories.stages.motion import dynamics
from panic_assets.trajectories.stages.persistence import diagrams
from panic_assets.trajectories.stages.registering import plan, register, registered
from panic_assets.trajectories.stages.sequences import symbols
from panic_assets.trajectories.stages.walking import walk

__all__ = [
    "Done",
    "Pace",
    "assign",
    "cluster",
    "diagrams",
    "dynamics",
    "embed",
    "layers",
    "layouts",
    "models_of",
    "plan",
    "register",
    "registered",
    "stability",
    "statistics",
    "symbols",
    "topology",
    "walk",
    "walked",
]
