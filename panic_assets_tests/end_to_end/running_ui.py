"""`panic ui` as a user runs it, driven over HTTP by what the page itself sends; nothing of it outlives the test."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil

from panic_assets.settings import Home

REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "panic_assets"}
STARTED, ENDED = 400.0, 120.0
"""Seconds that the whole of Dagster may take to come up, and to go."""


class Ui:
    """A running UI and daemon: the folder it watches, its home, and GraphQL."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.dropped = folder / "experiments"
        self.dropped.mkdir(exist_ok=True)
        self.log = folder / "ui.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> Any:
        """The data that a GraphQL query answers; errors fail the test."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def until(self, what: str, probe: Callable[[], Any], seconds: float = 400.0) -> Any:
        """What `probe` returns as soon as that is true."""
        deadline = time.monotonic() + seconds
        while not (found := probe()):
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}; the log ends:\n{self.tail()}"
            time.sleep(0.5)
        return found

    def sql(self, query: str) -> list[tuple]:
        """A query on the catalogue, as an analyst asks it: the file is opened read-only, and anew."""
        with duckdb.connect(str(self.home.catalogue), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def processes(self) -> list[psutil.Process]:
        """Every process that works on this home, wherever it was started from."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("PANIC_HOME") == str(self.home.root) and process.pid != os.getpid():
                    found.append(process)
        return found


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Ui]:
    """Starts `panic ui`, waits until it answers, and kills it, so that it can end nobody itself; fails when that leaves a
    process, or its port taken."""
    with started(folder, []) as (ui, process):
        ui.until("the UI to answer", lambda: _answers(ui, process), STARTED)
        yield ui
        process.kill()
        process.wait()
        gone(ui, "SIGKILL")
        # The kernel takes down a killed process bit by bit: it may be gone from the list before its port is free.
        ui.until("the port to be free", lambda: _is_free(ui.port), ENDED)


def ended_by_ctrl_c(folder: Path) -> None:
    """Starts `panic ui`, and presses Ctrl-C as soon as Dagster starts; fails when that leaves a process."""
    with _starting(folder, []) as (ui, process):
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(ENDED) == 0
        gone(ui, "Ctrl-C")


def ended_in_the_background(folder: Path) -> None:
    """Starts `panic ui` as a script does with `&`, which makes it ignore Ctrl-C, and tells it to end as soon as Dagster
    starts; fails when that leaves a process."""
    with _starting(folder, ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]) as (ui, process):
        process.terminate()
        assert process.wait(ENDED) == 0
        gone(ui, "SIGTERM")


@contextlib.contextmanager
def _starting(folder: Path, through: list[str]) -> Iterator[tuple[Ui, subprocess.Popen]]:
    with started(folder, through) as (ui, process):
        ui.until(
            "Dagster to start",
            lambda: any("panic_assets.instance.serve" in p.cmdline() for p in ui.processes()),
            STARTED,
        )
        yield ui, process


@contextlib.contextmanager
def started(folder: Path, through: list[str]) -> Iterator[tuple[Ui, subprocess.Popen]]:
    """Starts `panic ui`, and ends everything that works on its home."""
    ui = Ui(folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PANIC_", "DAGSTER_"))}
    environment = {"PANIC_HOME": str(ui.home.root), "PANIC_EXPERIMENTS": str(ui.dropped), "OMP_NUM_THREADS": "1"}
    with ui.log.open("wb") as log:
        process = subprocess.Popen(
            [*through, sys.executable, "-m", "panic_assets.cli.main", "ui", "--port", str(ui.port)],
            cwd=folder,
            env=kept | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield ui, process
    finally:
        for left_over in ui.processes():
            with contextlib.suppress(psutil.Error):
                left_over.kill()
        process.wait()


def _answers(ui: Ui, process: subprocess.Popen) -> bool:
    assert process.poll() is None, f"the UI stopped by itself:\n{ui.tail()}"
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{ui.url}/server_info", timeout=5) as response:
        return response.status == 200
    return False


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def gone(ui: Ui, told: str) -> None:
    """Fails when a process is left some time after the UI was told to end."""
    deadline = time.monotonic() + ENDED
    while ui.processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    left = [" ".join(p.cmdline())[:200] for p in ui.processes()]
    assert not left, f"{told} left processes behind: {left}\n{ui.tail()}"
