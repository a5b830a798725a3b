"""A worker: a device, the models that are loaded on it, and the messages that its tasks send."""

import logging
import pickle
import traceback
from collections.abc import Collection, Iterator
from pkgutil import resolve_name
from typing import Any

from panic_assets.compute import faults
from panic_assets.compute.failures import is_device_fault, one_sentence
from panic_assets.compute.protocol import Function

log = logging.getLogger(__name__)

LOST_GB = 0.5
"""Less than this may be caches of libraries, and is not reported."""
MODELS = "panic_assets.models.residency:Residency"
"""Who loads and frees models for a worker: called with the device. A name, since it is sent to other processes."""


class WarmWorker:
    """The `Worker` of every compute: models are loaded at the first call and kept for tasks that use them too."""

    def __init__(self, device: str, models: str = MODELS) -> None:
        self.device, self._models = device, models
        self._residency: Any = None
        self._used: set[str] = set()

    def model(self, name: str) -> Any:
        """The loaded model of that registry name, on the device."""
        if self._residency is None:
            self._residency = resolve_name(self._models)(self.device)
        self._used.add(name)
        return self._residency.model(name)

    def keep(self, names: Collection[str]) -> None:
        """Frees every model but these. Logs a warning if the GPU does not get the memory back."""
        if self._residency and (lost := self._residency.keep(names)) > LOST_GB:
            log.warning("%.1f GB of GPU memory stay in use although their models were freed", lost)

    def end_task(self) -> None:
        """Frees the models that the task did not use: the next task is most likely of the same kind."""
        if self._used:
            self.keep(self._used)
        self._used = set()


def order(function: Function, task: Any) -> bytes:
    """What is sent to a worker in another process."""
    return pickle.dumps((function, task), protocol=5)


def messages(order: bytes, worker: WarmWorker) -> Iterator[bytes]:
    """Runs an order and yields pickled pairs: `("begun", None)`, `("item", what was yielded)` each, then one of

    - `("done", None)`
    - `("error", (exception, its traceback as text))`,
    - `("poisoned", sentence)`: this process is lost and must end.
    """
    yield message("begun", None)
    try:
        function, task = pickle.loads(order)
        for item in function(task, worker):
            # Pickled at once: the function may change what it yielded as soon as it goes on.
            yield message("item", item)
    except GeneratorExit:
        raise
    except BaseException as error:
        if is_device_fault(error):
            traceback.print_exc()
            yield message("poisoned", one_sentence(error))
        else:
            yield message("error", (faults.picklable(error), traceback.format_exc()))
    else:
        worker.end_task()
        yield message("done", None)


def message(kind: str, content: Any) -> bytes:
    """One message of a worker to its parent."""
    return pickle.dumps((kind, content), protocol=5)


def read(data: bytes) -> tuple[str, Any]:
    """The message again. An `error` is an exception whose cause is its remote traceback."""
    kind, content = pickle.loads(data)
    if kind == "error":
        error, text = content
        error.__cause__ = faults.RemoteTraceback(text)
        return kind, error
    return kind, content
