"""Where a run's losses turn, and whether its checkpoints lie close enough together to see it.

Five kinds of events per loss, each with the stretch of epochs over which it happens (its width):

- `peak`: the highest loss; wide as the stretch around it that keeps at least 80% of the later descent
- `descent`: the first epoch after the peak at which 80% of the way to the minimum is done; wide from 20%
- `minimum`: the lowest loss from the peak on; wide as the stretch around it within twice that loss
- `rebound`: the highest loss after the minimum, where it is at least twice the minimum; wide from the minimum
- `threshold`: the first epoch at or below a stated loss; wide from twice that loss to half of it
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from panic_assets.errors import UserError

Kind = Literal["peak", "descent", "minimum", "rebound", "threshold"]
DESCENT = 0.8
FACTOR = 2.0
POINTS = 5
"""Checkpoints wanted within an event's width, ends included."""


@dataclass(frozen=True)
class Event:
    """Something a loss does. `start` and `end` (epochs, inclusive) are its width. `ratio` is loss over the
    minimum for a rebound, else None."""

    split: str
    kind: Kind
    epoch: int
    value: float
    start: int
    end: int
    ratio: float | None = None


def events(epochs: Sequence[int], loss: Sequence[float], split: str, thresholds: Iterable[float] = ()) -> list[Event]:
    """All events of one loss curve (n epochs ascending, n finite losses), by epoch."""
    e, y = np.asarray(epochs, int), np.asarray(loss, float)
    if len(e) != len(y) or not len(y) or not np.isfinite(y).all() or (np.diff(e) <= 0).any():
        raise UserError(f"the {split} loss needs ascending epochs and one finite value at each")
    out = []
    top = int(y.argmax())
    low = top + int(y[top:].argmin())
    height = y[top] - y[low]
    if height > 0:
        first, last = _stretch(y >= y[top] - (1 - DESCENT) * height, top)
        out.append(Event(split, "peak", int(e[top]), float(y[top]), int(e[first]), int(e[last])))
        down = top + int(np.argmax(y[top:] <= y[top] - DESCENT * height))
        start = top + int(np.argmax(y[top:] <= y[top] - (1 - DESCENT) * height))
        out.append(Event(split, "descent", int(e[down]), float(y[down]), int(e[start]), int(e[down])))
    first, last = _stretch(y <= FACTOR * y[low], low)
    out.append(Event(split, "minimum", int(e[low]), float(y[low]), int(e[first]), int(e[last])))
    after = low + int(y[low:].argmax())
    if y[low] > 0 and y[after] >= FACTOR * y[low]:
        ratio = float(y[after] / y[low])
        out.append(Event(split, "rebound", int(e[after]), float(y[after]), int(e[low]), int(e[after]), ratio))
    for threshold in thresholds:
        under = np.flatnonzero(y <= threshold)
        if len(under):
            at = int(under[0])
            above = np.flatnonzero(y[: at + 1] > FACTOR * threshold)
            below = np.flatnonzero(y[at:] <= threshold / FACTOR)
            first = int(above[-1]) if len(above) else 0
            last = at + int(below[0]) if len(below) else len(y) - 1
            out.append(Event(split, "threshold", int(e[at]), float(y[at]), int(e[first]), int(e[last])))
    return sorted(out, key=lambda event: (event.epoch, event.kind))


def _stretch(inside: np.ndarray, at: int) -> tuple[int, int]:
    """First and last index of the stretch of True around `at`."""
    outside = np.flatnonzero(~inside)
    before, after = outside[outside < at], outside[outside > at]
    return (int(before[-1]) + 1 if len(before) else 0), (int(after[0]) - 1 if len(after) else len(inside) - 1)


@dataclass(frozen=True)
class Coarse:
    """An event the schedule cannot resolve: the widest gap between checkpoints across it, the gap that would
    show it in POINTS checkpoints, and the epochs to add."""

    event: Event
    gap: int
    wanted: int
    extra: tuple[int, ...]


def coarse(found: Iterable[Event], schedule: Iterable[int], points: int = POINTS) -> list[Coarse]:
    """Events for which the checkpoint epochs in `schedule` lie too far apart, each with extra epochs."""
    have = np.array(sorted(set(schedule)), int)
    out = []
    for event in found:
        wanted = max(1, math.ceil((event.end - event.start) / (points - 1)))
        across = have[(have > event.start) & (have < event.end)]
        before = have[have <= event.start]
        after = have[have >= event.end]
        edges = [int(before[-1]) if len(before) else event.start, *across.tolist()]
        edges.append(int(after[0]) if len(after) else event.end)
        gap = int(max(np.diff(edges)))
        missing_end = not len(before) or not len(after)
        ideal = np.unique(np.linspace(event.start, event.end, points).round().astype(int))
        extra = tuple(int(i) for i in ideal if int(i) not in set(have.tolist()))
        if (gap > wanted or missing_end) and extra:
            out.append(Coarse(event, gap, wanted, extra))
    return out


def proposal(flagged: Iterable[Coarse]) -> tuple[int, ...]:
    """All extra epochs together, ascending: what an additive retrain should save."""
    return tuple(sorted({e for c in flagged for e in c.extra}))
