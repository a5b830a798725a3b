"""Generator functions that tests hand to a compute: module level, so that a worker process finds them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def count(task, worker):
    """Yields (key, 0), (key, 1), ... of task (key, start, stop)."""
    key, start, stop = task
    for number in range(start, stop):
        yield key, number


def count_and_die(task, worker):
    """As `count`; kills its own process before some numbers, once each (a file remembers)."""
    key, start, stop, deaths, folder = task
    for number in range(start, stop):
        marker = Path(folder) / f"{key}-{number}"
        if number in deaths and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield key, number


def die(task, worker):
    """Yields once, waits until `received` says that it arrived, then is killed by the signal in the task."""
    number, folder = task
    before = len(list(folder.iterdir()))
    yield "alive"
    while len(list(folder.iterdir())) == before:
        time.sleep(0.01)
    os.kill(os.getpid(), number)


def received(stream, folder):
    """The items of a stream of `die`, each acknowledged."""
    for count, (_, item) in enumerate(stream):
        (folder / str(count)).touch()
        yield item


def pid_and_devices(task, worker):
    yield os.getpid(), worker.device, os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"]
    time.sleep(task)


def heavy_before_start(task, worker):
    yield sorted({"torch", "numpy", "transformers", "pandas"} & set(sys.modules))


def big(task, worker):
    """Adds a byte to the file of the task for every item of 1 MB that it makes."""
    path, items = task
    for number in range(items):
        with Path(path).open("ab") as made:
            made.write(b".")
        yield bytes([number % 256]) * 1_000_000


def fail(task, worker):
    yield "before"
    raise ValueError(f"cannot do {task}")


def fail_at(task, worker):
    """Yields its process; then fails as soon as the file is there, or does not and hangs."""
    go, fails = task
    yield os.getpid()
    if not fails:
        time.sleep(600)
    _wait_for(go.exists, "the file")
    raise RuntimeError("told to fail")


def fail_unpicklably(task, worker):
    class Local(Exception):
        pass

    yield "before"
    raise Local("of no importable type")


def poison_once(task, worker):
    """Raises what CUDA raises when a kernel failed, the first time."""
    marker, start, stop = task
    for number in range(start, stop):
        if number == 2 and not Path(marker).exists():
            Path(marker).touch()
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield number


def mutate(task, worker):
    """Changes what it yielded as soon as it goes on."""
    rows = []
    for number in range(task):
        rows.append(number)
        yield rows


def orphan(task, worker):
    """Starts a child that would outlive the worker; yields both process ids, then hangs."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield os.getpid(), child.pid
    time.sleep(600)


def fork_and_die(folder, worker):
    """Leaves a forked child that holds every file descriptor open, and is killed when `received` has its number."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    yield child
    _wait_for(lambda: any(folder.iterdir()), "its item to arrive")
    os.kill(os.getpid(), signal.SIGKILL)


def embed(task, worker):
    """The identity of the loaded model and the vectors it gives."""
    model = worker.model("DummyText")
    yield id(model), os.getpid(), model.embed(task)


def with_cleanup(task, worker):
    """Leaves a file behind when it is closed early."""
    try:
        yield from range(10)
    finally:
        Path(task).touch()


def meet(task, worker):
    """Waits until `count` tasks run at the same time; fails when they never do."""
    folder, name, count = task
    (folder / f"{name}.here").touch()
    _wait_for(lambda: len(list(folder.glob("*.here"))) >= count, "the others")
    yield os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def pids(compute, count, needs, folder):
    """The processes of this many workers, all up and warm from now on."""
    folder.mkdir(exist_ok=True)
    found = {pid for _, (pid, _) in compute.stream(meet, [(folder, name, count) for name in range(count)], needs)}
    assert len(found) == count
    return found


def _wait_for(true, what):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def hold(task, worker):
    """Uses the models named; yields the identity of every model that the worker then holds."""
    for name in task:
        worker.model(name)
    yield {name: id(held.model) for name, held in worker._residency.held.items()}


class Spoken:
    """Models that are words: what a compute is given instead of real ones."""

    def __init__(self, device):
        self.device = device

    def model(self, name):
        return f"{name} on {self.device}"

    def keep(self, names):
        return 0.0


SPOKEN = f"{__name__}:{Spoken.__name__}"


def ask(task, worker):
    """The model of that name."""
    yield worker.model(task)
