"""What we rely on in Dagster's private parts. When one of these fails, a Dagster release has changed under us."""

import importlib
import inspect
import re
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest
from dagster import AssetKey, DagsterEventType, DefaultRunLauncher
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.asset_graph_view.entity_subset import EntitySubset
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.tags import GRPC_INFO_TAG, MAX_RETRIES_TAG, PARTITION_NAME_TAG
from dagster_postgres.event_log import PostgresEventLogStorage
from packaging.version import Version

from panic_assets.instance.storage import NEWEST, OLDEST
from panic_assets.instance.wiping import PARTITION_EVENTS
from panic_assets.settings import PROJECT


def test_dagster_is_one_we_know():
    assert Version(OLDEST) <= Version(metadata.version("dagster")) < Version(NEWEST)
    (pin,) = re.findall(r'"dagster>=(.*),<(.*)"', (PROJECT / "pyproject.toml").read_text())
    assert pin == (OLDEST, NEWEST)


def test_private_dagster_is_used_in_this_room_only():
    rooms = PROJECT / "panic_assets"
    private = re.compile(r"^\s*(from|import) dagster(_\w+)?\._", re.MULTILINE)
    strays = [
        str(path.relative_to(PROJECT))
        for path in rooms.rglob("*.py")
        if path.parent.name != "instance" and private.search(path.read_text())
    ]
    assert strays == []


def test_stock_storage_still_cannot_delete_partitions(tmp_path):
    """The day it can, our own may go."""
    with pytest.raises(NotImplementedError):
        SqliteEventLogStorage(str(tmp_path)).wipe_asset_partitions(AssetKey("a"), ["p"])
    assert "wipe_asset_partitions" not in vars(PostgresEventLogStorage)


TABLES = {
    "asset_check_executions": "asset_key check_name create_timestamp evaluation_event evaluation_event_storage_id "
    "evaluation_event_timestamp execution_status id materialization_event_storage_id partition run_id",
    "asset_event_tags": "asset_key event_id event_timestamp id key value",
    "asset_keys": "asset_details asset_key cached_status_data create_timestamp id last_materialization "
    "last_materialization_timestamp last_run_id tags wipe_timestamp",
    "event_logs": "asset_key dagster_event_type event id partition run_id step_key timestamp",
}


def test_the_tables_that_speak_of_partitions_are_those_we_clean():
    """A new table, or a new column `partition`, may be one more place to delete from."""
    tables = SqlEventLogStorageMetadata.tables
    assert {name: sorted(tables[name].columns.keys()) for name in TABLES} == {
        name: columns.split() for name, columns in TABLES.items()
    }
    assert {name for name, table in tables.items() if "partition" in table.columns} == {
        "asset_check_executions",
        "dynamic_partitions",
        "event_logs",
    }


def test_the_events_that_belong_to_a_partition_are_those_we_delete():
    assert {*PARTITION_EVENTS, DagsterEventType.FRESHNESS_STATE_CHANGE} == ASSET_EVENTS
    assert {e.value for e in ASSET_CHECK_EVENTS} == {"ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION_PLANNED"}


def _parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_what_we_override_is_still_called_so():
    assert _parameters(SqliteEventLogStorage.wipe_asset_partitions) == ["self", "asset_key", "partition_keys"]
    for storage in (SqliteEventLogStorage, PostgresEventLogStorage):
        cached = storage.update_asset_cached_status_data
        assert _parameters(cached) == ["self", "asset_key", "cache_values"]
        entry = storage._get_asset_entry_values
        assert _parameters(entry) == ["self", "event", "event_id", "has_asset_key_index_cols"]
        assert "conn" in inspect.getsource(storage.index_transaction)
    deletion = dg.DagsterInstance.delete_dynamic_partition
    assert _parameters(deletion) == ["self", "partitions_def_name", "partition_key"]
    assert dg.DagsterInstance.supports_wipe_on_delete_for_multipartitioned_assets.fget(None) is False
    assert "storage" in InstanceRef.config_defaults("/tmp")


def test_the_ui_deletes_keys_through_the_instance():
    importlib.import_module("dagster_graphql.schema")  # first: the two import each other
    dynamic_partitions = importlib.import_module("dagster_graphql.implementation.execution.dynamic_partitions")
    source = inspect.getsource(dynamic_partitions.delete_dynamic_partitions)
    assert "instance.delete_dynamic_partition(" in source
    assert "instance.wipe_asset_partitions(" in inspect.getsource(
        dynamic_partitions.wipe_materializations_for_deleted_partitions
    )


def test_the_stock_launcher_still_has_no_health_check():
    launcher = DefaultRunLauncher()
    assert not launcher.supports_check_run_worker_health
    assert "run_id" in _parameters(launcher._get_grpc_client_for_termination)
    assert {"RUNNING", "NOT_FOUND", "UNKNOWN"} <= {status.value for status in WorkerStatus}
    assert (GRPC_INFO_TAG, MAX_RETRIES_TAG) == (".dagster/grpc_info", "dagster/max_retries")
    assert PARTITION_NAME_TAG == "dagster/partition"
    assert {status.value for status in NOT_FINISHED_STATUSES} == {
        *("CANCELING", "NOT_STARTED", "QUEUED", "STARTED", "STARTING", "SUSPENDED")
    }


def test_the_graph_can_still_be_walked():
    assert _parameters(AssetGraphView.__init__)[1:4] == ["temporal_context", "instance", "asset_graph"]
    for method in ("get_full_subset", "get_empty_subset", "get_subset_from_partition_keys"):
        assert callable(getattr(AssetGraphView, method))
    for method in ("compute_child_subset", "compute_union", "compute_difference", "expensively_compute_partition_keys"):
        assert callable(getattr(EntitySubset, method))
    assert hasattr(BaseAssetGraph, "toposorted_asset_keys")
    assert _parameters(AssetGraph.from_assets) == ["assets"]


def test_what_is_said_of_checks_outside_runs_is_still_stored_there():
    assert _parameters(SqliteEventLogStorage._store_runless_asset_check_evaluation) == ["self", "event", "event_id"]


def test_every_private_import_is_of_this_room_and_named_here():
    """The list to read through when the pin on Dagster is raised."""
    used = set()
    for path in (PROJECT / "panic_assets" / "instance").glob("*.py"):
        used |= set(re.findall(r"^from (dagster\._[\w.]+) import", Path(path).read_text(), re.MULTILINE))
    assert used == {
        "dagster._cli.proxy_server_manager",
        "dagster._config",
        "dagster._core.asset_graph_view.asset_graph_view",
        "dagster._core.asset_graph_view.entity_subset",
        "dagster._core.definitions.assets.graph.asset_graph",
        "dagster._core.definitions.assets.graph.base_asset_graph",
        "dagster._core.definitions.data_version",
        "dagster._core.definitions.partitions.context",
        "dagster._core.definitions.partitions.utils",
        "dagster._core.errors",
        "dagster._core.events.log",
        "dagster._core.instance.ref",
        "dagster._core.launcher.base",
        "dagster._core.storage.base_storage",
        "dagster._core.storage.dagster_run",
        "dagster._core.storage.event_log.base",
        "dagster._core.storage.event_log.schema",
        "dagster._core.storage.event_log.sql_event_log",
        "dagster._core.storage.event_log.sqlite.sqlite_event_log",
        "dagster._core.storage.partition_status_cache",
        "dagster._core.storage.runs.base",
        "dagster._core.storage.runs.sqlite.sqlite_run_storage",
        "dagster._core.storage.schedules.base",
        "dagster._core.storage.schedules.sqlite.sqlite_schedule_storage",
        "dagster._core.storage.tags",
        "dagster._core.workspace.context",
        "dagster._core.workspace.load_target",
        "dagster._grpc.types",
        "dagster._serdes",
        "dagster._time",
        "dagster._utils.log",
    }
