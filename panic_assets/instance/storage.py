"""Where Dagster keeps its own records: SQLite by default, PostgreSQL when PANIC_POSTGRES_URL says so.

`PanicStorage` is what `storage: custom` in dagster.yaml names.
"""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster
import sqlalchemy as db
from dagster._config import Field, StringSource
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from packaging.version import Version
from sqlalchemy import event

from panic_assets import variables
from panic_assets.errors import UserError
from panic_assets.extras import extra
from panic_assets.instance.wiping import DeletesPartitions
from panic_assets.instance.workers import SparesTheLiving
from panic_assets.locks import locked
from panic_assets.settings import home

POSTGRES_URL = "PANIC_POSTGRES_URL"
OLDEST, NEWEST = "1.13.27", "1.14"
"""Dagster releases whose private tables and classes were checked: OLDEST <= version < NEWEST."""

PATIENCE_SECONDS = 60
"""How long SQLite waits for another writer."""


def require_known_dagster(version: str = dagster.__version__) -> None:
    """Refuses a Dagster whose internals were not checked, before anything is written with it."""
    if not Version(OLDEST) <= Version(version) < Version(NEWEST):
        raise UserError(
            f"dagster is {version}; this release of panic_assets needs dagster>={OLDEST},<{NEWEST}; install one of these"
        )


def dagster_home() -> str:
    """Where Dagster keeps its files: DAGSTER_HOME, or where `panic` sets it to. Stock commands need not be told."""
    return os.environ.get("DAGSTER_HOME") or str(home().dagster)


def postgres_url(text: str) -> str:
    """`text` with the driver named. SQLAlchemy 2.1 takes `postgresql://` for psycopg 3; psycopg2 is what we have."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise UserError(
            f"{POSTGRES_URL} has the scheme {scheme!r}; it must be postgresql://user:password@host:port/name"
        )
    return f"postgresql+psycopg2://{rest}"


@event.listens_for(db.Engine, "connect")
def _be_patient(connection: Any, _: object) -> None:
    """SQLite waits for whoever writes: runs and schedules would give up after five seconds, which a busy disk takes."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE_SECONDS * 1000}")


_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""Kinds of errors. On some file systems SQLite meets a full disk where it maps its index of the log into memory."""


@event.listens_for(db.Engine, "handle_error")
def _make_room(context: Any) -> None:
    """A full disk is said in a sentence, as it is for the lake."""
    error = context.original_exception
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _NO_ROOM:
        raise UserError(
            f"SQLite cannot write {context.engine.url.database} ({error}); what is stored is safe: make room on the disk, "
            "then start again to carry on"
        ) from None


class SqliteEvents(DeletesPartitions, SparesTheLiving, SqliteEventLogStorage):
    """Event log in SQLite: an index of what concerns assets, and a file for each run."""

    def set_concurrency_slots(self, concurrency_key: str, num: int) -> None:
        """Sets the limit of a pool. Two processes that do so for the first time would both add its row."""
        with locked(_schema_lock(self._base_dir)):
            super().set_concurrency_slots(concurrency_key, num)


def _schema_lock(runs: str) -> Path:
    """Held by the process that makes what is there once, in SQLite files whose runs are in this folder."""
    return Path(runs).parent / ".schema.lock"


class PanicStorage(DagsterStorage, ConfigurableClass):
    """Runs, events and schedules in one database.

    dagster.yaml:
        storage:
          custom:
            module: panic_assets.instance.storage
            class: PanicStorage
    """

    def __init__(self, base_dir: str, url: str | None = None, inst_data: ConfigurableClassData | None = None) -> None:
        require_known_dagster()
        self._inst_data = inst_data
        self._runs: RunStorage
        self._events: EventLogStorage
        self._schedules: ScheduleStorage
        if url:
            # Only here: who runs on SQLite need not have dagster-postgres imported.
            with extra("postgres"):
                from panic_assets.instance.postgres import PostgresEvents, PostgresRuns, PostgresSchedules, ready

            with ready(postgres_url(url)) as limited:
                self._runs, self._events = PostgresRuns(limited), PostgresEvents(limited)
                self._schedules = PostgresSchedules(limited)
        else:
            runs = os.path.join(base_dir, "history", "runs", "")
            # Each makes its tables where there are none. Two processes that do so at once get in each other's way.
            with locked(_schema_lock(os.path.dirname(runs))):
                self._runs = SqliteRunStorage.from_local(os.path.join(base_dir, "history", ""))
                self._events = SqliteEvents(runs)
                self._schedules = SqliteScheduleStorage.from_local(os.path.join(base_dir, "schedules"))
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What this was configured from."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Field]:
        """`base_dir`: where SQLite files go; in DAGSTER_HOME when not given. PostgreSQL is named by the environment
        alone: it holds a password."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PanicStorage":
        """From dagster.yaml and the environment of the process that opens the instance."""
        return cls(config_value.get("base_dir") or dagster_home(), variables.read().postgres_url, inst_data)

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
