"""The three PostgreSQL storages, over one pool of connections.

Stock dagster-postgres opens a connection for every statement (24 ms an event); pooled, an event costs 2 ms.

A server that is not there is said in one sentence, soon. Stock storage tries six times for each of three storages, with
no limit to how long one attempt may take, and then shows a traceback.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as db
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.engine import URL, make_url

from panic_assets.errors import UserError
from panic_assets.instance.wiping import DeletesPartitions
from panic_assets.instance.workers import SparesTheLiving

PATIENCE_SECONDS = 3
"""For how long a server that cannot be reached is tried again: one that restarts interrupts nobody."""
LIMITS = {
    "connect_timeout": "4",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
"""How long libpq waits: four seconds to connect, about ten for a host that goes silent. The URL may say otherwise."""
SCHEMA_LOCK = 7_265_642
"""The advisory lock around the making of Dagster's tables; any number that nobody else uses in this database."""


@contextmanager
def ready(url: str) -> Iterator[str]:
    """Around the opening of the storages, one process at a time: each makes the tables it does not find.

    Yields the URL with our limits. Says in a sentence if the server cannot be reached.
    """
    limited = _limited(url)
    try:
        with _alone(_pool(limited, os.getpid())):
            yield limited
    except DagsterPostgresException as error:
        raise unreachable(make_url(url), error.__cause__ or error) from None


@contextmanager
def _alone(engine: db.Engine) -> Iterator[None]:
    """One process at a time makes what is there once. The server frees the lock of a process that dies."""
    with engine.connect() as connection:
        connection.execute(db.select(db.func.pg_advisory_lock(SCHEMA_LOCK)))
        try:
            yield
        finally:
            connection.execute(db.select(db.func.pg_advisory_unlock(SCHEMA_LOCK)))


def unreachable(url: URL, error: BaseException) -> UserError:
    """The sentence for a server that does not answer. It names the host, and never the password."""
    host = url.query.get("host") or url.host or "this machine"
    where = f"{host}:{url.port}" if url.port else host
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return UserError(
        f"PostgreSQL at {where} does not answer ({lines[0].strip() if lines else 'the connection was lost'}); what is "
        "stored is safe. Start PostgreSQL or correct PANIC_POSTGRES_URL, then try again to carry on"
    )


def _limited(url: str) -> str:
    given = make_url(url)
    limits = {name: value for name, value in LIMITS.items() if name not in given.query}
    return given.update_query_dict(limits).render_as_string(hide_password=False)


@cache
def _pool(url: str, pid: int) -> db.Engine:
    """One pool for each database and process: a connection must never be shared across a fork.

    Idle connections are kept few, so that many steps at once stay below the server's limit (100 by default).
    """
    engine = db.create_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=2, max_overflow=20, pool_pre_ping=True, pool_recycle=3600
    )

    answers = True

    @db.event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, arguments: Any, parameters: Any) -> Any:
        """Try until the patience is over; once a server was given up, try once, until it answers again. Dagster takes
        no part: it tries again on errors of the database only."""
        nonlocal answers
        deadline = time.monotonic() + (PATIENCE_SECONDS if answers else 0)
        while True:
            try:
                connection = dialect.connect(*arguments, **parameters)
            except dialect.loaded_dbapi.OperationalError as error:
                answers = answers and time.monotonic() < deadline
                if not answers:
                    raise unreachable(engine.url, error) from None
                time.sleep(0.2)
            else:
                answers = True
                return connection

    @db.event.listens_for(engine, "handle_error")
    def lost(context: Any) -> None:
        """A connection that breaks in the middle of a statement: nobody knows whether the statement was carried out."""
        if context.is_disconnect and not context.is_pre_ping:
            raise unreachable(engine.url, context.original_exception) from None

    return engine


class _Pooled:
    """Mixed in before a dagster-postgres storage, whose own engine (no pool) makes the tables and is then dropped."""

    postgres_url: str

    def __init__(self, url: str) -> None:
        super().__init__(url)  # type: ignore[call-arg]
        self._engine = _pool(self.postgres_url, os.getpid())


class PostgresRuns(_Pooled, PostgresRunStorage):
    """Runs in PostgreSQL."""


class PostgresEvents(_Pooled, DeletesPartitions, SparesTheLiving, PostgresEventLogStorage):
    """Events in PostgreSQL."""

    def set_concurrency_slots(self, concurrency_key: str, num: int) -> None:
        """Sets the limit of a pool. Two processes that do so for the first time would both add its row."""
        with _alone(self._engine):
            super().set_concurrency_slots(concurrency_key, num)


class PostgresSchedules(_Pooled, PostgresScheduleStorage):
    """Schedules in PostgreSQL."""
