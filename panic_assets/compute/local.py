"""Worker processes on this machine that keep models warm, each with its own leased GPU."""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from panic_assets.compute import faults, gpus, machine, warm
from panic_assets.compute.pool import Pool
from panic_assets.compute.protocol import Function, Needs

log = logging.getLogger(__name__)

THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What numeric libraries read, at import, to learn how many threads are theirs."""


class LocalCompute(Pool):
    """The `Compute` of one machine.

    `workers` bounds the number of processes; by default as many as leases fit on the GPUs, else one per CPU
    core as far as memory goes. `models` names who loads their models.
    """

    def __init__(self, workers: int | None = None, models: str = warm.MODELS) -> None:
        super().__init__()
        self._workers, self._models = workers, models

    def width(self, needs: Needs) -> int:
        """As many as the GPUs hold leases, else as the cores and the memory allow."""
        cards = _cards(needs)
        if cards:
            gpus.check_feasible(needs.gpu_share, needs.vram_gb, cards)
            most = gpus.concurrent_leases(needs.gpu_share, needs.vram_gb, cards)
        else:
            most = max(1, min(machine.cores(), int(machine.memory_gb() / max(needs.memory_gb, 0.001))))
        return min(most, self._workers or most)

    def _hire(self, needs: Needs, size: int) -> "_Process":
        return _Process(needs, _cards(needs), max(1, machine.cores() // size), self._models)

    def _with_news(self, crew: Sequence["_Process"]) -> Sequence["_Process"]:
        news: list[Any] = wait(crew, timeout=1.0)  # type: ignore[arg-type]
        # One that is dead need not have closed its socket: a child of its may hold it open.
        return news or [process for process in crew if not process.alive]


class _Process:
    """One worker process, as its parent sees it."""

    def __init__(self, needs: Needs, cards: tuple[gpus.Gpu, ...], threads: int, models: str) -> None:
        self.ready = False
        self.index: int | None = None
        self.begun = False
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from panic_assets.compute.worker import main; main({fd})"],
                env=_environment(threads),
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # its own group: Ctrl-C is its parent's business, `kill` reaches its children
            )
        self._connection = Connection(ours.detach())
        self._send(pickle.dumps((needs, cards, models)))

    @property
    def alive(self) -> bool:
        """Whether it runs. Asked without reaping: its number, which is its group's, stays its own until `kill`."""
        if self._popen.returncode is not None:
            return False
        return os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def fileno(self) -> int:
        return self._connection.fileno()

    def give(self, function: Function, index: int, task: Any) -> None:
        self.index, self.begun = index, False
        self._send(warm.order(function, task))

    def receive(self) -> tuple[str, Any]:
        """Waits for the next message. `ended` comes last, with how it died."""
        if not self.alive:
            self._kill_group()  # children it left behind would hold the socket open
        try:
            kind, content = warm.read(self._connection.recv_bytes())
        except (EOFError, OSError):
            return "ended", self._manner_of_death()
        if kind == "poisoned":
            self.kill()
            return "ended", content
        if kind == "ready":
            self.ready = True
        elif kind == "begun":
            self.begun = True
        elif kind == "waiting":
            log.warning("%s", content)
        elif kind in ("done", "error"):
            self.index = None
        return kind, content

    def kill(self) -> None:
        """Ends the process and everything it started."""
        self._kill_group()
        self._popen.wait()
        self._connection.close()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.send_bytes(data)
        except OSError:
            log.debug("worker %d is gone; `receive` will say how", self._popen.pid)

    def _manner_of_death(self) -> str:
        """Called at the end of its messages: it is about to be dead, and is made to if it lingers."""
        deadline = time.monotonic() + 5
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        self.kill()
        return faults.manner_of_death(self._popen.returncode)

    def _kill_group(self) -> None:
        if self._popen.returncode is None:
            os.killpg(self._popen.pid, signal.SIGKILL)


def _environment(threads: int) -> dict[str, str]:
    """This process's environment, its import path, and its share of the cores (unless the user set that)."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**{name: str(threads) for name in THREAD_COUNTS}, **os.environ, "PYTHONPATH": path}


def _cards(needs: Needs) -> tuple[gpus.Gpu, ...]:
    return gpus.visible_gpus() if needs.device == "gpu" else ()
