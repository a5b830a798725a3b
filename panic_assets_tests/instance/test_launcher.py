"""Dead workers: real processes, really killed. And the pool that no two of them may hold at once."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from panic_assets.instance import launcher
from panic_assets.instance.launcher import fail_dead_runs, process_is_alive, process_tags
from panic_assets.instance.runs import cancel_runs_of
from panic_assets.settings import Home
from panic_assets_tests.instance import miniature, slow_run

pytestmark = pytest.mark.slow

SLOW = miniature.slow.key


def _until(true: Callable[[], bool], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def _log(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def slow(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> Path:
    """The folder in which the slow asset keeps its notes and waits for `go`."""
    folder = tmp_path / "slow"
    folder.mkdir()
    clean_environment.setenv("SLOW_FOLDER", str(folder))
    clean_environment.setenv("PANIC_GPUS", "1")
    return folder


@pytest.fixture
def start(home: Home, slow: Path) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Starts a process that runs the slow asset for one partition."""
    children = []

    def start(partition: str) -> subprocess.Popen:
        command = [sys.executable, "-m", slow_run.__name__, str(home.root), partition]
        children.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


def _run(instance: DagsterInstance, partition: str) -> DagsterRun:
    (run,) = instance.get_runs(RunsFilter(tags={"dagster/partition": partition}))
    return run


def _holders(instance: DagsterInstance) -> set[str]:
    return instance.event_log_storage.get_concurrency_info("gpu").active_run_ids


def test_runs_of_killed_processes_are_failed_and_give_their_slots_back(start, slow, sqlite_instance):
    sqlite_instance.add_dynamic_partitions("experiment", ["a", "b"])
    child = start("a")
    _until(lambda: len(_log(slow)) == 1, "the step to start")
    run = _run(sqlite_instance, "a")
    assert process_is_alive(run.tags) is True
    assert fail_dead_runs(sqlite_instance) == []
    assert sqlite_instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert _holders(sqlite_instance) == {run.run_id}

    os.kill(child.pid, signal.SIGKILL)
    _until(lambda: process_is_alive(run.tags) is False, "the death of the process")  # a zombie is dead too
    child.wait()
    assert process_is_alive(run.tags) is False
    health = [sqlite_instance.run_launcher.check_run_worker_health(run).status for _ in range(2)]
    assert health == [WorkerStatus.RUNNING, WorkerStatus.NOT_FOUND]
    assert fail_dead_runs(sqlite_instance, {"dagster/partition": "b"}) == []
    assert fail_dead_runs(sqlite_instance, {"dagster/partition": "a"}) == [run.run_id]
    assert _run(sqlite_instance, "a").status == DagsterRunStatus.FAILURE
    assert _holders(sqlite_instance) == set()
    assert fail_dead_runs(sqlite_instance) == []


def test_overlapping_runs_are_cancelled_and_others_left_alone(start, slow, sqlite_instance):
    sqlite_instance.add_dynamic_partitions("experiment", ["a", "b"])
    child = start("a")
    _until(lambda: len(_log(slow)) == 1, "the step to start")
    assert cancel_runs_of(sqlite_instance, [SLOW], ["b"], wait_s=0) == []
    assert cancel_runs_of(sqlite_instance, [AssetKey("other")], ["a"], wait_s=0) == []
    spared = [_run(sqlite_instance, "a").run_id]
    assert cancel_runs_of(sqlite_instance, [SLOW], ["a"], wait_s=0, spare=spared) == []
    assert child.poll() is None
    assert _run(sqlite_instance, "a").status == DagsterRunStatus.STARTED

    assert cancel_runs_of(sqlite_instance, [SLOW], ["a"], wait_s=300) == []
    assert _run(sqlite_instance, "a").status == DagsterRunStatus.CANCELED
    child.wait(timeout=300)
    assert [line.split()[0] for line in _log(slow)] == ["start"]


def test_runs_that_nobody_carries_are_cancelled_on_the_spot(sqlite_instance):
    sqlite_instance.add_dynamic_partitions("experiment", ["a"])
    for status in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED):
        create_run_for_test(
            sqlite_instance, status=status, tags={"dagster/partition": "a"}, asset_selection=frozenset({SLOW})
        )
    assert cancel_runs_of(sqlite_instance, [SLOW], ["a"], wait_s=5) == []
    assert {run.status for run in sqlite_instance.get_runs()} == {DagsterRunStatus.CANCELED}


def test_runs_over_a_range_are_found_by_what_they_planned(sqlite_instance):
    sqlite_instance.add_dynamic_partitions("experiment", ["a", "b", "c"])
    job = miniature.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={SLOW})
    run = sqlite_instance.create_run_for_job(
        job,
        asset_selection=frozenset({SLOW}),
        tags={"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"},
    )
    assert cancel_runs_of(sqlite_instance, [SLOW], ["c"], wait_s=0) == []
    assert not sqlite_instance.get_run_by_id(run.run_id).is_finished
    assert cancel_runs_of(sqlite_instance, [SLOW], ["b"], wait_s=0) == []
    assert sqlite_instance.get_run_by_id(run.run_id).status == DagsterRunStatus.CANCELED


def test_two_steps_of_the_pool_never_run_at_once(start, slow, sqlite_instance):
    """The second process asks while the first provably holds the only slot."""
    sqlite_instance.add_dynamic_partitions("experiment", ["a", "b"])
    first = start("a")
    _until(lambda: len(_log(slow)) == 1, "the first step to start")
    second = start("b")
    pool = sqlite_instance.event_log_storage

    def second_waits() -> bool:
        return pool.get_concurrency_info("gpu").pending_step_count == 1

    _until(second_waits, "the second step to queue for the pool")
    assert len(_log(slow)) == 1
    (slow / "go").touch()
    assert first.wait(timeout=300) == 0
    assert second.wait(timeout=300) == 0
    kinds, pids = zip(*(line.split() for line in _log(slow)), strict=True)
    assert kinds == ("start", "end", "start", "end")
    assert pids == (str(first.pid),) * 2 + (str(second.pid),) * 2


def test_monitoring_fails_a_run_whose_code_server_died(slow, sqlite_instance, monkeypatch):
    """What the daemon does, against a real code server that is killed together with its run."""
    instance, logger = sqlite_instance, logging.getLogger("monitoring")
    instance.add_dynamic_partitions("experiment", ["a"])
    monkeypatch.setitem(instance.run_monitoring_settings, "free_slots_after_run_end_seconds", 1)
    target = ModuleTarget(miniature.__name__, attribute=None, working_directory=os.getcwd(), location_name="miniature")
    with WorkspaceProcessContext(instance, target) as process:
        workspace = process.create_request_context()
        job = workspace.get_code_location("miniature").get_repository("__repository__").get_full_job("slow_job")

        def create(partition: str, status: DagsterRunStatus | None = None) -> DagsterRun:
            return create_run_for_test(
                instance,
                job_name="slow_job",
                status=status,
                tags={"dagster/partition": partition},
                remote_job_origin=job.get_remote_origin(),
                job_code_origin=job.get_python_origin(),
                asset_selection=frozenset({SLOW}),
            )

        create("b", DagsterRunStatus.QUEUED)
        assert cancel_runs_of(instance, [SLOW], ["b"], wait_s=0) == []
        assert _run(instance, "b").status == DagsterRunStatus.CANCELED
        run = create("a")
        instance.launch_run(run.run_id, workspace)
        _until(lambda: len(_log(slow)) == 1, "the step to start")
        worker = psutil.Process(int(_log(slow)[0].split()[1]))
        server = worker.parent()
        for _ in range(3):
            assert not any(execute_run_monitoring_iteration(process, logger))
        assert _run(instance, "a").status == DagsterRunStatus.STARTED
        assert _holders(instance) == {run.run_id}

        server.kill()
        psutil.wait_procs([server], timeout=10)
        for _ in range(3):
            assert not any(execute_run_monitoring_iteration(process, logger))
        assert _run(instance, "a").status == DagsterRunStatus.STARTED, "its worker outlives the server"
        assert instance.event_log_storage.get_concurrency_run_ids() == set(), "nobody may free a slot of the living"

        worker.kill()
        psutil.wait_procs([worker], timeout=10)
        assert instance.event_log_storage.get_concurrency_run_ids() == {run.run_id}
        assert not any(execute_run_monitoring_iteration(process, logger))
        assert _run(instance, "a").status == DagsterRunStatus.STARTED, "one miss is no death"
        assert not any(execute_run_monitoring_iteration(process, logger))
        assert _run(instance, "a").status == DagsterRunStatus.FAILURE

        def freed() -> bool:
            assert not any(execute_concurrency_slots_iteration(process, logger))
            return not _holders(instance)

        _until(freed, "the daemon to free the dead run's slot")


def test_a_recycled_process_id_is_no_match(monkeypatch):
    tags = process_tags()
    assert process_is_alive(tags) is True
    assert process_is_alive(tags | {launcher.STARTED: "12345.0"}) is False
    assert process_is_alive(tags | {launcher.HOST: "elsewhere"}) is None
    assert process_is_alive({}) is None


def test_a_run_of_another_host_is_left_alone(sqlite_instance):
    tags = process_tags() | {launcher.HOST: "elsewhere", launcher.STARTED: "1.0"}
    run = create_run_for_test(sqlite_instance, status=DagsterRunStatus.STARTED, tags=tags)
    for _ in range(3):
        assert sqlite_instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert fail_dead_runs(sqlite_instance) == []


def test_a_code_server_elsewhere_is_waited_for_longer(sqlite_instance):
    """Nobody listens at its address; its workers may live behind a broken network."""
    server = {"host": "127.0.0.1", "port": 1}
    run = create_run_for_test(
        sqlite_instance, status=DagsterRunStatus.STARTED, tags={GRPC_INFO_TAG: json.dumps(server)}
    )
    status = [sqlite_instance.run_launcher.check_run_worker_health(run).status for _ in range(6)]
    assert status == [WorkerStatus.RUNNING] * 5 + [WorkerStatus.NOT_FOUND]


def test_a_miss_between_hits_is_forgotten(sqlite_instance, monkeypatch):
    run = create_run_for_test(sqlite_instance, status=DagsterRunStatus.STARTED, tags=process_tags())
    answers = iter([False, True, False, False])
    monkeypatch.setattr(launcher, "process_is_alive", lambda _tags: next(answers))
    status = [sqlite_instance.run_launcher.check_run_worker_health(run).status for _ in range(4)]
    assert status == [WorkerStatus.RUNNING] * 3 + [WorkerStatus.NOT_FOUND]


def test_a_process_that_died_before_its_run_began_is_noticed(sqlite_instance):
    tags = process_tags() | {launcher.STARTED: "1.0"}
    run = create_run_for_test(sqlite_instance, status=DagsterRunStatus.NOT_STARTED, tags=tags)
    assert fail_dead_runs(sqlite_instance) == [run.run_id]
    assert sqlite_instance.get_run_by_id(run.run_id).status == DagsterRunStatus.FAILURE
