"""Several commands at once on a home that nobody has used: real processes that open it in the same moment."""

import multiprocessing
import os
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as db

from panic_assets.instance.home import open_instance
from panic_assets.instance.storage import POSTGRES_URL, postgres_url
from panic_assets.settings import Home
from panic_assets_tests.instance.conftest import ENVIRONMENT, _administrate, _named

pytestmark = pytest.mark.slow

AT_ONCE = 3
FORKSERVER = multiprocessing.get_context("forkserver")
"""Children start from a process that has imported everything and has no threads."""
FORKSERVER.set_forkserver_preload([__name__, "panic_assets.instance.postgres"])


def opening(root: Path, url: str, key: str, together: threading.Barrier) -> None:
    """What each child does: open the instance as a command does, and store something."""
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    os.environ |= {"PANIC_GPUS": "2"} | ({POSTGRES_URL: url} if url else {})
    together.wait()
    try:
        with open_instance(Home(root)) as instance:
            instance.add_dynamic_partitions("experiment", [key])
    except BaseException:
        (root.parent / f"{root.name}.{key}.failed").write_text(traceback.format_exc())
        raise


def _opened_at_once(root: Path, url: str = "") -> None:
    together = FORKSERVER.Barrier(AT_ONCE)
    keys = [f"key{number}" for number in range(AT_ONCE)]
    children = [FORKSERVER.Process(target=opening, args=(root, url, key, together)) for key in keys]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [path.read_text() for path in root.parent.glob(f"{root.name}.*.failed")] == []
    with open_instance(Home(root)) as instance:
        assert sorted(instance.get_dynamic_partitions("experiment")) == keys
        (pool,) = instance.event_log_storage.get_pool_limits()
        assert (pool.name, pool.limit, pool.from_default) == ("gpu", 2, False)


def test_commands_that_start_at_once_make_the_records_of_a_fresh_home(
    tmp_path: Path, clean_environment: pytest.MonkeyPatch
) -> None:
    clean_environment.setenv("PANIC_GPUS", "2")
    for number in range(3):
        _opened_at_once(tmp_path / str(number))


@pytest.fixture
def empty_database(postgres_server: str, clean_environment: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a database without tables."""
    name = f"fresh_{uuid.uuid4().hex}"
    _administrate(postgres_server, f"CREATE DATABASE {name}")
    clean_environment.setenv(POSTGRES_URL, _named(postgres_server, name))
    clean_environment.setenv("PANIC_GPUS", "2")
    yield _named(postgres_server, name)
    _administrate(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def test_commands_that_start_at_once_make_the_tables_of_a_fresh_postgresql(tmp_path: Path, empty_database: str) -> None:
    _opened_at_once(tmp_path / "home", empty_database)


def test_whoever_opens_a_fresh_postgresql_waits_for_the_one_that_makes_its_tables(
    tmp_path: Path, empty_database: str
) -> None:
    """Dagster's own processes get over most of these races by trying again, so the race alone would show nothing."""
    from panic_assets.instance.postgres import SCHEMA_LOCK

    engine = db.create_engine(postgres_url(empty_database), isolation_level="AUTOCOMMIT", poolclass=db.NullPool)
    waiting = db.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with engine.connect() as first:
        first.execute(db.select(db.func.pg_advisory_lock(SCHEMA_LOCK)))
        alone = FORKSERVER.Barrier(1)
        second = FORKSERVER.Process(target=opening, args=(tmp_path / "home", empty_database, "key", alone))
        second.start()
        while not first.execute(waiting).scalar():
            assert second.is_alive(), "it did not wait"
            time.sleep(0.05)
        assert db.inspect(first).get_table_names() == []
    second.join()
    assert second.exitcode == 0
    assert "runs" in db.inspect(engine).get_table_names()
