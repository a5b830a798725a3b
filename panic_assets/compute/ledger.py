"""Which tasks wait, what remains of each, and how often each has brought down its worker."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from panic_assets.compute.faults import MAX_DEATHS, WorkerDied, title
from panic_assets.compute.protocol import Resume


class Ledger:
    """The bookkeeping of one `stream`, the same for every compute that has workers to lose."""

    def __init__(self, tasks: Sequence[Any], resume: Resume | None) -> None:
        self._tasks = list(tasks)
        self._resume = resume
        self._waiting = deque(range(len(self._tasks)))
        self._deaths: Counter[int | None] = Counter()

    @property
    def waiting(self) -> bool:
        """Whether a task waits for a worker."""
        return bool(self._waiting)

    def take(self) -> tuple[int, Any]:
        """The next task to run, with its index."""
        index = self._waiting.popleft()
        return index, self._tasks[index]

    def put_back(self, index: int) -> None:
        """The task was never begun."""
        self._waiting.appendleft(index)

    def task(self, index: int) -> Any:
        """What remains of the task."""
        return self._tasks[index]

    def died(self, index: int | None, reason: str) -> None:
        """A worker died, busy with the task (None: before it was given any). What remains waits again.

        WorkerDied when nothing can be done about it.
        """
        self._deaths[index] += 1
        what = "a worker that was starting" if index is None else title(index, self._tasks[index])
        if self._deaths[index] >= MAX_DEATHS:
            raise WorkerDied(f"{what} brought down {MAX_DEATHS} workers; the last time: {reason}")
        if index is None:
            return
        if self._resume is None:
            raise WorkerDied(f"the worker of {what} died and the task cannot be resumed: {reason}")
        rest = self._resume(self._tasks[index])
        if rest is not None:
            self._tasks[index] = rest
            self.put_back(index)
