"""What all tests share."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import event
from sqlalchemy.engine import Engine

from panic_assets.cli import output

Panic = Callable[..., tuple[int, str, str]]

# The same examples every time, however slow the machine: what fails, fails for everybody. `pytest --hypothesis-profile default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)

# A background job of a script ignores Ctrl-C, and so would every program that a test starts to press it on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@event.listens_for(Engine, "connect")
def without_waiting_for_the_disk(connection: Any, _: object) -> None:
    """SQLite need not outlive a power cut in a test; a killed process still finds what it committed."""
    if type(connection).__module__ == "sqlite3":
        connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def panic(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Panic:
    """`panic("experiment", "list")` -> (exit code, what it printed, what it complained)."""
    from panic_assets.cli.main import main

    for shown in (output.console, output.errors):
        monkeypatch.setattr(shown, "_width", 200)  # Nothing that a test looks for is folded.

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["panic", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return code, out, err

    return call


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte, where the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True
        ).returncode
    ):
        pytest.skip("no right to mount a small disk here; the test with a file limit runs everywhere")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
