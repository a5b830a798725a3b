"""The worker process of `LocalCompute`: runs tasks beside warm models and sends back what they yield.

`main` is all the process does, with one socket to its parent. Three threads: the main one runs tasks,
one receives (and ends this process, with all its children, when the parent is gone), one sends, so that the
next item is computed while the last one travels. Heavy libraries are imported by the tasks themselves, after
CUDA_VISIBLE_DEVICES and the thread counts are set.
"""

import faulthandler
import os
import queue
import threading
from multiprocessing.connection import Connection

from panic_assets import ending
from panic_assets.compute import gpus, warm
from panic_assets.compute.protocol import Needs

AHEAD = 2
"""Items computed but not yet sent: enough to overlap, few enough to bound memory."""


def main(fd: int) -> None:
    """Runs until the parent kills this process, closes the socket or dies."""
    faulthandler.enable()
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    needs, cards, models = connection.recv()
    ending.follow(os.getppid(), os.getpid())  # A child forked by the parent may hold the socket open after its death.
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    items: queue.Queue[bytes] = queue.Queue(maxsize=AHEAD)
    threading.Thread(target=_receive, args=(connection, orders), daemon=True).start()
    threading.Thread(target=_send, args=(connection, items), daemon=True).start()
    worker = warm.WarmWorker(_prepare_device(needs, cards, items), models)
    items.put(warm.message("ready", worker.device))
    while True:
        messages = warm.messages(orders.get(), worker)
        items.put(next(messages))
        items.join()  # That the task has begun is known before it can bring this process down.
        for message in messages:
            items.put(message)


def _prepare_device(needs: Needs, cards: tuple[gpus.Gpu, ...], items: queue.Queue[bytes]) -> str:
    """Leases the GPU and hides all others, before anything that could look for one is imported."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if not cards:
        return "cpu"
    held = gpus.lease(needs.gpu_share, needs.vram_gb, cards, lambda text: items.put(warm.message("waiting", text)))
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held.gpus)  # never released: busy as long as this process lives
    return "cuda:0"


def _receive(connection: Connection, orders: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            orders.put(connection.recv_bytes())
    except (EOFError, OSError):
        ending.kill_group(os.getpid())


def _send(connection: Connection, items: queue.Queue[bytes]) -> None:
    try:
        while True:
            connection.send_bytes(items.get())
            items.task_done()
    except OSError:
        ending.kill_group(os.getpid())
