"""dagster.yaml as it is assembled, the home it is copied into, and the limits of its pools."""

import os
import threading

import pytest
import yaml
from dagster import DagsterInstance, QueuedRunCoordinator
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import PoolGranularity
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig
from dagster._core.scheduler.instigation import TickStatus

from panic_assets.instance import home as homes
from panic_assets.instance.home import open_instance, prepare
from panic_assets.instance.instance import PanicInstance
from panic_assets.instance.launcher import PanicRunLauncher
from panic_assets.instance.storage import POSTGRES_URL, PanicStorage, SqliteEvents
from panic_assets.settings import PROJECT, Home


def test_everything_that_dagster_yaml_says_is_so(instance):
    assert type(instance) is PanicInstance
    assert instance.supports_wipe_on_delete_for_multipartitioned_assets
    assert isinstance(instance.run_launcher, PanicRunLauncher)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    concurrency = instance.get_concurrency_config()
    assert concurrency.pool_config.pool_granularity is PoolGranularity.OP
    assert concurrency.pool_config.default_pool_limit == 1
    assert isinstance(concurrency.run_queue_config, RunQueueConfig)
    assert concurrency.run_queue_config.max_concurrent_runs == 4
    assert instance.run_monitoring_enabled
    assert instance.run_launcher.supports_check_run_worker_health
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 2
    assert instance.run_monitoring_poll_interval_seconds == 5
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 2
    assert not instance.run_retries_retry_on_asset_or_op_failure
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    for settings in ("sensors", "schedules", "backfills", "auto_materialize"):
        assert instance.get_settings(settings)["use_threads"], settings
    assert instance.get_tick_retention_settings(InstigatorType.SENSOR)[TickStatus.SKIPPED] == 1
    assert instance.code_server_process_startup_timeout == 180


def test_the_instance_travels_to_other_processes(instance):
    """Steps and code servers get a reference and rebuild the instance from it."""
    with DagsterInstance.from_ref(instance.get_ref()) as other:
        assert type(other) is PanicInstance
        assert type(other.event_log_storage) is type(instance.event_log_storage)
        other.add_dynamic_partitions("experiment", ["a"])
    assert instance.get_dynamic_partitions("experiment") == ["a"]


def test_the_file_names_no_path_and_is_copied_as_it_is(home, clean_environment):
    prepare(home)
    copy = home.dagster / "dagster.yaml"
    assert copy.read_bytes() == (PROJECT / "dagster.yaml").read_bytes()
    assert os.environ["DAGSTER_HOME"] == str(home.dagster)
    assert os.environ["PANIC_HOME"] == str(home.root)
    assert os.environ["DAGSTER_DISABLE_TELEMETRY"] == "yes"
    assert "DAGSTER_EVENT_BATCH_SIZE" not in os.environ
    before = copy.stat().st_mtime_ns
    prepare(home)
    assert copy.stat().st_mtime_ns == before, "an up-to-date file is left alone"
    copy.write_text("run_queue: {}")
    prepare(home)
    assert copy.read_bytes() == (PROJECT / "dagster.yaml").read_bytes()
    assert [path.name for path in home.dagster.iterdir() if path.is_file()] == ["dagster.yaml"]


def test_a_fresh_home_is_made_whole_by_several_at_once(tmp_path, clean_environment):
    home, failures = Home(tmp_path / "fresh"), []

    def start() -> None:
        try:
            prepare(home)
            assert yaml.safe_load((home.dagster / "dagster.yaml").read_text())["storage"]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with open_instance(home) as instance:
        assert isinstance(instance.event_log_storage, SqliteEvents)
    assert (home.dagster / "history" / "runs" / "index.db").exists()


def test_the_files_at_the_top_of_the_checkout_are_the_packaged_ones():
    """For stock commands and the images; `cp panic_assets/instance/*.yaml .` brings them up to date."""
    for original in (homes.DAGSTER_YAML, homes.WORKSPACE_YAML):
        assert (PROJECT / original.name).read_bytes() == original.read_bytes()


def test_postgresql_writes_events_in_batches(home, clean_environment):
    clean_environment.setenv(POSTGRES_URL, "postgresql://h/d")
    prepare(home)
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "500"


@pytest.mark.slow
def test_postgresql_connections_are_pooled_and_shared(home, clean_environment, postgres_url):
    clean_environment.setenv(POSTGRES_URL, postgres_url)
    with open_instance(home) as one, open_instance(home) as two:
        engines = {
            id(storage._engine)
            for instance in (one, two)
            for storage in (instance.event_log_storage, instance.run_storage, instance.schedule_storage)
        }
        assert len(engines) == 1
        assert one.event_log_storage._engine.pool.size() > 0
        assert one.event_log_storage._engine.dialect.driver == "psycopg2"


@pytest.mark.parametrize(("gpus", "limit"), [("0", 1), ("1", 1), ("3", 3)])
def test_the_gpu_pool_is_limited_to_the_gpus(home, clean_environment, gpus, limit):
    clean_environment.setenv("PANIC_GPUS", gpus)
    with open_instance(home) as instance:
        claims = [instance.event_log_storage.claim_concurrency_slot("gpu", "run", f"s{n}") for n in range(limit + 1)]
        assert [claim.is_claimed for claim in claims] == [True] * limit + [False]
    clean_environment.setenv("PANIC_GPUS", "2")
    with open_instance(home) as instance:
        (pool,) = instance.event_log_storage.get_pool_limits()
        assert (pool.name, pool.limit, pool.from_default) == ("gpu", 2, False)


def test_every_sqlite_connection_waits_for_other_writers(home, clean_environment):
    with open_instance(home) as instance:
        parts = (instance.run_storage, instance.schedule_storage)
        for connect in (*(part.connect for part in parts), instance.event_log_storage.index_connection):
            with connect() as connection:
                assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_storage_needs_no_postgresql_package_on_sqlite(tmp_path):
    """`python -X importtime` would say the same: SQLite users do not pay for dagster-postgres."""
    import subprocess
    import sys

    code = (
        "import sys; from panic_assets.instance.storage import PanicStorage; "
        f"PanicStorage({str(tmp_path)!r}); sys.exit('dagster_postgres' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, timeout=500).returncode == 0
    assert PanicStorage(str(tmp_path)).event_log_storage.has_table("event_logs")
