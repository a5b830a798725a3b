"""One writer at a time. A lease is a file lock, which the kernel frees at once if its holder dies."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from panic_assets.errors import UserError


class LeaseHeld(UserError):
    """Another process works on this; the message says which one, and since when."""


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text())
        return f"process {who['pid']} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"


@contextlib.contextmanager
def lease(
    path: Path, what: str, wait_seconds: float = 0.0, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold `path` exclusively. Waits up to `wait_seconds` (telling `on_wait` once who holds it), else LeaseHeld."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    told = False
    with path.open("a+") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                message = f"{what} is being worked on by {_holder(path)}"
                if time.monotonic() >= deadline:
                    raise LeaseHeld(f"{message}; wait until that ends, or stop it, then try again") from None
                if on_wait and not told:
                    on_wait(message)
                    told = True
                time.sleep(0.05)
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.ftruncate(handle.fileno(), 0)
        with contextlib.suppress(OSError):  # A full disk: the lock holds all the same, only without a name.
            os.write(handle.fileno(), json.dumps(who).encode())
        try:
            yield
        finally:
            os.ftruncate(handle.fileno(), 0)
            fcntl.flock(handle, fcntl.LOCK_UN)


@contextlib.contextmanager
def short_lock(path: Path) -> Iterator[None]:
    """A lock held for milliseconds around a read-modify-write; waits as long as it takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def held(path: Path) -> str | None:
    """Who holds a lease right now, in words; None when nobody does."""
    if not path.exists():
        return None
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path)
    return None
