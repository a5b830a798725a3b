"""What the training spine brings: tables that all families share, and a family for people's own training loops."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from panic_assets.lake.invariants import Finding
from panic_assets.lake.lake import Lake
from panic_assets.training import names
from panic_assets.training.rules import RULES
from panic_assets.training.spaces import space_of
from panic_assets.training.tables import TABLES, VIEWS
from panic_assets.workload import Command, Family, Graph, Workload

if TYPE_CHECKING:
    from panic_assets.operations.house import House

FAMILY = Family(name="training", pattern="")
"""Runs of people's own training loops: they name their files' pattern, and log their own metrics."""
CONCLUDE = "conclude_training"


def _graph() -> Graph:
    import dagster as dg

    from panic_assets.training import assets, checks, jobs, sensors

    spine = assets.spine(FAMILY, "training")
    conclude = dg.define_asset_job(
        CONCLUDE,
        dg.AssetSelection.assets(*(names.asset(FAMILY.name, shared) for shared in names.SPINE)),
        description="Registers the checkpoints of a run of your own training loop, and concludes from its metrics.",
    )
    return Graph(
        assets=spine.assets,
        checks=checks.spine_checks(FAMILY, spine),
        jobs=[conclude, *jobs.JOBS],
        sensors=[sensors.checkpoint_files],
    )


def _examine(lake: Lake) -> Iterator[Finding]:
    from panic_assets.training.repair import examine_files

    return examine_files(lake)


def _mend(house: "House") -> Iterator[str]:
    from panic_assets.training.repair import mend

    return mend(house)


WORKLOAD = Workload(
    name="training",
    purpose="What all training families share: runs, checkpoints, convergence, advice, cost; and your own training loops.",
    tables=TABLES,
    views=VIEWS,
    rules=RULES,
    graph=_graph,
    family=FAMILY,
    spaces=(space_of(FAMILY.name, makes=CONCLUDE),),
    commands=(
        Command(
            "training",
            "panic_assets.training.commands:app",
            "Training runs of every family: lineage, convergence, cost.",
        ),
    ),
    examine=_examine,
    mend=_mend,
)
