"""Deletes Dagster's records of partitions. Stock storage cannot: its API, GraphQL and the UI's buttons refuse.

`DeletesPartitions` adds the missing method, for SQLite and PostgreSQL.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as db
from dagster import AssetKey, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
from dagster._serdes import deserialize_value, serialize_value

PARTITION_EVENTS = (
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
)
_CHUNK = 500
"""Partition keys per statement, below every database's limit on bound values."""


class DeletesPartitions(SqlEventLogStorage):
    """Event-log storage that can forget partitions: mixed in before the SQLite or the PostgreSQL class."""

    @contextmanager
    def _locked(self, asset_key: AssetKey) -> Iterator[db.Connection]:
        """One transaction holding the asset's row (SQLite: the database), its status cache already cleared.

        Writing first is what takes the lock. Whoever stores an event of this asset updates the same row, so
        what is read in here cannot be outdated by the time it is written back.
        """
        with self.index_transaction() as conn:
            conn.execute(
                AssetKeyTable.update()
                .where(AssetKeyTable.c.asset_key == asset_key.to_string())
                .values(cached_status_data=None)
            )
            yield conn

    def wipe_asset_partitions(self, asset_key: AssetKey, partition_keys: Sequence[str]) -> None:
        """Removes every trace of these partitions of the asset, all or nothing; unknown keys are ignored.

        Gone are events with their tags, executions and evaluations of checks, and the cached status; the asset's
        last materialisation becomes the last one that is left. A run's own log on SQLite is kept: it is history.
        """
        keys = list(dict.fromkeys(map(str, partition_keys)))
        if not keys:
            return
        with self._locked(asset_key) as conn:
            for start in range(0, len(keys), _CHUNK):
                _delete_events(conn, asset_key, keys[start : start + _CHUNK])
            self._refresh_last_events(conn, asset_key)

    def _refresh_last_events(self, conn: db.Connection, asset_key: AssetKey) -> None:
        """Sets the asset's summary columns as if the events that are left had just been stored again."""
        name = asset_key.to_string()
        last = (
            db.select(db.func.max(SqlEventLogStorageTable.c.id))
            .where(
                SqlEventLogStorageTable.c.asset_key == name,
                SqlEventLogStorageTable.c.dagster_event_type.in_([t.value for t in PARTITION_EVENTS]),
            )
            .group_by(SqlEventLogStorageTable.c.dagster_event_type)
        )
        rows = conn.execute(
            db.select(SqlEventLogStorageTable.c.id, SqlEventLogStorageTable.c.event)
            .where(SqlEventLogStorageTable.c.id.in_(last))
            .order_by(SqlEventLogStorageTable.c.id)
        ).all()
        values: dict[str, Any] = {
            "last_materialization": None,
            "last_run_id": None,
            "last_materialization_timestamp": None,
        }
        for event_id, event in rows:
            values |= self._get_asset_entry_values(
                deserialize_value(event, EventLogEntry), event_id, has_asset_key_index_cols=True
            )
        conn.execute(AssetKeyTable.update().where(AssetKeyTable.c.asset_key == name).values(**values))

    def _store_runless_asset_check_evaluation(self, event: EventLogEntry, event_id: int | None) -> None:
        """A sensor's evaluation of a check on a partition replaces its earlier one.

        Stock storage has one run for all evaluations made outside runs, and refuses the second one.
        """
        assert event.dagster_event is not None
        said = event.dagster_event.asset_check_evaluation_data
        if said.partition is not None:
            with self.index_connection() as conn:
                executions = AssetCheckExecutionsTable.c
                conn.execute(
                    AssetCheckExecutionsTable.delete().where(
                        executions.asset_key == said.asset_key.to_string(),
                        executions.check_name == said.check_name,
                        executions.run_id == event.run_id,
                        executions.partition == said.partition,
                    )
                )
        super()._store_runless_asset_check_evaluation(event, event_id)

    def update_asset_cached_status_data(self, asset_key: AssetKey, cache_values: AssetStatusCacheValue) -> None:
        """Stores the partition status that a reader computed, unless partitions were wiped while it computed.

        Computing takes seconds at thousands of partitions. Without this look, a status from before a wipe could
        be stored after it, and would show the deleted partition as materialised once its key is added again.
        """
        name = asset_key.to_string()
        with self._locked(asset_key) as conn:
            rows = conn.execute(
                db.select(SqlEventLogStorageTable.c.dagster_event_type, SqlEventLogStorageTable.c.partition)
                .where(
                    SqlEventLogStorageTable.c.asset_key == name,
                    SqlEventLogStorageTable.c.partition.is_not(None),
                    SqlEventLogStorageTable.c.dagster_event_type.in_([t.value for t in PARTITION_EVENTS[:2]]),
                )
                .distinct()
            ).all()
            materialised = {key for kind, key in rows if kind == DagsterEventType.ASSET_MATERIALIZATION.value}
            attempted = {key for _, key in rows}
            if (
                _keys(cache_values.serialized_materialized_partition_subset) <= materialised
                and _keys(cache_values.serialized_failed_partition_subset) <= attempted
                and _keys(cache_values.serialized_in_progress_partition_subset) <= attempted
            ):
                conn.execute(
                    AssetKeyTable.update()
                    .where(AssetKeyTable.c.asset_key == name)
                    .values(cached_status_data=serialize_value(cache_values))
                )


def _delete_events(conn: db.Connection, asset_key: AssetKey, keys: Sequence[str]) -> None:
    """Deletes what the index knows of these partitions of one asset, in the transaction of `conn`."""
    name = asset_key.to_string()
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    doomed = db.select(events.id).where(
        events.asset_key == name,
        events.dagster_event_type.in_([t.value for t in PARTITION_EVENTS]),
        events.partition.in_(keys),
    )
    # An execution without a partition belongs to the materialisation it evaluated.
    executions = db.and_(
        checks.asset_key == name,
        db.or_(
            checks.partition.in_(keys),
            db.and_(checks.partition.is_(None), checks.materialization_event_storage_id.in_(doomed)),
        ),
    )
    evaluations = {
        row[0]
        for row in conn.execute(db.select(checks.evaluation_event_storage_id).where(executions))
        if row[0] is not None
    }
    conn.execute(AssetCheckExecutionsTable.delete().where(executions))
    # One planned event may stand for several partitions: it goes with the last of them.
    conn.execute(
        SqlEventLogStorageTable.delete().where(
            events.id.in_(sorted(evaluations)),
            events.id.not_in(
                db.select(checks.evaluation_event_storage_id).where(
                    checks.asset_key == name, checks.evaluation_event_storage_id.is_not(None)
                )
            ),
        )
    )
    conn.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(doomed)))
    conn.execute(SqlEventLogStorageTable.delete().where(events.id.in_(doomed)))


def _keys(serialized_subset: str | None) -> set[str]:
    """Partition keys in a stored subset; empty for one that does not list keys (time windows, `all`)."""
    subset = json.loads(serialized_subset) if serialized_subset else {}
    return set(subset.get("subset", ())) if isinstance(subset, dict) else set()
