"""A PostgreSQL that is not there, does not answer, or dies in the middle: one sentence, and nothing is lost."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from panic_assets.instance import embedded_postgres
from panic_assets.instance.storage import POSTGRES_URL
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets_tests.cli.files import write
from panic_assets_tests.conftest import Panic

pytestmark = pytest.mark.slow

LONG = 120
"""Seconds after which nobody can be said to have been told. It takes three to eight."""


@pytest.fixture(params=["refused", "silent"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where nobody listens, or somebody who accepts whoever comes and never says a word."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if request.param == "silent":
            taken.listen(16)
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_server_that_is_not_there_is_said_in_one_sentence(
    address: str, panic: Panic, clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.setenv("PANIC_HOME", str(tmp_path / "home"))
    clean_environment.setenv(POSTGRES_URL, f"postgresql://me:secret@{address}/name")
    began = time.monotonic()
    code, out, err = panic("experiment", "perform", write(tmp_path))
    assert time.monotonic() - began < LONG
    assert code == 2
    said = " ".join(err.split())
    assert said.startswith(f"Error: PostgreSQL at {address} does not answer (connection to server at")
    assert said.endswith("Start PostgreSQL or correct PANIC_POSTGRES_URL, then try again to carry on")
    assert "secret" not in out + err
    assert "Traceback" not in out + err


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """Outside pytest's folder, which is closed to the system user that the server of root is."""
    parent = Path(tempfile.mkdtemp(prefix="panic-pg-"))
    yield parent / "data"
    shutil.rmtree(parent, ignore_errors=True)


def test_a_server_that_is_killed_in_the_middle_loses_nothing(
    server_folder: Path, panic: Panic, clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.setenv("PANIC_HOME", str(tmp_path / "home"))
    path = write(tmp_path, "long.yaml", seeds=[-1] * 8, max_length=500)
    lake = open_lake(home().lake)

    def stored() -> set[tuple]:
        asked = lake.sql("SELECT run_id, sequence_number, invocation_id FROM invocations").to_pylist()
        return {tuple(row.values()) for row in asked}

    with embedded_postgres.server(server_folder) as url:
        clean_environment.setenv(POSTGRES_URL, url)
        performing = subprocess.Popen(
            [sys.executable, "-m", "panic_assets.cli.main", "experiment", "perform", str(path)],
            env=os.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            while not stored():
                assert performing.poll() is None
                time.sleep(0.05)
            server = psutil.Process(int((server_folder / "postmaster.pid").read_text().split()[0]))
            workers = server.children()
            server.kill()
            psutil.wait_procs([server, *workers], timeout=30)
            out = performing.communicate(timeout=LONG)[0]
        finally:
            performing.kill()
            performing.wait()
    assert performing.returncode == 2, out
    said = " ".join(out.split())
    assert f"Error: PostgreSQL at {server_folder} does not answer (" in said
    assert "Traceback" not in out
    kept = stored()
    assert kept

    with embedded_postgres.server(server_folder):
        code, out, err = panic("experiment", "resume", "long")
        assert code == 0, err
        code, out, err = panic("doctor")
        assert (code, "healthy" in out) == (0, True), out + err
    assert kept <= stored()
    counted = "SELECT count(*) AS n, count(DISTINCT (run_id, sequence_number)) AS d FROM invocations"
    assert lake.sql(counted).to_pylist() == [{"n": 16 * 500, "d": 16 * 500}]
