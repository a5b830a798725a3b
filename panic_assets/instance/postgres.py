"""The three PostgreSQL storages, over one pool of connections.

Stock dagster-postgres opens a connection for every statement (24 ms an event); pooled, an event costs 2 ms.
"""

import os
from functools import cache

import sqlalchemy as db
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage

from panic_assets.instance.wiping import DeletesPartitions


@cache
def _pool(url: str, pid: int) -> db.Engine:
    """One pool for each database and process: a connection must never be shared across a fork.

    Idle connections are kept few, so that many steps at once stay below the server's limit (100 by default).
    """
    return db.create_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=2, max_overflow=20, pool_pre_ping=True, pool_recycle=3600
    )


class _Pooled:
    """Mixed in before a dagster-postgres storage, whose own engine (no pool) makes the tables and is then dropped."""

    postgres_url: str

    def __init__(self, url: str) -> None:
        super().__init__(url)  # type: ignore[call-arg]
        self._engine = _pool(self.postgres_url, os.getpid())


class PostgresRuns(_Pooled, PostgresRunStorage):
    """Runs in PostgreSQL."""


class PostgresEvents(_Pooled, DeletesPartitions, PostgresEventLogStorage):
    """Events in PostgreSQL."""


class PostgresSchedules(_Pooled, PostgresScheduleStorage):
    """Schedules in PostgreSQL."""
