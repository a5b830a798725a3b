"""How far a long stage is, told to whoever watches (a terminal, the Dagster UI, or nobody), and what it did in the end."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import dagster as dg

Advance = Callable[[int], None]
Refresh = Callable[[], None]
"""Called when rows were stored in the middle of a stage, to show them."""


@dataclass
class Pace:
    """How a batch kept its card busy: seconds in models' calls, of all seconds since its models were loaded.

    Neither counts the time between a worker's death and the first call of the next one.
    """

    batch: str
    busy: float = 0.0
    wall: float = 0.0

    @property
    def idle(self) -> float:
        """The share of the time in which no model worked; 0 before anything was measured."""
        return 1 - self.busy / self.wall if self.wall else 0.0


@dataclass
class Done:
    """What a stage did: new rows, and what it could not do, in sentences."""

    rows: int = 0
    problems: list[str] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
    """Of each batch that walked, where the stage walks."""


class Watcher(Protocol):
    """Told of stages as they run."""

    def stage(self, name: str, total: int, unit: str) -> contextlib.AbstractContextManager[Advance]:
        """A stage of `total` units of work; the function it gives is called with each amount done."""
        ...


class Logged:
    """Reports progress to the log of a run, at most once every `every` seconds."""

    def __init__(self, context: "dg.OpExecutionContext | dg.AssetExecutionContext", every: float = 15.0) -> None:
        self._log, self._every = context.log, every

    @contextlib.contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Tells how much of `total` is done, how quickly, and how long the rest takes at that rate."""
        began = told = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done, told
            done += count
            now = time.monotonic()
            if now - told >= self._every:
                told = now
                self._tell(name, done, total, unit, done / (now - began))

        yield advance

    def _tell(self, name: str, done: int, total: int, unit: str, rate: float) -> None:
        self._log.info(f"{name}: {done:,} of {total:,} {unit}, {rate:,.1f}/s, {eta(total - done, rate)} left")


class Observations(Logged):
    """Reports progress of an asset as observations too: the UI shows them on the asset's page."""

    def __init__(self, context: "dg.AssetExecutionContext", every: float = 15.0) -> None:
        super().__init__(context, every)
        self._context = context

    def _tell(self, name: str, done: int, total: int, unit: str, rate: float) -> None:
        super()._tell(name, done, total, unit, rate)
        import dagster as dg  # Late: the command line has its own display and needs no Dagster for it.

        self._context.log_event(
            dg.AssetObservation(
                asset_key=self._context.asset_key,
                partition=self._context.partition_key,
                metadata={
                    "stage": name,
                    "done": done,
                    "total": total,
                    "per_second": round(rate, 3),
                    "left": eta(total - done, rate),
                },
            )
        )


def eta(left: int, rate: float) -> str:
    """Time left as `1:02:03`; `?` while nothing has been done."""
    if rate <= 0:
        return "?"
    seconds = round(left / rate)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
