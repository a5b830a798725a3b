"""A run launcher that notices dead workers, and how it tells whether a worker is alive.

A run is carried by one of two things. Runs launched by the daemon are children of a code server: it is asked
whether it still has them. Where it does not answer, the run's own processes are looked for. Runs that a `panic` command executes in its own process carry that process in their
tags: host, process id, and when the process started, so that a recycled id is no match.
"""

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance, DagsterRun, DefaultRunLauncher, RunsFilter
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import GRPC_INFO_TAG, HIDDEN_TAG_PREFIX, MAX_RETRIES_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

from panic_assets.instance.workers import CLOCK_SECONDS, is_at_work, started

HOST, PID, STARTED = (f"{HIDDEN_TAG_PREFIX}panic_{name}" for name in ("host", "pid", "pid_started"))
"""The UI does not show tags of this prefix."""
MISSES = 2
"""A worker counts as dead when it was not found this many times in a row: one may be a restarting server."""
MISSES_ELSEWHERE = 6
"""The same for a code server on another machine that cannot be reached: its workers may be alive behind a broken network."""
_ASK_SECONDS = 10


def process_tags() -> dict[str, str]:
    """Tags for a run that this process executes itself. The daemon does not retry such a run: `resume` does."""
    pid = os.getpid()
    return {HOST: socket.gethostname(), PID: str(pid), STARTED: str(started(pid)), MAX_RETRIES_TAG: "0"}


def process_is_alive(tags: Mapping[str, str]) -> bool | None:
    """Whether the process in a run's tags is alive; None when that cannot be told from here (no tags, other host)."""
    if tags.get(HOST) != socket.gethostname() or PID not in tags:
        return None
    since = started(int(tags[PID]))
    return since is not None and abs(since - float(tags[STARTED])) < CLOCK_SECONDS


def fail_dead_runs(instance: DagsterInstance, tags: Mapping[str, str] | None = None) -> list[str]:
    """Marks as failed, now, the runs of dead processes of this host that carry these tags (all of them: None).

    Returns their ids. Their pool slots are free when this returns.
    """
    running = RunsFilter(
        statuses=NOT_FINISHED_STATUSES,
        tags={HOST: socket.gethostname(), **(tags or {})},
    )
    dead = [run for run in instance.get_runs(running) if process_is_alive(run.tags) is False]
    for run in dead:
        instance.report_run_failed(run, f"The process that executed this run (id {run.tags[PID]}) is gone.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


class PanicRunLauncher(DefaultRunLauncher):
    """Launches runs on code servers like Dagster's own, and can tell whether they still run."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._misses: Counter[str] = Counter()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Asked by run monitoring for every started run, every poll interval.

        A run of a process on another host is left alone (`UNKNOWN` would fail it): only its own host can tell.
        """
        alive = process_is_alive(run.tags) if PID in run.tags else self._server_has(run)
        if alive is not False:
            self._misses.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        self._misses[run.run_id] += 1
        enough = MISSES_ELSEWHERE if _is_elsewhere(run) else MISSES
        if self._misses[run.run_id] < enough:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its worker was not found; it is looked for again")
        del self._misses[run.run_id]
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"its worker was not found {enough} times in a row")

    def _server_has(self, run: DagsterRun) -> bool | None:
        """Whether the run is carried on: its code server says so, or one of its processes outlives the server. None when
        the run names no server."""
        if GRPC_INFO_TAG not in run.tags:
            return None
        client: Any = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return None
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_ASK_SECONDS)
        except DagsterUserCodeUnreachableError:
            return is_at_work(self._instance.event_log_storage, run.run_id)
        return deserialize_value(answer, CanCancelExecutionResult).can_cancel

    def terminate(self, run_id: str) -> bool:
        """Interrupts the run where it is carried; False when nothing was there to interrupt."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or PID not in run.tags:
            return super().terminate(run_id)
        self._instance.report_run_canceling(run)
        alive = process_is_alive(run.tags)
        if alive and int(run.tags[PID]) != os.getpid():
            os.kill(int(run.tags[PID]), signal.SIGINT)
            return True
        return False


def _is_elsewhere(run: DagsterRun) -> bool:
    """Whether the run's code server is reached over the network. One on this machine has a socket in a file."""
    return "socket" not in json.loads(run.tags.get(GRPC_INFO_TAG, '{"socket": ""}'))
