"""Interrupts work: kills a forked child before the n-th change that it makes to the disk, or stops an operation."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from panic_assets.operations import operation

CHANGES = ("rename", "replace", "link", "unlink", "remove", "rmdir", "mkdir")
KILLED = -signal.SIGKILL


class Failed(AssertionError):
    """A child ended by itself, but not well."""


def killed_before(work: Callable[[], object], change: int, notes: Path) -> bool:
    """Do the work in a child that is killed before that change (the first is 1). False: it makes fewer, and is done."""
    child = os.fork()
    if child == 0:
        try:
            _kill_before(change)
            work()
            os._exit(0)
        except BaseException as error:
            notes.write_text(f"{type(error).__name__}: {error}")
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, KILLED):
        raise Failed(f"before change {change}: {notes.read_text()}")
    return code == KILLED


def _kill_before(change: int) -> None:
    """Only ever called in a child, so nothing is put back."""

    def kill(number: int) -> None:
        if number == change:
            os.kill(os.getpid(), signal.SIGKILL)

    before_every_change(kill)


def before_every_change(act: Callable[[int], object]) -> None:
    """From now on, call `act` with 1, 2, ... before every change that this process makes to the disk."""
    made = [0]

    def about_to_change(*_: Any) -> None:
        made[0] += 1
        act(made[0])

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            about_to_change()
            return real(*args, **kwargs)

        return call

    os.fsync = lambda _: None  # Whoever is killed loses nothing that was written: only a power cut does.
    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    event.listen(Engine, "commit", about_to_change)


def interrupted(work: Callable[[], object]) -> None:
    """Ask for an operation, and stop it when it is written down and nothing of it is done."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operation, "carry_out", stop)
        with pytest.raises(KeyboardInterrupt):
            work()
