"""The trajectories workload."""

from panic_assets.trajectories import missing, repair
from panic_assets.trajectories.config import SUFFIXES, read
from panic_assets.trajectories.rules import RULES
from panic_assets.trajectories.tables import TABLES, VIEWS
from panic_assets.workload import Command, Drop, Space, Workload, later

_COMMANDS = "panic_assets.trajectories.commands"


WORKLOAD = Workload(
    name="trajectories",
    purpose="Let text-to-image and image-to-text models run in a loop, and study where the runs go and what decides it.",
    tables=TABLES,
    views=VIEWS,
    rules=RULES,
    graph=later("panic_assets.trajectories.graph:graph"),
    spaces=(
        Space(
            name="experiment",
            noun="experiment",
            table="experiments",
            missing=missing.OF_EXPERIMENT,
            repair=repair.repair,
            lease=missing.LEASE,
            makes="perform_experiment",
        ),
        Space(
            name="embedding_model",
            noun="embedding model",
            table="clusterings",
            missing=missing.OF_EMBEDDING_MODEL,
            repair=repair.repair_clusters,
            lease="clusters of {}",
            makes="recompute_clusters",
            defined=missing.embedding_models,
        ),
    ),
    drops=(
        Drop(
            SUFFIXES,
            "experiment",
            later("panic_assets.trajectories.registration:dropped"),
            job="plan_experiment",
            models=lambda path: read(path).inputs,
        ),
    ),
    commands=(
        Command("experiment", f"{_COMMANDS}.experiment:app", "Perform, show, delete and restore experiments."),
        Command("run", f"{_COMMANDS}.run:app", "Show single runs of experiments: their outputs and loops."),
        Command("cluster", f"{_COMMANDS}.cluster:app", "Cluster the vectors of each embedding model."),
        Command("analyse", f"{_COMMANDS}.analyse:analyse", "Make every analysis of a finished experiment."),
        Command("compare", f"{_COMMANDS}.analyse:compare", "Print the results of experiments side by side."),
    ),
    demo=("panic experiment perform experiments/examples/demo.yaml", "panic cluster recompute"),
)
