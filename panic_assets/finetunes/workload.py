"""The fine-tunes workload."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets.finetunes import missing
from panic_assets.finetunes.config import FAMILY, SUFFIX
from panic_assets.finetunes.repair import repair
from panic_assets.finetunes.tables import TABLES
from panic_assets.training.spaces import space_of
from panic_assets.workload import Command, Drop, Graph, Workload

if TYPE_CHECKING:
    import dagster as dg

    from panic_assets.resources import LakeResource


def _graph() -> Graph:
    from panic_assets.finetunes import assets, checks, jobs, sensors

    return Graph(assets=assets.ASSETS, checks=checks.CHECKS, jobs=jobs.JOBS, sensors=[sensors.finetune_work])


def _register(lake: "LakeResource", instance: "dg.DagsterInstance", path: Path) -> Sequence[str]:
    from panic_assets.finetunes import config, jobs

    jobs.add(instance, lake, config.read(path))
    return []  # The sensor `finetune_work` starts tests when there is something to test.


WORKLOAD = Workload(
    name="finetunes",
    purpose="Test image fine-tunes epoch by epoch: which checkpoint is best, what it draws badly, when training may stop.",
    tables=TABLES,
    graph=_graph,
    family=FAMILY,
    spaces=(space_of(FAMILY.name, own=missing.OF_RUN, makes="test_finetune", repair=repair),),
    drops=(Drop((SUFFIX,), "fine-tune", _register),),
    commands=(
        Command(
            "finetune",
            "panic_assets.finetunes.commands:app",
            "Test image fine-tunes epoch by epoch: reports, advice, blind votes, checks of captions.",
        ),
    ),
    demo=(
        "python -m panic_assets.finetunes.drawing.synthetic portraits-demo",
        "panic finetune add experiments/examples/portraits.finetune.yaml",
        "panic finetune test portraits-demo",
        "panic finetune report portraits-demo",
    ),
)
