"""The worker process of `LocalCompute`: runs tasks beside warm models and sends back what they yield.

`main` is all the process does, with one socket to its parent. Three threads: the main one runs tasks,
one receives (and ends this process, with all its children, when the parent is gone), one sends, so that the
next item is computed while the last one travels. Heavy libraries are imported by the tasks themselves, after
CUDA_VISIBLE_DEVICES and the thread counts are set.
"""

import faulthandler
import os
import pickle
import queue
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from panic_assets.compute import faults, gpus
from panic_assets.compute.protocol import Needs
from panic_assets.compute.warm import WarmWorker

AHEAD = 2
"""Items computed but not yet sent: enough to overlap, few enough to bound memory."""

IDLE_SECONDS = 60.0
"""A worker with nothing to do goes, and its GPU is free for others."""

IDLE_EXIT = 75
"""The exit code of a worker that left because it was idle."""


def main(fd: int) -> None:
    """Runs until the parent closes the socket or dies, or idles too long."""
    faulthandler.enable()
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    needs, cards = connection.recv()
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    items: queue.Queue[bytes] = queue.Queue(maxsize=AHEAD)
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    threading.Thread(target=_send, args=(connection, items), daemon=True).start()
    worker = WarmWorker(_prepare_device(needs, cards, items))
    items.put(_message("ready", worker.device))
    while True:
        try:
            payload = tasks.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            os._exit(IDLE_EXIT)
        _run(payload, worker, items)


def _run(payload: bytes, worker: WarmWorker, items: queue.Queue[bytes]) -> None:
    try:
        function, task = pickle.loads(payload)
        for item in function(task, worker):
            items.put(_message("item", item))
        items.put(_message("done", None))
    except BaseException as error:
        if faults.poisons_process(error):
            traceback.print_exc()
            items.put(_message("poisoned", faults.sentence(error)))
            items.join()
            _end()
        items.put(_message("error", (_picklable(error), traceback.format_exc())))


def _message(kind: str, content: Any) -> bytes:
    # Pickled in the main thread: the function may change what it yielded as soon as it goes on.
    return pickle.dumps((kind, content), protocol=5)


def _picklable(error: BaseException) -> BaseException:
    """The exception itself if it survives the journey, else a RuntimeError with the same words."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    return error if type(copy) is type(error) else RuntimeError(faults.sentence(error))


def _prepare_device(needs: Needs, cards: tuple[gpus.Gpu, ...], items: queue.Queue[bytes]) -> str:
    """Leases the GPU and hides all others, before anything that could look for one is imported."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if not cards:
        return "cpu"
    held = gpus.lease(needs.gpu_share, needs.vram_gb, cards, lambda text: items.put(_message("waiting", text)))
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held.gpus)  # never released: busy as long as this process lives
    return "cuda:0"


def _receive(connection: Connection, tasks: queue.SimpleQueue[bytes]) -> None:
    parent = os.getppid()
    try:
        while True:
            # A child forked by the parent may hold the socket open after the parent died: look at the parent too.
            while not connection.poll(1.0):
                if os.getppid() != parent:
                    raise EOFError
            tasks.put(connection.recv_bytes())
    except (EOFError, OSError):
        _end()


def _send(connection: Connection, items: queue.Queue[bytes]) -> None:
    try:
        while True:
            connection.send_bytes(items.get())
            items.task_done()
    except OSError:
        _end()


def _end() -> None:
    """Ends this process and whatever it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
