"""The graph that all training families share: runs -> checkpoints -> (a family's measurements) -> advice, cost, word.

A family adds its own assets on the same partitions, names here those that write table `metrics`, and has a job for
all of its runs' assets. Its own sensor asks for that job when a checkpoint is there that was not measured. There are
no automation conditions: they would ask for every family's assets on every family's runs.
"""

import json
import time
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg

from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import TRAINING_RUN
from panic_assets.steps import CPU, OWNERS, on, working_on
from panic_assets.training import runs, settings, stages

GROUP = "training"
METRIC_SOURCES = ["grokking_measurements", "finetune_summary"]
"""Assets that write table `metrics`; each family's own. A run has those of its family only."""
BACKLOG_SECONDS = 600.0
"""How long a step waits for another that works on the same run: checkpoints are analysed while it is trained, and the
first time that are all there are."""
COMMON: dict[str, Any] = {
    "partitions_def": TRAINING_RUN,
    "owners": OWNERS,
    "kinds": {"parquet", "python"},
    "code_version": "1",
    **on(CPU),
}


@dg.asset(**COMMON, group_name=GROUP, metadata={"tables": ["training_runs"]})
def training_runs(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """A registered training run: family, configuration, where it started from, how it stands."""
    with work(context, lake):
        row = runs.get(lake.lake, context.partition_key)
        ancestors = runs.lineage(lake.lake).ancestors(context.partition_key)
    return dg.MaterializeResult(
        metadata={
            "family": row["family"],
            "status": row["status"],
            "parent": f"{row['parent_run']} at {row['parent_epoch']}" if row["parent_run"] else "none",
            "ancestors": " < ".join(ancestors) or "none",
            "configuration": dg.MetadataValue.json(json.loads(row["config"])),
        }
    )


@dg.asset(
    **COMMON,
    group_name=GROUP,
    deps=[training_runs, "grokking_training"],
    metadata={"tables": ["checkpoints", "checkpoint_problems"]},
)
def checkpoints(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """The complete checkpoint files of a run, by content hash; also materialised by the sensor that watches folders."""
    with work(context, lake):
        done = stages.register_checkpoints(lake.lake, context.partition_key)
        version = stages.checkpoints_version(lake.lake, context.partition_key)
    return result(context, lake, done, "checkpoints", version=version)


@dg.asset(
    **COMMON,
    group_name=GROUP,
    deps=[checkpoints, *METRIC_SOURCES],
    metadata={"tables": ["convergence", "advice"]},
)
def convergence(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """Whether to go on: a state for every target metric and epoch, and advice when all agree. Nothing acts on it."""
    with work(context, lake):
        done = stages.converge(lake.lake, context.partition_key, settings.read())
        advice = lake.lake.sql("SELECT * FROM advice", training_run=context.partition_key).to_pylist()
    extra = {"advice": advice[0]["sentence"], "best epoch": advice[0]["best_epoch"]} if advice else {}
    return result(context, lake, done, "convergence", **extra)


@dg.asset(
    **COMMON,
    group_name=GROUP,
    deps=[checkpoints],
    metadata={"tables": ["costs"]},
)
def costs(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """What every epoch has cost, by measured times or, marked estimated, by the files'; and what keeping them costs."""
    with work(context, lake):
        found = settings.read()
        done = stages.price(lake.lake, context.partition_key, found)
        now = stages.outlook_of(lake.lake, context.partition_key, found)
    known: dict[str, Any] = {
        "spent": now.spent,
        "per epoch": now.per_epoch,
        "projected": now.projected,
        "budget": now.budget,
    }
    return result(context, lake, done, "costs", version=None, **{k: v for k, v in known.items() if v is not None})


@dg.asset(
    **COMMON,
    group_name=GROUP,
    deps=[convergence],
    metadata={"tables": ["notifications"]},
)
def notifications(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """Word of every change of state, once, to the receivers in training.yaml; a failure to send fails nothing."""
    with work(context, lake):
        done = stages.tell(lake.lake, context.partition_key, settings.read())
    return result(context, lake, done, "notifications")


def work(
    context: dg.AssetExecutionContext, lake: LakeResource, what: str | None = None
) -> AbstractContextManager[None]:
    """Be the one process that works on this partition; or that does `what` to it, which may take hours: nobody waits
    for the end of that."""
    if what is None:
        return working_on(context, lake, f"training_run {context.partition_key}", BACKLOG_SECONDS)
    return working_on(context, lake, f"{what} {context.partition_key}")


def result(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    done: stages.Done,
    *tables: str,
    version: str | None = None,
    **extra: Any,
) -> dg.MaterializeResult:
    """Rows, problems and whatever else there is to say, as metadata. With a data version, what was made from another
    one shows as stale."""
    metadata: dict[str, Any] = {"new rows": done.rows, **extra}
    for table in tables:
        found = [m for _, m in lake.lake.partitions(table, training_run=context.partition_key)]
        metadata[f"{table} rows"] = sum(m.rows for m in found)
    for problem in done.problems:
        context.log.warning(problem)
    if done.problems:
        metadata["problems"] = dg.MetadataValue.text("\n".join(done.problems[:100]))
    metadata["made at"] = dg.MetadataValue.timestamp(time.time())
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version) if version else None)
