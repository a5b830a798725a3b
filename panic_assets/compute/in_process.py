"""Tasks one after another, here: nothing to start, nothing to copy, and a debugger just works."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from panic_assets.compute import faults, gpus
from panic_assets.compute.protocol import Function, Needs, Resume
from panic_assets.compute.warm import MODELS, WarmWorker

log = logging.getLogger(__name__)


class InProcessCompute:
    """The `Compute` of a machine with at most one GPU, and of tests. Cannot outlive a crash of its process."""

    def __init__(self, models: str = MODELS) -> None:
        self._models = models
        self._workers: dict[str, WarmWorker] = {}
        self._lease: gpus.Lease | None = None

    def stream(
        self, function: Function, tasks: Sequence[Any], needs: Needs, resume: Resume | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yields (index of the task, item), in the order of `tasks`. `resume` is never asked."""
        worker = self._worker(needs)
        for index, task in enumerate(tasks):
            items = function(task, worker)
            try:
                for item in items:
                    yield index, item
            except Exception as error:
                faults.named(error, index, task)
                raise
            finally:
                items.close()  # type: ignore[attr-defined]
                worker.end_task()

    def width(self, needs: Needs) -> int:
        """One: this process."""
        return 1

    def close(self) -> None:
        """Forgets the models and gives the GPU back."""
        self._workers.clear()
        if self._lease:
            self._lease.release()
            self._lease = None

    def _worker(self, needs: Needs) -> WarmWorker:
        device = self._device(needs)
        return self._workers.setdefault(device, WarmWorker(device, self._models))

    def _device(self, needs: Needs) -> str:
        cards = gpus.visible_gpus() if needs.device == "gpu" else ()
        if not cards:
            return "cpu"
        if self._lease is None:
            # The whole card, whatever share is asked: this process may keep every model it ever loads on it.
            gpus.check_feasible(1, needs.vram_gb, cards)
            self._lease = gpus.lease(1, needs.vram_gb, cards, log.warning)
        return f"cuda:{[card.identifier for card in cards].index(self._lease.gpus[0])}"
