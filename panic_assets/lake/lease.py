"""One writer at a time. A lease is a file lock, which the kernel frees at once if its holder dies."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from panic_assets import locks
from panic_assets.errors import UserError


class LeaseHeld(UserError):
    """Another process works on this; the message says which one, and since when."""


@contextlib.contextmanager
def lease(
    path: Path, what: str, wait_seconds: float = 0.0, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold `path` exclusively. Waits up to `wait_seconds` (telling `on_wait` once who holds it), else LeaseHeld."""
    deadline = time.monotonic() + wait_seconds
    told = False
    while (lock := locks.take(path)) is None:
        message = f"{what} is being worked on by {_holder(path)}"
        if time.monotonic() >= deadline:
            raise LeaseHeld(f"{message}; wait until that ends, or stop it, then try again")
        if on_wait and not told:
            on_wait(message)
            told = True
        time.sleep(0.05)
    try:
        lock.sign(locks.note())
        yield
    finally:
        lock.release()


def held(path: Path) -> str | None:
    """Who holds a lease right now, in words; None when nobody does."""
    return _holder(path) if locks.is_held(path) else None


def _holder(path: Path) -> str:
    who = locks.holder(path)
    if {"pid", "host", "since"} <= set(who):
        return f"process {who['pid']} on {who['host']}, since {who['since']}"
    return "another process"
