"""The workload of training: tables that all families share, and a family for people's own training loops."""

from panic_assets.training.rules import RULES
from panic_assets.training.spaces import space_of
from panic_assets.training.tables import TABLES, VIEWS
from panic_assets.workload import Command, Family, Workload, later

FAMILY = Family(name="training", pattern="")
"""Runs of people's own training loops, which name the pattern of their files and log their own metrics."""
CONCLUDE = "conclude_training"


WORKLOAD = Workload(
    name="training",
    purpose="Follow training runs of any kind, your own loops included: checkpoints, convergence, advice, cost.",
    tables=TABLES,
    views=VIEWS,
    rules=RULES,
    graph=later("panic_assets.training.graph:graph"),
    family=FAMILY,
    spaces=(space_of(FAMILY.name, makes=CONCLUDE),),
    commands=(
        Command(
            "training",
            "panic_assets.training.commands:app",
            "Show and delete training runs of every family: lineage, convergence, cost.",
        ),
    ),
    examine=later("panic_assets.training.repair:examine_files"),
    mend=later("panic_assets.training.repair:mend"),
)
