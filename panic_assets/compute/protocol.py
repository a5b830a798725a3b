"""How work is handed to whatever runs it: a generator function, tasks, and a stream of what it yields.

One Dagster step calls `Compute.stream` once. The function runs beside the models (in this process, in a
worker process that holds a GPU lease, in a Ray actor); what it yields comes back to the step, which is the
only one that writes to the lake.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741


@dataclass(frozen=True)
class Needs:
    """What one task needs of the machine that runs it, in neutral words. GPUs may be a share of one card."""

    device: str = "cpu"
    gpus: float = 0.0
    vram_gb: float = 0.0
    memory_gb: float = 1.0

    @property
    def gpu_share(self) -> float:
        """GPUs to ask for: 0 on a CPU, `gpus` on a GPU, a whole card when no number is given."""
        return (self.gpus or 1.0) if self.device == "gpu" else 0.0


class Worker(Protocol):
    """Where a task runs, as the function that runs it sees it."""

    device: str
    """A torch device string: `cpu`, `cuda:0`."""

    def model(self, name: str) -> Any:
        """The loaded model of that registry name; loaded at the first call, kept warm after."""
        ...

    def keep(self, names: Collection[str]) -> None:
        """Frees every model but these: for a task that knows all it will use, before it loads any."""
        ...


Function = Callable[[Any, Worker], Iterator[Any]]
Resume = Callable[[Any], Any | None]


class Compute(Protocol):
    """Runs `function(task, worker)` for each task and merges what the calls yield.

    - `function` is importable (module level) and yields picklable items, in order; no order holds between tasks.
    - Consumption is the backpressure: memory stays bounded however slow the consumer.
    - `resume(task)` is asked when a worker died with the task unfinished: it returns the task that
      remains (None when nothing does). Everything yielded before has been consumed by then. Without
      `resume` a death is an error; so is a task's third death.
    - An exception raised by `function` is raised here, with the task named, after other workers were stopped.
    - Closing the iterator early stops all work.
    """

    def stream(
        self,
        function: Function,
        tasks: Sequence[Any],
        needs: Needs,
        resume: Resume | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Yields (index of the task, item)."""
        ...

    def width(self, needs: Needs) -> int:
        """How many tasks of these needs run side by side: how finely it pays to split the work."""
        ...

    def close(self) -> None:
        """Lets go of warm models, workers and GPUs. Idempotent; a later `stream` starts afresh."""
        ...
