"""What all computes with their own workers share: who works on what, who died, and who stays warm.

A compute says how many workers it can have, how to start one, and how to wait for messages; the rest is here.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from panic_assets.compute import faults
from panic_assets.compute.protocol import Function, Needs, Resume

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""Workers that were idle for this long are ended, and what they held (a GPU) is free for others."""


class Hand(Protocol):
    """One worker, as its pool sees it."""

    ready: bool
    """Whether it has started and may be given a task."""

    index: int | None
    """The task it is busy with."""

    begun: bool
    """Whether it has said that it received the task. If it dies before, the task is not to blame."""

    @property
    def alive(self) -> bool: ...

    def give(self, function: Function, index: int, task: Any) -> None:
        """Starts a task. If the worker has died, `receive` says so."""

    def receive(self) -> tuple[str, Any]:
        """Waits for the next message: `("item", ...)`, `("error", exception)`, or `("ended", how)` as the last.

        Other kinds (started, task begun, task done) change `ready`, `begun` and `index` and mean nothing else.
        """

    def kill(self) -> None:
        """Ends it and everything it started. Idempotent."""


class Pool(ABC):
    """A `Compute` of workers that live from the first `stream` that needs them until they idle or `close`."""

    def __init__(self) -> None:
        self._idle: list[tuple[Needs, Hand]] = []
        self._lock = threading.Lock()
        self._let_go = threading.Timer(0, self.close)

    @abstractmethod
    def width(self, needs: Needs) -> int:
        """How many workers of these needs there can be, at least 1; UserError when such a task can never run."""

    @abstractmethod
    def _hire(self, needs: Needs, size: int) -> Hand:
        """Starts one worker of a crew of `size`."""

    @abstractmethod
    def _with_news(self, crew: Sequence[Any]) -> Sequence[Any]:
        """Waits for a moment at most until some have something to receive."""

    def stream(
        self, function: Function, tasks: Sequence[Any], needs: Needs, resume: Resume | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yields (index of the task, item) as items arrive."""
        if not tasks:
            return
        size = min(len(tasks), self.width(needs))
        ledger = Ledger(tasks, resume)
        crew = self._muster(needs, size)
        try:
            while ledger.waiting or any(hand.index is not None for hand in crew):
                for hand in crew:
                    if hand.ready and hand.index is None and ledger.waiting:
                        hand.give(function, *ledger.take())
                for hand in self._with_news(crew):
                    index = hand.index
                    kind, content = hand.receive()
                    if kind == "item":
                        yield index, content
                    elif kind == "error":
                        raise faults.named(content, index, ledger.task(index))
                    elif kind == "ended":
                        log.warning("a worker died: %s", content)
                        crew.remove(hand)
                        if index is not None and not hand.begun:
                            ledger.give_back(index)
                            index = None
                        ledger.died(index, content)
                        if ledger.waiting:
                            crew.append(self._hire(needs, size))
        finally:
            self._dismiss(needs, crew)

    def close(self) -> None:
        """Ends the warm workers."""
        for _, hand in self._take_idle():
            hand.kill()

    def _muster(self, needs: Needs, size: int) -> list[Hand]:
        """Takes warm workers with the same needs first, and ends the others: they may hold what is needed."""
        alike: list[Hand] = []
        for kind, hand in self._take_idle():
            if kind == needs and hand.alive:
                alike.append(hand)
            else:
                hand.kill()
        self._keep(needs, alike[size:])
        return alike[:size] + [self._hire(needs, size) for _ in range(size - len(alike))]

    def _dismiss(self, needs: Needs, crew: Sequence[Hand]) -> None:
        """Idle workers stay warm for a while; those in the middle of a task, or still starting, end."""
        done = [hand for hand in crew if hand.ready and hand.index is None]
        self._keep(needs, done)
        for hand in crew:
            if hand not in done:
                hand.kill()

    def _keep(self, needs: Needs, hands: Sequence[Hand]) -> None:
        with self._lock:
            self._idle += [(needs, hand) for hand in hands]
            self._let_go.cancel()
            self._let_go = threading.Timer(IDLE_SECONDS, self.close)
            self._let_go.daemon = True
            self._let_go.start()

    def _take_idle(self) -> list[tuple[Needs, Hand]]:
        with self._lock:
            self._let_go.cancel()
            idle, self._idle = self._idle, []
        return idle


class Ledger:
    """Which tasks wait, what remains of each, and how often each has brought down its worker."""

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

    def give_back(self, index: int) -> None:
        """A task that nobody has begun waits again, as the next."""
        self._waiting.appendleft(index)

    def task(self, index: int) -> Any:
        """What remains of the task."""
        return self._tasks[index]

    def died(self, index: int | None, reason: str) -> None:
        """A worker died, busy with the task (None: before it had begun any). What remains waits again.

        WorkerDied when nothing can be done about it.
        """
        self._deaths[index] += 1
        if index is None:
            if self._deaths[index] >= faults.MAX_DEATHS:
                raise faults.WorkerDied(
                    f"{faults.MAX_DEATHS} workers died before they began a task; the last one: {reason}"
                )
            return
        what = faults.title(index, self._tasks[index])
        if self._deaths[index] >= faults.MAX_DEATHS:
            raise faults.WorkerDied(f"{what} brought down {faults.MAX_DEATHS} workers; the last one: {reason}")
        if self._resume is None:
            raise faults.WorkerDied(f"the worker of {what} died, and the task cannot be resumed: {reason}")
        rest = self._resume(self._tasks[index])
        if rest is not None:
            self._tasks[index] = rest
            self._waiting.appendleft(index)
