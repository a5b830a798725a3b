"""A place where tasks run: a device, the models that are loaded on it, and what a task run there says."""

import pickle
import traceback
from collections.abc import Iterator
from typing import Any

from panic_assets.compute import faults
from panic_assets.compute.protocol import Function


class WarmWorker:
    """The `Worker` of every compute: models are loaded at the first call and kept."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._models: dict[str, Any] = {}

    def model(self, name: str) -> Any:
        """The loaded model of that registry name."""
        if name not in self._models:
            from panic_assets.models import load, registry

            self._models[name] = load.load(registry.get(name), self.device)
        return self._models[name]


def order(function: Function, task: Any) -> bytes:
    """What is sent to a worker in another process."""
    return pickle.dumps((function, task), protocol=5)


def messages(order: bytes, worker: WarmWorker) -> Iterator[bytes]:
    """Runs an order and yields pickled pairs: `("item", what was yielded)` each, then one of

    - `("done", None)`
    - `("error", (exception, its traceback as text))`,
    - `("poisoned", sentence)`: this process is lost and must end.
    """
    try:
        function, task = pickle.loads(order)
        for item in function(task, worker):
            # Pickled at once: the function may change what it yielded as soon as it goes on.
            yield message("item", item)
    except GeneratorExit:
        raise
    except BaseException as error:
        if faults.poisons_process(error):
            traceback.print_exc()
            yield message("poisoned", faults.sentence(error))
        else:
            yield message("error", (faults.picklable(error), traceback.format_exc()))
    else:
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
