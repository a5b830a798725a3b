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
from panic_assets.instance.storage import POSTGRES_URL, postgres_url
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


@pytest.fixture(name="postgres_url")
def postgres_url_fixture(postgres_server: str) -> Iterator[str]:
    """URL of a fresh database; dropped at the end, with whoever is still connected."""
    name = f"panic_{uuid.uuid4().hex}"
    admin = db.create_engine(postgres_url(postgres_server), isolation_level="AUTOCOMMIT", poolclass=db.NullPool)
    with admin.connect() as connection:
        connection.execute(db.text(f"CREATE DATABASE {name}"))
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(db.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """None of the variables that `prepare` knows is set; what a test sets is undone."""
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(params=["sqlite", "postgres"])
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
