"""The grokking workload."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets.grokking import missing
from panic_assets.grokking.config import FAMILY, SUFFIX
from panic_assets.grokking.repair import repair
from panic_assets.grokking.rules import RULES
from panic_assets.grokking.tables import TABLES
from panic_assets.training.spaces import space_of
from panic_assets.workload import Command, Drop, Graph, Workload

if TYPE_CHECKING:
    import dagster as dg

    from panic_assets.resources import LakeResource


def _graph() -> Graph:
    from panic_assets.grokking import assets, checks, jobs, sensors

    return Graph(assets=assets.ASSETS, checks=checks.CHECKS, jobs=jobs.JOBS, sensors=[sensors.grokking_work])


def _register(lake: "LakeResource", instance: "dg.DagsterInstance", path: Path) -> Sequence[str]:
    from panic_assets.grokking import config, stages
    from panic_assets.training import registration, runs

    made = config.read(path)
    for run in made:
        stages.register(lake.lake, run)
    names = [run.name for run in made]
    registration.add_keys(instance, FAMILY.name, names)
    return [name for name in names if runs.get(lake.lake, name)["status"] != "finished"]


WORKLOAD = Workload(
    name="grokking",
    purpose="Train small transformers on modular addition, and analyse what their weights do at every checkpoint.",
    tables=TABLES,
    rules=RULES,
    graph=_graph,
    family=FAMILY,
    spaces=(space_of(FAMILY.name, own=missing.OF_RUN, makes="analyse_grokking", repair=repair),),
    drops=(Drop((SUFFIX,), "training runs", _register, job="train_grokking"),),
    commands=(
        Command(
            "grokking",
            "panic_assets.grokking.commands:app",
            "Train small transformers on modular addition, and analyse their weights at every checkpoint.",
        ),
    ),
    demo=(
        "panic grokking train experiments/examples/quick.grokking",
        "panic grokking animate quick-p23-s999-d598 ring --format gif",
    ),
)
