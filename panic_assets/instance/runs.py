"""Dagster runs of a partition: says whether one is under way, and cancels those that would write to it."""

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG

from panic_assets.asleep import asleep

if TYPE_CHECKING:
    from panic_assets.instance import launcher
else:
    launcher = asleep("panic_assets.instance.launcher")


_POLL_SECONDS = 0.2


def under_way(instance: DagsterInstance, job: str, partition_key: str) -> bool:
    """Whether a run of the job for the partition is queued or running: it does what is missing now."""
    wanted = RunsFilter(job_name=job, tags={PARTITION_NAME_TAG: partition_key}, statuses=NOT_FINISHED_STATUSES)
    return bool(instance.get_run_ids(wanted, limit=1))


def cancel_runs_of(
    instance: DagsterInstance,
    asset_keys: Collection[AssetKey],
    partition_keys: Collection[str],
    wait_s: float = 60.0,
    spare: Collection[str] = (),
) -> list[str]:
    """Cancels unfinished runs that materialise one of the partitions of one of the assets, and waits for their end.

    Runs over ranges of partitions count with every partition they planned. `spare` names runs to leave alone (the
    caller's own). Returns the ids of those that had not ended after `wait_s` seconds.
    """
    runs = [
        run
        for run in instance.get_runs(RunsFilter(statuses=NOT_FINISHED_STATUSES))
        if run.run_id not in spare and _overlaps(instance, run, set(asset_keys), set(partition_keys))
    ]
    for run in runs:
        _cancel(instance, run)
    deadline = time.monotonic() + wait_s
    left = [run.run_id for run in runs]
    while left:
        unfinished = RunsFilter(run_ids=left, statuses=NOT_FINISHED_STATUSES)
        left = [run.run_id for run in instance.get_runs(unfinished)]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    return left


def _overlaps(instance: DagsterInstance, run: DagsterRun, assets: set[AssetKey], keys: set[str]) -> bool:
    # A run of a whole job selects nothing: what it planned tells.
    if run.asset_selection:
        if assets.isdisjoint(run.asset_selection):
            return False
        if run.tags.get(PARTITION_NAME_TAG) in keys:
            return True
    planned = instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    events = [entry.get_dagster_event() for entry in planned]
    return any(event.asset_key in assets and event.partition in keys for event in events)


def _cancel(instance: DagsterInstance, run: DagsterRun) -> None:
    """Asks whoever carries the run to stop it; a run that nobody carries is marked as cancelled here and now."""
    if run.status in (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED):
        instance.report_run_canceled(run)
        return
    try:
        stopping = instance.run_launcher.terminate(run.run_id)
    except DagsterUserCodeUnreachableError:
        stopping = False
    if not stopping and launcher.process_is_alive(run.tags) is not True:
        instance.report_run_canceled(run, "Cancelled. The process that executed this run was not found.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
