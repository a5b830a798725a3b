"""`panic` commands in a process group of their own, watched and killed while they work."""

import contextlib
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.chaos.counted import SIZE

LONG = 1800.0
"""Seconds after which a command can be said to hang. The longest takes half a minute on an idle machine."""
ERROR = "Error: "


class Failed(Exception):
    """What a trial found wrong, in a sentence."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and all that it printed."""

    code: int
    text: str

    def well(self) -> None:
        """Fail unless it did what it was told."""
        if self.code:
            raise Failed(f"exit code {self.code}: {self.tail}")
        self.plainly()

    def plainly(self) -> None:
        """Fail unless it did what it was told, or said in a sentence why not."""
        if "Traceback" in self.text:
            raise Failed(f"it printed a traceback: {self.tail}")
        if self.code and ERROR not in self.text:
            raise Failed(f"exit code {self.code} without a sentence: {self.tail}")

    @property
    def tail(self) -> str:
        return " ".join(self.text.split())[-400:]


class Running:
    """A command at work. `changes` is how many changes to the disk it has made or is about to make."""

    def __init__(self, process: subprocess.Popen, count: Path, out: Path) -> None:
        self.process, self._count, self._out = process, count, out

    @property
    def changes(self) -> int:
        return int(struct.unpack("q", self._count.read_bytes())[0])

    def until(self, change: int) -> bool:
        """Wait for that change. False: it ended before."""
        deadline = time.monotonic() + LONG
        while self.process.poll() is None:
            if self.changes >= change:
                return True
            if time.monotonic() > deadline:
                raise Failed(f"it hangs after {self.changes} changes: {self.said().tail}")
            time.sleep(0.001)
        return False

    def pause(self, seconds: float) -> None:
        """Let it work on for a moment."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def ended(self) -> Said:
        """How it ended, once it has."""
        try:
            self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            raise Failed(f"it hangs after {self.changes} changes: {self.said().tail}") from None
        return self.said()

    def said(self) -> Said:
        return Said(self.process.returncode or 0, self._out.read_text(errors="replace"))

    def kill(self) -> None:
        """End the whole group, the command's children included."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def environment(home: Path, **more: str) -> dict[str, str]:
    """That of a user who has set nothing but the home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PANIC_", "DAGSTER_"))}
    return {**kept, "PANIC_HOME": str(home), "OMP_NUM_THREADS": "1", **more}


@contextlib.contextmanager
def started(words: tuple[str, ...], env: Mapping[str, str], kill_before: int = 0) -> Iterator[Running]:
    """A command, started in the folder of its home. Nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="panic-chaos-") as notes:
        count, out = Path(notes) / "count", Path(notes) / "out"
        count.write_bytes(bytes(SIZE))
        with out.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.chaos.counted", str(count), str(kill_before), *words],
                env={**env, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"},
                cwd=Path(env["PANIC_HOME"]).parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = Running(process, count, out)
        try:
            yield running
        finally:
            running.kill()


def performed(words: tuple[str, ...], env: Mapping[str, str]) -> Said:
    """A command from its beginning to its end."""
    with started(words, env) as running:
        return running.ended()
