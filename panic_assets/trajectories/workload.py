"""The trajectories workload."""

from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets.lake.lake import Lake
from panic_assets.trajectories import missing, repair
from panic_assets.trajectories.config import SUFFIXES, read
from panic_assets.trajectories.rules import RULES
from panic_assets.trajectories.tables import TABLES, VIEWS
from panic_assets.workload import Command, Drop, Graph, Space, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg

    from panic_assets.resources import LakeResource

_COMMANDS = "panic_assets.trajectories.commands"


def _graph() -> Graph:
    from panic_assets.trajectories import assets, jobs

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


def _register(lake: "LakeResource", instance: "dg.DagsterInstance", path: Path) -> "Sequence[str]":
    from panic_assets.trajectories import registration

    return registration.dropped(lake, instance, path)


def _perform(_: Lake, __: str) -> str:
    return "perform_experiment"


def _recompute(_: Lake, __: str) -> str:
    return "recompute_clusters"


WORKLOAD = Workload(
    name="trajectories",
    purpose="Let text-to-image and image-to-text models run in a loop, and study where the runs go and what decides it.",
    tables=TABLES,
    views=VIEWS,
    rules=RULES,
    graph=_graph,
    spaces=(
        Space(
            name="experiment",
            noun="experiment",
            table="experiments",
            missing=missing.OF_EXPERIMENT,
            repair=repair.repair,
            lease="experiment {}",
            makes=_perform,
        ),
        Space(
            name="embedding_model",
            noun="embedding model",
            table="clusterings",
            missing=missing.OF_EMBEDDING_MODEL,
            repair=repair.repair_clusters,
            lease="clusters of {}",
            makes=_recompute,
            defined=missing.embedding_models,
        ),
    ),
    drops=(Drop(SUFFIXES, "experiment", _register, job="plan_experiment", models=lambda path: read(path).inputs),),
    commands=(
        Command("experiment", f"{_COMMANDS}.experiment:app", "Perform, show, delete and restore experiments."),
        Command("run", f"{_COMMANDS}.run:app", "Show single runs of experiments: their outputs and loops."),
        Command("cluster", f"{_COMMANDS}.cluster:app", "Cluster the vectors of each embedding model."),
        Command("analyse", f"{_COMMANDS}.analyse:analyse", "Make every analysis of a finished experiment."),
        Command("compare", f"{_COMMANDS}.analyse:compare", "Print the results of experiments side by side."),
    ),
    demo=("panic experiment perform experiments/examples/demo.yaml", "panic cluster recompute"),
)
