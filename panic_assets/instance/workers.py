"""The processes that carry a run: whether they live. Nobody takes a pool slot from one that does.

Every event of a run tells the id of the process that stored it. A run that was marked as finished, because it did not end
when it was cancelled or because its code server died, may still have such a process, and that may still use a GPU.
"""

import psutil
from dagster import DagsterEventType
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

CLOCK_SECONDS = 2.0
"""Two readings of one process's start may differ by as much, as the clock is set."""


def started(pid: int) -> float | None:
    """When the process started, in seconds since 1970; None when there is none, or only its corpse."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_at_work(storage: EventLogStorage, run_id: str) -> bool:
    """Whether a process that the daemon's launch of this run started lives on this machine.

    It must have started between the launch and its first event. Another process that was given the same id, here or
    in another container, did not.
    """
    told = {DagsterEventType.RUN_STARTING, DagsterEventType.RUN_START, DagsterEventType.STEP_START}
    launched = None
    for entry in storage.get_logs_for_run(run_id, of_type=told):
        event = entry.get_dagster_event()
        if event.event_type is DagsterEventType.RUN_STARTING:
            launched = entry.timestamp
        elif launched is not None and event.pid is not None:
            since = started(event.pid)
            if since is not None and launched - CLOCK_SECONDS <= since <= entry.timestamp + CLOCK_SECONDS:
                return True
    return False


class SparesTheLiving(SqlEventLogStorage):
    """Event-log storage whose pool slots are freed after the end of a run only when its processes are gone."""

    def get_concurrency_run_ids(self) -> set[str]:
        """Runs whose slots the daemon may free, once they have ended."""
        return {run_id for run_id in super().get_concurrency_run_ids() if not is_at_work(self, run_id)}
