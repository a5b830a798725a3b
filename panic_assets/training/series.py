"""Metrics per epoch: the form in which every training family stores what it measured."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from panic_assets.errors import UserError

Direction = Literal["up", "down"]
"""Which way is better: `up` for an accuracy, `down` for a loss."""


@dataclass(frozen=True)
class Measurement:
    """One number about one epoch of one run, tied to what it was measured on. A row of table `metrics`."""

    training_run: str
    epoch: int
    metric: str
    value: float
    direction: Direction
    method: str
    """Version of the method that computed the value; a change of method is never averaged away."""
    measured: str
    """Content hash of what was measured: the checkpoint, or the images drawn from it."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise UserError(
                f"metric {self.metric} of run {self.training_run} at epoch {self.epoch} is {self.value}; "
                "it must be a finite number (leave the epoch out if nothing was measured)"
            )
        if self.direction not in get_args(Direction):
            raise UserError(f"direction of metric {self.metric} is {self.direction!r}; accepted: up, down")


@dataclass(frozen=True)
class Series:
    """One metric of one run: epochs ascending without repeats, one finite value each."""

    epochs: tuple[int, ...]
    values: tuple[float, ...]
    direction: Direction = "up"

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.values):
            raise UserError(
                f"a series has {len(self.epochs)} epochs but {len(self.values)} values; it needs one value per epoch"
            )
        if any(b <= a for a, b in zip(self.epochs, self.epochs[1:], strict=False)):
            raise UserError("the epochs of a series must increase, each given once")
        if not all(math.isfinite(v) for v in self.values):
            raise UserError("a series contains a value that is not a finite number; leave that epoch out")
        if self.direction not in get_args(Direction):
            raise UserError(f"direction is {self.direction!r}; accepted: up, down")

    @property
    def goodness(self) -> np.ndarray:
        """(n,) float64: the values, turned so that larger is better."""
        return np.asarray(self.values, float) * (1.0 if self.direction == "up" else -1.0)


def series_of(rows: Iterable[Mapping[str, Any]], run: str, metric: str) -> Series:
    """The series of one run and metric among rows of table `metrics`.

    Two values at one epoch (two methods, or two things measured) have no order and are refused.
    """
    chosen = sorted(
        (r for r in rows if r["training_run"] == run and r["metric"] == metric), key=lambda r: int(r["epoch"])
    )
    if not chosen:
        raise UserError(f"run {run!r} has no values of metric {metric!r}; table metrics shows what was measured")
    directions = {r["direction"] for r in chosen}
    if len(directions) > 1:
        raise UserError(
            f"metric {metric!r} of run {run!r} is stored with both directions, up and down; measure it again with one"
        )
    methods = sorted({r["method"] for r in chosen})
    if len(methods) > 1:
        raise UserError(
            f"metric {metric!r} of run {run!r} mixes methods {', '.join(methods)}; measure all epochs again with one"
        )
    return Series(
        tuple(int(r["epoch"]) for r in chosen),
        tuple(float(r["value"]) for r in chosen),
        chosen[0]["direction"],
    )


def shared(series: Sequence[Series]) -> tuple[int, ...]:
    """Epochs at which every one of the series has a value, ascending."""
    common = set.intersection(*(set(s.epochs) for s in series)) if series else set()
    return tuple(sorted(common))
