"""A small platform with every kind of partition mapping the real one uses. Assets do nothing but exist."""

import os
import time
from pathlib import Path

import dagster as dg

EXPERIMENT = dg.DynamicPartitionsDefinition(name="experiment")
EMBEDDING_MODEL = dg.StaticPartitionsDefinition(["MiniLM", "Nomic"])
TRAINING_RUN = dg.DynamicPartitionsDefinition(name="training_run")
EPOCH = dg.StaticPartitionsDefinition(["0", "1", "2"])
CHECKPOINT = dg.MultiPartitionsDefinition({"run": TRAINING_RUN, "epoch": EPOCH})


def _of(dimension: str) -> dg.PartitionMapping:
    return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=dimension)


@dg.asset(partitions_def=EXPERIMENT, tags={"kind": "source"})
def experiments() -> dg.MaterializeResult:
    return dg.MaterializeResult(tags={"seen": "yes"}, metadata={"rows": 1})


@dg.asset(partitions_def=EXPERIMENT, deps=[experiments])
def invocations() -> dg.MaterializeResult:
    return dg.MaterializeResult()


@dg.asset(partitions_def=EMBEDDING_MODEL, deps=[dg.AssetDep(invocations, partition_mapping=dg.AllPartitionMapping())])
def clusters() -> dg.MaterializeResult:
    return dg.MaterializeResult()


@dg.asset(deps=[clusters])
def summary() -> dg.MaterializeResult:
    return dg.MaterializeResult()


@dg.asset(partitions_def=TRAINING_RUN)
def training_runs() -> dg.MaterializeResult:
    return dg.MaterializeResult()


@dg.asset(partitions_def=CHECKPOINT, deps=[dg.AssetDep(training_runs, partition_mapping=_of("run"))])
def evaluations() -> dg.MaterializeResult:
    return dg.MaterializeResult()


@dg.asset(partitions_def=TRAINING_RUN, deps=[dg.AssetDep(evaluations, partition_mapping=_of("run"))])
def run_reports() -> dg.MaterializeResult:
    return dg.MaterializeResult()


@dg.asset(partitions_def=EPOCH, deps=[dg.AssetDep(evaluations, partition_mapping=_of("epoch"))])
def epoch_reports() -> dg.MaterializeResult:
    return dg.MaterializeResult()


@dg.asset_check(asset=experiments, partitions_def=EXPERIMENT)
def has_rows() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(partitions_def=EXPERIMENT, pool="gpu")
def slow() -> dg.MaterializeResult:
    """Notes `start pid`, holds its pool slot until the test makes the file `go`, then notes `end pid`."""
    folder = Path(os.environ["SLOW_FOLDER"])
    note = f"{os.getpid()}\n"
    with (folder / "log").open("a") as file:
        file.write(f"start {note}")
    deadline = time.monotonic() + 600
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with (folder / "log").open("a") as file:
        file.write(f"end {note}")
    return dg.MaterializeResult()


ASSETS = [
    experiments,
    invocations,
    clusters,
    summary,
    training_runs,
    evaluations,
    run_reports,
    epoch_reports,
    slow,
]
defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=[has_rows],
    jobs=[dg.define_asset_job("slow_job", [slow])],
    executor=dg.in_process_executor,
)
