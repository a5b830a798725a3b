"""Instances on both real databases. Other rooms may import `postgres_server` and `postgres_url` from here."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as db
from dagster import DagsterInstance

from panic_assets.instance import embedded_postgres
from panic_assets.instance.home import open_instance
from panic_assets.instance.storage import POSTGRES_URL, PanicStorage, postgres_url
from panic_assets.settings import Home

ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "DAGSTER_DISABLE_TELEMETRY",
    "DAGSTER_EVENT_BATCH_SIZE",
    "DAGSTER_HOME",
    "PANIC_GPUS",
    "PANIC_HOME",
    POSTGRES_URL,
)
"""What `prepare` reads or sets."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real PostgreSQL that this session starts and stops. Not under pytest's own folder, which pytest
    closes to other users while another session runs: as root, the server is another user."""
    folder = Path(tempfile.mkdtemp(prefix="panic-pg-"))
    with embedded_postgres.server(folder / "data") as url:
        yield url
    shutil.rmtree(folder, ignore_errors=True)


def _named(server: str, database: str) -> str:
    return server.replace("/postgres?", f"/{database}?")


def _administrate(server: str, statement: str) -> None:
    engine = db.create_engine(postgres_url(server), isolation_level="AUTOCOMMIT", poolclass=db.NullPool)
    with engine.connect() as connection:
        connection.execute(db.text(statement))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """Name of a database with Dagster's tables in it: copying it takes a tenth of making them."""
    _administrate(postgres_server, "CREATE DATABASE panic_template")
    url = _named(postgres_server, "panic_template")
    PanicStorage("unused", url).event_log_storage._engine.dispose()  # type: ignore[attr-defined]
    return "panic_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Dagster's SQLite files, to be copied."""
    folder = tmp_path_factory.mktemp("sqlite")
    PanicStorage(str(folder))
    return folder


@pytest.fixture(name="postgres_url")
def postgres_url_fixture(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """URL of a database with Dagster's empty tables; dropped at the end, with whoever is still connected."""
    name = f"panic_{uuid.uuid4().hex}"
    _administrate(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield _named(postgres_server, name)
    _administrate(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """None of the variables that `prepare` knows is set; what a test sets is undone."""
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path) -> Home:
    """A home whose SQLite files are there already."""
    home = Home(tmp_path / "home")
    shutil.copytree(sqlite_template, home.dagster)
    return home


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def instance(
    request: pytest.FixtureRequest, home: Home, clean_environment: pytest.MonkeyPatch
) -> Iterator[DagsterInstance]:
    """Our instance, as dagster.yaml assembles it, on each database in turn."""
    if request.param == "postgres":
        clean_environment.setenv(POSTGRES_URL, request.getfixturevalue("postgres_url"))
    with open_instance(home) as instance:
        yield instance


@pytest.fixture
def sqlite_instance(home: Home, clean_environment: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    """Our instance on SQLite, for what does not depend on the database."""
    with open_instance(home) as instance:
        yield instance
