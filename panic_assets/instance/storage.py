"""Where Dagster keeps its own records: SQLite by default, PostgreSQL when PANIC_POSTGRES_URL says so.

Stock Dagster storage cannot delete partitions: the API, GraphQL and the UI's buttons refuse. `DeletesPartitions`
is the missing method, one for both databases; `PanicStorage` is what `storage: custom` in dagster.yaml names.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster
import sqlalchemy as db
from dagster import AssetKey, DagsterEventType
from dagster._config import Field, StringSource
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData, deserialize_value, serialize_value
from packaging.version import Version

from panic_assets.errors import UserError

POSTGRES_URL = "PANIC_POSTGRES_URL"
OLDEST, NEWEST = "1.13.27", "1.14"
"""Dagster releases whose private tables and classes were checked: OLDEST <= version < NEWEST."""

PARTITION_EVENTS = (
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
)
_CHUNK = 500
"""Partition keys per statement, below every database's limit on bound values."""


def require_known_dagster(version: str = dagster.__version__) -> None:
    """Refuses a Dagster whose internals were not checked, before anything is written with it."""
    if not Version(OLDEST) <= Version(version) < Version(NEWEST):
        raise UserError(f"dagster is {version}; this release of panic_assets needs dagster>={OLDEST},<{NEWEST}")


def postgres_url(text: str) -> str:
    """`text` with the driver named. SQLAlchemy 2.1 takes `postgresql://` for psycopg 3; psycopg2 is what we have."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise UserError(
            f"{POSTGRES_URL} has the scheme {scheme!r}; it must be postgresql://user:password@host:port/name"
        )
    return f"postgresql+psycopg2://{rest}"


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


class SqliteEvents(DeletesPartitions, SqliteEventLogStorage):
    """Event log in SQLite: an index of what concerns assets, and a file for each run."""


class PanicStorage(DagsterStorage, ConfigurableClass):
    """Runs, events and schedules in one database.

    dagster.yaml:
        storage:
          custom:
            module: panic_assets.instance.storage
            class: PanicStorage
            config: {base_dir: {env: DAGSTER_HOME}}
    """

    def __init__(self, base_dir: str, url: str | None = None, inst_data: ConfigurableClassData | None = None) -> None:
        require_known_dagster()
        self._inst_data = inst_data
        self._runs: RunStorage
        self._events: EventLogStorage
        self._schedules: ScheduleStorage
        if url:
            # Only here: who runs on SQLite need not have dagster-postgres imported.
            from panic_assets.instance.postgres import PostgresEvents, PostgresRuns, PostgresSchedules

            driver_url = postgres_url(url)
            self._runs, self._events = PostgresRuns(driver_url), PostgresEvents(driver_url)
            self._schedules = PostgresSchedules(driver_url)
        else:
            self._runs = SqliteRunStorage.from_local(os.path.join(base_dir, "history", ""))
            self._events = SqliteEvents(os.path.join(base_dir, "history", "runs", ""))
            self._schedules = SqliteScheduleStorage.from_local(os.path.join(base_dir, "schedules"))
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What this was configured from."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Field]:
        """`base_dir`: where SQLite files go. PostgreSQL is named by the environment alone: it holds a password."""
        return {"base_dir": Field(StringSource, is_required=True)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PanicStorage":
        """From dagster.yaml and the environment of the process that opens the instance."""
        return cls(config_value["base_dir"], os.environ.get(POSTGRES_URL), inst_data)

    @property
    def run_storage(self) -> RunStorage:
        """Runs, backfills and daemon cursors."""
        return self._runs

    @property
    def event_log_storage(self) -> EventLogStorage:
        """Events, assets, checks, dynamic partition keys and pool slots."""
        return self._events

    @property
    def schedule_storage(self) -> ScheduleStorage:
        """State and ticks of schedules and sensors."""
        return self._schedules
