"""Deleting partitions, through the API and through GraphQL, on SQLite and on a real PostgreSQL."""

import itertools
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest
import sqlalchemy as db
from dagster import AssetKey, AssetMaterialization, AssetObservation, DagsterInstance
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.partition_status_cache import (
    _build_status_cache,
    get_and_update_asset_status_cache_value,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.schema import create_schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.instance.hook import without_hook
from panic_assets.instance.storage import postgres_url, require_known_dagster
from panic_assets_tests.instance import miniature

EXPERIMENTS = miniature.experiments.key
EVENTS = SqlEventLogStorageTable.c


def _rows(instance: DagsterInstance, query: db.Select) -> list:
    with instance.event_log_storage.index_connection() as connection:
        return connection.execute(query).all()


def _traces(instance: DagsterInstance, asset_key: AssetKey, partition: str) -> dict[str, int]:
    """How many rows of the index still speak of one partition."""
    name = asset_key.to_string()
    events = db.select(EVENTS.id).where(EVENTS.asset_key == name, EVENTS.partition == partition)
    tags = AssetEventTagsTable.c.event_id
    checks = AssetCheckExecutionsTable.c
    return {
        "events": len(_rows(instance, events)),
        "tags of other events": len(_rows(instance, db.select(tags).where(tags.not_in(db.select(EVENTS.id))))),
        "checks": len(
            _rows(instance, db.select(checks.id).where(checks.asset_key == name, checks.partition == partition))
        ),
        "evaluations": len(
            _rows(
                instance,
                db.select(EVENTS.id).where(
                    EVENTS.dagster_event_type.like("ASSET_CHECK_EVALUATION%"),
                    EVENTS.event.like(f'%"partition": "{partition}"%'),
                ),
            )
        ),
    }


NOTHING = {"events": 0, "tags of other events": 0, "checks": 0, "evaluations": 0}


def _report(instance: DagsterInstance, asset_key: AssetKey, partition: str) -> None:
    instance.report_runless_asset_event(AssetMaterialization(asset_key, partition=partition, tags={"k": "v"}))


def _last(instance: DagsterInstance, asset_key: AssetKey) -> str | None:
    event = instance.get_latest_materialization_event(asset_key)
    return event.asset_materialization.partition if event else None


def _shown(instance: DagsterInstance, asset_key: AssetKey, definition: dg.PartitionsDefinition) -> set[str]:
    """Partitions that the UI shows as materialised: what it asks for, cache included."""
    with partition_loading_context(dynamic_partitions_store=instance):
        status = get_and_update_asset_status_cache_value(instance, asset_key, definition)
        return (
            set(status.deserialize_materialized_partition_subsets(definition).get_partition_keys()) if status else set()
        )


@contextmanager
def _graphql(instance: DagsterInstance) -> Iterator:
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name=miniature.__name__, attribute="defs"),
        location_name="miniature",
    )
    schema = create_schema()
    with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget([origin])) as process:

        def ask(query: str, **variables: object) -> dict:
            result = schema.execute(query, context_value=process.create_request_context(), variable_values=variables)
            assert not result.errors, result.errors
            return result.data

        yield ask


WIPE = """mutation ($ranges: [PartitionsByAssetSelector!]!) {
  wipeAssets(assetPartitionRanges: $ranges) { __typename ... on UnsupportedOperationError { message } }
}"""
DELETE = """mutation ($name: String!, $keys: [String!]!, $wipe: Boolean) {
  deleteDynamicPartitions(
    repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "miniature"}
    partitionsDefName: $name, partitionKeys: $keys, wipeMaterializations: $wipe
  ) { __typename ... on UnsupportedOperationError { message } ... on PythonError { message stack } }
}"""


def _materialise(instance: DagsterInstance, assets: list, partition: str) -> dg.ExecuteInProcessResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.materialize(assets, instance=instance, partition_key=partition)


def test_a_wiped_partition_leaves_no_trace_and_others_are_untouched(instance):
    instance.add_dynamic_partitions("experiment", ["a", "b"])
    runs = {key: _materialise(instance, [miniature.experiments, miniature.has_rows], key) for key in ("b", "a")}
    instance.report_runless_asset_event(AssetObservation(EXPERIMENTS, partition="a"))
    by_hand = AssetCheckEvaluation(asset_key=EXPERIMENTS, check_name="by_hand", passed=True, metadata={}, partition="a")
    instance.report_runless_asset_event(by_hand)
    before = _traces(instance, EXPERIMENTS, "b")
    assert before["events"] == 2
    assert before["checks"] == 1
    assert _traces(instance, EXPERIMENTS, "a")["events"] == 3
    assert _traces(instance, EXPERIMENTS, "a")["checks"] == 2
    assert _traces(instance, EXPERIMENTS, "a")["evaluations"] > 0
    assert _last(instance, EXPERIMENTS) == "a"

    instance.wipe_asset_partitions(EXPERIMENTS, ["a", "a", "never seen"])

    assert _traces(instance, EXPERIMENTS, "a") == NOTHING
    assert _traces(instance, EXPERIMENTS, "b") == before
    assert instance.get_materialized_partitions(EXPERIMENTS) == {"b"}
    record = instance.get_asset_records([EXPERIMENTS])[0].asset_entry
    assert record.last_run_id == runs["b"].run_id
    assert record.last_materialization_record.partition_key == "b"
    key = dg.AssetCheckKey(EXPERIMENTS, "has_rows")
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    assert [execution.partition for execution in history] == ["b"]


def test_wiping_the_last_partition_leaves_an_asset_that_was_never_materialised(instance):
    _report(instance, EXPERIMENTS, "a")
    instance.wipe_asset_partitions(EXPERIMENTS, ["a"])
    record = instance.get_asset_records([EXPERIMENTS])[0].asset_entry
    assert record.last_materialization is None
    assert record.last_run_id is None
    assert instance.get_latest_materialization_event(EXPERIMENTS) is None


def test_a_key_that_is_added_again_is_not_materialised(instance):
    """The last key, so that the keys, and with them Dagster's name for the set of them, are as they were."""
    instance.add_dynamic_partitions("experiment", ["a", "b"])
    for key in ("a", "b"):
        _report(instance, EXPERIMENTS, key)
    assert _shown(instance, EXPERIMENTS, miniature.EXPERIMENT) == {"a", "b"}
    instance.wipe_asset_partitions(EXPERIMENTS, ["b"])
    with without_hook():
        instance.delete_dynamic_partition("experiment", "b")
    instance.add_dynamic_partitions("experiment", ["b"])
    assert _shown(instance, EXPERIMENTS, miniature.EXPERIMENT) == {"a"}


def test_a_status_computed_before_the_wipe_is_not_stored_after_it(instance):
    """The web server computes for seconds at thousands of keys; a wipe may come in between."""
    instance.add_dynamic_partitions("experiment", ["a", "b"])
    for key in ("a", "b"):
        _report(instance, EXPERIMENTS, key)
    with partition_loading_context(dynamic_partitions_store=instance):
        record = instance.get_asset_records([EXPERIMENTS])[0]
        outdated = _build_status_cache(instance, EXPERIMENTS, miniature.EXPERIMENT, None, record)
        instance.wipe_asset_partitions(EXPERIMENTS, ["a"])
        instance.update_asset_cached_status_data(EXPERIMENTS, outdated)
    assert _shown(instance, EXPERIMENTS, miniature.EXPERIMENT) == {"b"}
    assert _rows(instance, db.select(AssetKeyTable.c.cached_status_data))[0][0] is not None


def test_multi_partitions_are_wiped_one_by_one(instance):
    instance.add_dynamic_partitions("training_run", ["r1", "r2"])
    for epoch, run in itertools.product("012", ("r1", "r2")):
        _report(instance, miniature.evaluations.key, f"{epoch}|{run}")
    instance.wipe_asset_partitions(
        miniature.evaluations.key, [dg.MultiPartitionKey({"run": "r1", "epoch": epoch}) for epoch in "01"]
    )
    left = {"2|r1", "0|r2", "1|r2", "2|r2"}
    assert instance.get_materialized_partitions(miniature.evaluations.key) == left
    assert _shown(instance, miniature.evaluations.key, miniature.CHECKPOINT) == left


def test_many_partitions_in_one_wipe(instance):
    """More than one statement's worth of keys."""
    keys = [f"k{n}" for n in range(1203)]
    _report(instance, EXPERIMENTS, "kept")
    for key in (keys[0], keys[-1]):
        _report(instance, EXPERIMENTS, key)
    instance.wipe_asset_partitions(EXPERIMENTS, keys)
    assert instance.get_materialized_partitions(EXPERIMENTS) == {"kept"}


def test_a_wipe_that_fails_halfway_changes_nothing(instance, monkeypatch):
    instance.add_dynamic_partitions("experiment", ["a"])
    _materialise(instance, [miniature.experiments, miniature.has_rows], "a")
    _shown(instance, EXPERIMENTS, miniature.EXPERIMENT)

    def everything() -> list:
        tables = (SqlEventLogStorageTable, AssetKeyTable, AssetEventTagsTable, AssetCheckExecutionsTable)
        return [sorted(map(repr, _rows(instance, db.select(table)))) for table in tables]

    before = everything()

    def broken(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(type(instance.event_log_storage), "_refresh_last_events", broken)
    with pytest.raises(RuntimeError, match="power cut"):
        instance.wipe_asset_partitions(EXPERIMENTS, ["a"])
    assert everything() == before


def test_wipes_while_others_write(instance):
    """Whatever the order, the asset's last materialisation is the newest event that is left."""
    for n in range(4):
        _report(instance, EXPERIMENTS, f"old{n}")
    failures: list[BaseException] = []

    def guarded(work, *arguments) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            failures.append(error)

    def write() -> None:
        for n in range(15):
            _report(instance, EXPERIMENTS, f"new{n}")

    def wipe(key: str) -> None:
        instance.wipe_asset_partitions(EXPERIMENTS, [key])

    threads = [threading.Thread(target=guarded, args=(write,))]
    threads += [threading.Thread(target=guarded, args=(wipe, f"old{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert instance.get_materialized_partitions(EXPERIMENTS) == {f"new{n}" for n in range(15)}
    assert _last(instance, EXPERIMENTS) == "new14"


def test_an_event_stored_during_a_wipe_is_not_overwritten(instance, monkeypatch):
    """It arrives, from another process, after the wipe has read what is left and before it writes that down."""
    for key in ("doomed", "old"):
        _report(instance, EXPERIMENTS, key)
    storage = instance.event_log_storage
    stock, threads = storage._get_asset_entry_values, []

    def interrupted(event, event_id, has_asset_key_index_cols):
        with DagsterInstance.from_ref(instance.get_ref()) as other:
            threads.append(threading.Thread(target=_report, args=(other, EXPERIMENTS, "new")))
            threads[-1].start()
            threads[-1].join(timeout=1)
        return stock(event, event_id, has_asset_key_index_cols)

    monkeypatch.setattr(storage, "_get_asset_entry_values", interrupted)
    instance.wipe_asset_partitions(EXPERIMENTS, ["doomed"])
    for thread in threads:
        thread.join()
    assert instance.get_materialized_partitions(EXPERIMENTS) == {"old", "new"}
    assert _last(instance, EXPERIMENTS) == "new"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=6),
    wiped=st.sets(st.sampled_from("abcd")),
    number=st.uuids(),
)
def test_wiping_is_as_if_the_events_had_never_been(sqlite_instance, events, wiped, number):
    asset_key = AssetKey(f"asset_{number.hex}")
    for partition, made in events:
        event = AssetMaterialization if made else AssetObservation
        sqlite_instance.report_runless_asset_event(event(asset_key, partition=partition))
    sqlite_instance.wipe_asset_partitions(asset_key, sorted(wiped))
    left = [partition for partition, made in events if made and partition not in wiped]
    assert sqlite_instance.get_materialized_partitions(asset_key) == set(left)
    assert _last(sqlite_instance, asset_key) == (left[-1] if left else None)


def test_a_whole_wipe_is_not_undone_by_a_wipe_of_partitions(instance):
    """PostgreSQL keeps the events of a wholly wiped asset and hides them by their time."""
    for key in ("a", "b"):
        _report(instance, EXPERIMENTS, key)
    instance.wipe_assets([EXPERIMENTS])
    instance.wipe_asset_partitions(EXPERIMENTS, ["a"])
    assert instance.get_materialized_partitions(EXPERIMENTS) == set()
    assert instance.get_latest_materialization_event(EXPERIMENTS) is None
    assert EXPERIMENTS not in instance.all_asset_keys()


def test_graphql_wipes_a_range(instance):
    instance.add_dynamic_partitions("experiment", ["a", "b", "c"])
    for key in ("a", "b", "c"):
        _report(instance, EXPERIMENTS, key)
    with _graphql(instance) as ask:
        selector = {"assetKey": {"path": ["experiments"]}, "partitions": {"range": {"start": "a", "end": "b"}}}
        assert ask(WIPE, ranges=[selector])["wipeAssets"] == {"__typename": "AssetWipeSuccess"}
    assert instance.get_materialized_partitions(EXPERIMENTS) == {"c"}


def test_graphql_deletes_a_key_and_wipes_what_carries_it(instance, cascade):
    """What the UI's delete button sends, multi-partitioned assets included; then the key is added again."""
    instance.add_dynamic_partitions("training_run", ["r1", "r2"])
    for run in ("r1", "r2"):
        _report(instance, miniature.training_runs.key, run)
        _report(instance, miniature.evaluations.key, f"1|{run}")
    with _graphql(instance) as ask:
        answer = ask(DELETE, name="training_run", keys=["r1"], wipe=True)["deleteDynamicPartitions"]
    assert answer == {"__typename": "DeleteDynamicPartitionsSuccess"}
    assert instance.get_dynamic_partitions("training_run") == ["r2"]
    instance.add_dynamic_partitions("training_run", ["r1"])
    assert _shown(instance, miniature.training_runs.key, miniature.TRAINING_RUN) == {"r2"}
    assert _shown(instance, miniature.evaluations.key, miniature.CHECKPOINT) == {"1|r2"}
    assert cascade == [("training_run", "r1")]


@pytest.fixture
def cascade(monkeypatch) -> list[tuple[str, str]]:
    """Registers a deletion cascade that notes what it was called for."""
    calls: list[tuple[str, str]] = []
    module = types.ModuleType("panic_assets.operations.keys")
    module.key_deleted = lambda _instance, name, key: calls.append((name, key))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_the_cascade_runs_once_for_a_key_that_existed(sqlite_instance, cascade):
    sqlite_instance.add_dynamic_partitions("experiment", ["a", "b"])
    sqlite_instance.delete_dynamic_partition("experiment", "a")
    sqlite_instance.delete_dynamic_partition("experiment", "a")
    sqlite_instance.delete_dynamic_partition("experiment", "never was")
    with without_hook():
        sqlite_instance.delete_dynamic_partition("experiment", "b")
    assert cascade == [("experiment", "a")]
    assert sqlite_instance.get_dynamic_partitions("experiment") == []


def test_a_cascade_that_deletes_keys_does_not_start_itself(sqlite_instance, cascade, monkeypatch):
    def key_deleted(instance: DagsterInstance, name: str, key: str) -> None:
        cascade.append((name, key))
        instance.delete_dynamic_partition("training_run", "r1")

    monkeypatch.setattr(sys.modules["panic_assets.operations.keys"], "key_deleted", key_deleted)
    sqlite_instance.add_dynamic_partitions("experiment", ["a", "b"])
    sqlite_instance.add_dynamic_partitions("training_run", ["r1"])
    sqlite_instance.delete_dynamic_partition("experiment", "a")
    assert cascade == [("experiment", "a")]
    assert sqlite_instance.get_dynamic_partitions("training_run") == []
    sqlite_instance.delete_dynamic_partition("experiment", "b")
    assert cascade == [("experiment", "a"), ("experiment", "b")]


def test_a_cascade_that_fails_does_not_fail_the_deletion(sqlite_instance, cascade, monkeypatch, caplog):
    def key_deleted(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(sys.modules["panic_assets.operations.keys"], "key_deleted", key_deleted)
    sqlite_instance.add_dynamic_partitions("experiment", ["a"])
    sqlite_instance.delete_dynamic_partition("experiment", "a")
    assert sqlite_instance.get_dynamic_partitions("experiment") == []
    (record,) = [record for record in caplog.records if record.name == "panic_assets.instance.instance"]
    assert "experiment 'a' is deleted, but not everything made from it: disk full" in record.message


@pytest.mark.parametrize("version", ["1.13.26", "1.12.0", "1.14.0", "2.0"])
def test_an_unknown_dagster_is_refused(version):
    with pytest.raises(UserError, match=f"dagster is {version}; .* needs dagster>=1.13.27,<1.14"):
        require_known_dagster(version)


@pytest.mark.parametrize("version", ["1.13.27", "1.13.99"])
def test_a_known_dagster_is_taken(version):
    require_known_dagster(version)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_postgres_urls_name_the_driver(scheme):
    assert postgres_url(f"{scheme}://u:p@h:1/d") == "postgresql+psycopg2://u:p@h:1/d"


@pytest.mark.parametrize("text", ["mysql://h/d", "h:5432/d", "postgresql+psycopg://h/d"])
def test_other_urls_are_refused(text):
    with pytest.raises(UserError, match=r"PANIC_POSTGRES_URL has the scheme .* it must be postgresql://"):
        postgres_url(text)


def test_a_check_of_a_partition_may_be_reported_again_outside_runs(instance):
    """As the orphan sensor does when clusters become stale."""
    for passed in (True, False, True):
        for partition in ("p", "q", None):
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(asset_key=AssetKey("a"), check_name="c", passed=passed, partition=partition)
            )
    key = dg.AssetCheckKey(AssetKey("a"), "c")
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    latest = {r.partition: r.status.value for r in reversed(records)}
    assert latest == {"p": "SUCCEEDED", "q": "SUCCEEDED", None: "SUCCEEDED"}
    assert sum(r.partition == "p" for r in records) == 1
