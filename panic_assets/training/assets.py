"""The spine that all training families share: runs -> checkpoints -> (a family's measurements) -> advice, cost, messages.

`spine` makes it for one family, in the family's own partition space: one run of Dagster can then do all that a training
run needs, which it cannot do over two spaces, and no run is a missing partition of another family. A family adds assets of
its own; its sensor asks for its job when a checkpoint is there that was not measured. There are no automation conditions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.partitions import runs_of
from panic_assets.progress import Done
from panic_assets.steps import Outcome, Stage, outcome, stage
from panic_assets.training import names, runs, settings
from panic_assets.training.runs import LEASE
from panic_assets.training.tables import TABLES
from panic_assets.workload import Family

if TYPE_CHECKING:
    from panic_assets.training import stages
else:
    stages = asleep("panic_assets.training.stages")

T = {table.name: table for table in TABLES}
KINDS = {"parquet", "python"}
BACKLOG_SECONDS = 600.0
"""How long a stage waits for another that works on the same run: checkpoints are analysed while it is trained, and the
first time they may be all there are."""


def of_run(family: str, group: str) -> Any:
    """What makes a stage of a family's runs: only one of them works on a run at a time."""
    return partial(
        stage,
        space=runs_of(family),
        group=group,
        lease=LEASE,
        kinds=KINDS,
        wait_seconds=BACKLOG_SECONDS,
    )


@dataclass(frozen=True)
class Spine:
    """The shared assets of one family."""

    training_runs: dg.AssetsDefinition
    checkpoints: dg.AssetsDefinition
    convergence: dg.AssetsDefinition
    costs: dg.AssetsDefinition
    notifications: dg.AssetsDefinition

    @property
    def assets(self) -> list[dg.AssetsDefinition]:
        """All of them, upstream first."""
        return [self.training_runs, self.checkpoints, self.convergence, self.costs, self.notifications]


def spine(family: Family, group: str) -> Spine:
    """The shared assets for the runs of one family."""
    make = of_run(family.name, group)
    named = partial(names.asset, family.name)

    logged = () if family.metrics else (T["metrics"],)  # No asset of the family writes them: they come with the run.

    @make(T["training_runs"], *logged, name=named("training_runs"))
    def training_runs(here: Stage) -> Outcome:
        """The registered training run: its family, its configuration, the checkpoint it started from, and its status."""
        row = runs.get(here.lake, here.key)
        ancestors = runs.lineage(here.lake).ancestors(here.key)
        return outcome(
            Done(),
            status=row["status"],
            parent=f"{row['parent_run']} at {row['parent_epoch']}" if row["parent_run"] else "none",
            ancestors=" < ".join(ancestors) or "none",
            configuration=dg.MetadataValue.json(json.loads(row["config"])),
        )

    trained: Sequence[Any] = [family.trains] if family.trains else []

    @make(T["checkpoints"], name=named("checkpoints"), deps=[training_runs, *trained])
    def checkpoints(here: Stage) -> Outcome:
        """The complete checkpoint files of a training run, each with its content hash. Sensors that watch folders register
        them too."""
        done = stages.register_checkpoints(here.lake, here.key)
        known = runs.checkpoints(here.lake, here.key)
        return outcome(
            done,
            version=stages.checkpoints_version(here.lake, here.key),
            latest_epoch=known[-1]["epoch"] if known else None,
        )

    measured: Sequence[Any] = [family.metrics] if family.metrics else []

    @make(T["convergence"], T["advice"], name=named("convergence"), deps=[checkpoints, *measured])
    def convergence(here: Stage) -> Outcome:
        """Whether to go on training: the state of every target metric at every epoch, and one piece of advice from all of
        them. Nothing acts on the advice."""
        done = stages.converge(here.lake, here.key, settings.read())
        advice = here.lake.sql("SELECT sentence, best_epoch FROM advice", training_run=here.key).to_pylist()
        latest = here.lake.sql(
            "SELECT metric, last_value FROM convergence "
            "QUALIFY row_number() OVER (PARTITION BY metric ORDER BY epoch DESC) = 1 ORDER BY metric",
            training_run=here.key,
        ).to_pylist()
        told = {"advice": advice[0]["sentence"], "best_epoch": advice[0]["best_epoch"]} if advice else {}
        return outcome(done, **told, **{f"last {r['metric']}": r["last_value"] for r in latest})

    @make(T["costs"], name=named("costs"), deps=[checkpoints])
    def costs(here: Stage) -> Outcome:
        """What every epoch has cost, and what it costs to keep the checkpoint files. Where times were not measured, they
        are estimated from the times of the files, and marked as estimated."""
        found = settings.read()
        done = stages.price(here.lake, here.key, found)
        now = stages.outlook_of(here.lake, here.key, found)
        return outcome(done, spent=now.spent, cost_per_epoch=now.per_epoch, projected=now.projected, budget=now.budget)

    reported: Sequence[Any] = [family.reports] if family.reports else []

    @make(T["notifications"], name=named("notifications"), deps=[convergence, *reported])
    def notifications(here: Stage) -> Outcome:
        """Messages to the receivers that training.yaml names: one for every change of a target metric's state. A message
        that cannot be sent does not make the stage fail."""
        return outcome(stages.tell(here.lake, here.key, settings.read()))

    return Spine(training_runs, checkpoints, convergence, costs, notifications)
