"""File locks: held by one process of all those on the machine, and freed by the kernel the moment it dies.

The package filelock was tried. It cannot say who holds a lock without taking it, and so would turn away somebody who
asks at that moment: that takes a shared lock, which it has not. And it waits by looking again and again, while the
kernel hands a lock on at once: that matters where a lock is held for a millisecond, around every write to the lake.

A lock file is never removed: whoever waits for it would hold a lock on a file that nobody else sees. It holds a note of
its holder, in JSON.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Lock:
    """A lock that this process holds, until `release` or until it ends, however it ends."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def sign(self, note: bytes) -> None:
        """Leave a note of the holder, for whoever finds the lock held."""
        os.ftruncate(self._handle, 0)
        with contextlib.suppress(OSError):  # A full disk: the lock holds all the same, only without a name.
            os.pwrite(self._handle, note, 0)

    def release(self) -> None:
        """Give the lock back."""
        os.ftruncate(self._handle, 0)
        fcntl.flock(self._handle, fcntl.LOCK_UN)  # Also where a child process has inherited the file.
        os.close(self._handle)


def note(**more: Any) -> bytes:
    """A note that names this process and the time."""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since, **more}).encode()


def take(path: Path) -> Lock | None:
    """The lock, or None when somebody holds it."""
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return Lock(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The lock around something short; waits as long as it takes."""
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock. Asking takes it from nobody."""
    if not path.exists():
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def is_read(path: Path) -> bool:
    """Whether another process has a DuckDB file open, which DuckDB locks. It cannot tell whether this process has."""
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


def holder(path: Path) -> dict[str, Any]:
    """The note of the holder; empty when there is none, or it cannot be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
