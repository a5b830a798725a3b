"""Worker processes on this machine that keep models warm, each with its own leased GPU."""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from panic_assets.compute import faults, gpus, warm
from panic_assets.compute.ledger import Ledger
from panic_assets.compute.protocol import Function, Needs, Resume
from panic_assets.compute.worker import IDLE_EXIT

log = logging.getLogger(__name__)

THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What numeric libraries read, at import, to learn how many threads are theirs."""


class LocalCompute:
    """The `Compute` of one machine. Worker processes live from the first `stream` that needs them to `close`.

    `workers` bounds their number; by default as many as leases fit on the GPUs, else one per CPU core as
    far as memory goes. A worker left alone for a minute ends by itself, so that its GPU is free for others.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers
        self._idle: list[_Process] = []
        self._lock = threading.Lock()

    def stream(
        self, function: Function, tasks: Sequence[Any], needs: Needs, resume: Resume | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yields (index of the task, item) as items arrive."""
        cards = gpus.visible_gpus() if needs.device == "gpu" else ()
        ledger = Ledger(tasks, resume)
        crew = self._muster(needs, cards, min(len(tasks), self._limit(needs, cards)))
        try:
            while ledger.waiting or any(process.index is not None for process in crew):
                for process in crew:
                    if process.ready and process.index is None and ledger.waiting:
                        process.give(function, *ledger.take())
                for process in _with_news(crew):
                    index = process.index
                    kind, content = process.receive()
                    if kind == "item":
                        yield index, content  # type: ignore[misc]
                    elif kind == "error":
                        raise faults.named(content, index, ledger.task(index))  # type: ignore[arg-type]
                    elif kind == "ended":
                        crew.remove(process)
                        if content is not None:
                            log.warning("a worker died: %s", content)
                            ledger.died(index, content)
                        elif index is not None:
                            ledger.put_back(index)
                        if ledger.waiting:
                            crew.append(_Process(needs, cards, process.threads))
        finally:
            self._dismiss(crew)

    def width(self, needs: Needs) -> int:
        """As many workers as `stream` would start for plenty of tasks."""
        return self._limit(needs, gpus.visible_gpus() if needs.device == "gpu" else ())

    def close(self) -> None:
        """Ends the warm workers."""
        for process in self._take_idle():
            process.kill()

    def _limit(self, needs: Needs, cards: Sequence[gpus.Gpu]) -> int:
        if cards:
            gpus.check_feasible(needs.gpu_share, needs.vram_gb, cards)
            most = gpus.concurrent_leases(needs.gpu_share, needs.vram_gb, cards)
        else:
            most = max(1, min(_cores(), int(_memory_gb() / max(needs.memory_gb, 0.001))))
        return min(most, self._workers or most)

    def _muster(self, needs: Needs, cards: tuple[gpus.Gpu, ...], size: int) -> list["_Process"]:
        """Warm workers of the same kind first. The others go: a GPU they hold may be the one that is needed."""
        crew: list[_Process] = []
        for process in self._take_idle():
            if len(crew) < size and process.kind == (needs, cards) and process.alive:
                crew.append(process)
            else:
                process.kill()
        threads = max(1, _cores() // max(1, size))
        return crew + [_Process(needs, cards, threads) for _ in range(size - len(crew))]

    def _dismiss(self, crew: list["_Process"]) -> None:
        """Idle workers stay warm; those in the middle of a task, or still waiting for a GPU, end."""
        for process in crew:
            if process.ready and process.index is None:
                with self._lock:
                    self._idle.append(process)
            else:
                process.kill()

    def _take_idle(self) -> list["_Process"]:
        with self._lock:
            idle, self._idle = self._idle, []
        return idle


class _Process:
    """One worker process, as its parent sees it."""

    def __init__(self, needs: Needs, cards: tuple[gpus.Gpu, ...], threads: int) -> None:
        self.kind = (needs, cards)
        self.threads = threads
        self.ready = False
        self.index: int | None = None
        """The task it is busy with."""
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._popen = subprocess.Popen(
                [sys.executable, "-c", f"from panic_assets.compute.worker import main; main({fd})"],
                env=_environment(threads),
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # its own group: Ctrl-C is its parent's business, `kill` reaches its children
            )
        self._connection = Connection(ours.detach())
        self._send(pickle.dumps((needs, cards)))

    @property
    def alive(self) -> bool:
        """Whether it runs. Asked without reaping: its number, which is its group's, stays its own until `kill`."""
        if self._popen.returncode is not None:
            return False
        return os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def fileno(self) -> int:
        return self._connection.fileno()

    def give(self, function: Function, index: int, task: Any) -> None:
        self.index = index
        self._send(warm.order(function, task))

    def receive(self) -> tuple[str, Any]:
        """Waits for the next message. `ended` comes last, with how it died (None: it was idle and left)."""
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

    def _manner_of_death(self) -> str | None:
        """Called at the end of its messages: it is about to be dead, and is made to if it lingers."""
        deadline = time.monotonic() + 5
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        self.kill()
        code = self._popen.returncode
        return None if code == IDLE_EXIT else faults.manner_of_death(code)

    def _kill_group(self) -> None:
        if self._popen.returncode is None:
            os.killpg(self._popen.pid, signal.SIGKILL)


def _with_news(crew: Sequence[_Process]) -> list[_Process]:
    """Waits until some have something to say (or are dead without having closed their socket)."""
    news: list[Any] = wait(crew, timeout=1.0)  # type: ignore[arg-type]
    return news or [process for process in crew if not process.alive]


def _environment(threads: int) -> dict[str, str]:
    """This process's environment, its import path, and its share of the cores (unless the user set that)."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**{name: str(threads) for name in THREAD_COUNTS}, **os.environ, "PYTHONPATH": path}


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
