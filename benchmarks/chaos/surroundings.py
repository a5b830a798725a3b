"""What a command depends on goes away: the disk is full, PostgreSQL is killed, a worker, a part of `panic ui`."""

import contextlib
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import yaml

from benchmarks.chaos.commands import Failed, started
from benchmarks.chaos.homes import Workspace
from benchmarks.chaos.works import FILES, Trials
from panic_assets.instance import embedded_postgres
from panic_assets.instance.storage import POSTGRES_URL
from panic_assets.tables import open_lake
from panic_assets.workloads import SPACES
from panic_assets_tests.end_to_end import running_ui

PAGE = 4096


def full_disk(trials: Trials, chance: random.Random) -> None:
    """The disk of the home has room for a part of the work. Later it has more."""
    wanted, _ = trials.learned()
    made = trials.workspace.after(*trials.work.before, trials.work.words)
    needed = sum(PAGE + path.lstat().st_size for path in made.rglob("*"))
    size = int(needed * chance.uniform(0.02, 1.0))
    with _small_disk(trials.workspace, size) as disk:
        with started(trials.work.words, trials.env) as running:
            running.ended().plainly()
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        trials.again(wanted)


@contextlib.contextmanager
def _small_disk(workspace: Workspace, size: int) -> Iterator[Path]:
    """An empty home on a disk of its own."""
    trials_home = workspace.home
    shutil.rmtree(trials_home, ignore_errors=True)
    trials_home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(trials_home)], capture_output=True, text=True
    )
    if mounted.returncode:
        raise Failed(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield trials_home
    finally:
        subprocess.run(["umount", "-l", str(trials_home)], check=True)


def server_killed(trials: Trials, chance: random.Random) -> None:
    """PostgreSQL is killed, and started again."""
    wanted, changes = trials.learned()
    change = chance.randint(1, changes)
    trials.fresh()
    parent = Path(tempfile.mkdtemp(prefix="panic-pg-"))  # Open to the system user that the server of root is.
    try:
        with (
            embedded_postgres.server(parent / "data") as url,
            started(trials.work.words, {**trials.env, POSTGRES_URL: url}) as running,
        ):
            if running.until(change):
                _kill_server(parent / "data")
            running.ended().plainly()
        with embedded_postgres.server(parent / "data") as url:
            trials.again(wanted, **{POSTGRES_URL: url})
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _kill_server(folder: Path) -> None:
    server = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
    its = [server, *server.children()]
    server.kill()
    psutil.wait_procs(its, timeout=60)


def worker_killed(trials: Trials, chance: random.Random) -> None:
    """A process that the command started is killed."""
    wanted, changes = trials.learned()
    change = chance.randint(1, changes)
    trials.fresh()
    with started(trials.work.words, trials.env) as running:
        running.until(change)
        while running.process.poll() is None and not running.children():
            time.sleep(0.001)
        if children := running.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(sorted(children, key=lambda child: child.pid)).kill()
        running.ended().plainly()
    trials.again(wanted)


def ui_killed(trials: Trials, chance: random.Random) -> None:
    """`panic ui`, its web server, its daemon or another of its processes is killed while it performs what was dropped."""
    wanted, _ = trials.learned()
    trials.fresh()
    folder, runs = trials.workspace.root, chance.randint(0, 4)
    dropped = folder / "experiments"
    shutil.rmtree(dropped, ignore_errors=True)
    with running_ui.started(folder, []) as (ui, process):
        (dropped / "e.yaml").write_text(yaml.safe_dump(FILES["e.yaml"]))
        ui.until("the work to begin", lambda: _made(folder) >= runs or process.poll() is not None)
        parts = sorted(ui.processes(), key=lambda part: part.pid)
        part = chance.choice(parts)
        with contextlib.suppress(psutil.NoSuchProcess):
            part.kill()
        time.sleep(chance.uniform(0, 5))
        process.kill()
        process.wait()
        running_ui.gone(ui, "SIGKILL")
    with running_ui.started(folder, []) as (ui, process):
        ui.until("everything to be done", lambda: _done(folder), 1800)
    wanted.compare(trials.workspace.seen())


def _made(folder: Path) -> int:
    """How many tables have rows."""
    lake = open_lake(folder / "home" / "lake")
    return sum(any(True for _ in lake.partitions(table)) for table in lake.tables)


def _done(folder: Path) -> bool:
    lake = open_lake(folder / "home" / "lake")
    left = list(SPACES["experiment"].left(lake))
    return bool(left) and not any(found.count and not found.on_request for found in left)
