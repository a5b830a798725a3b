"""Which frequency a neuron computes with, how purely, and how often it changes its frequency.

A neuron's activation on the full grid of pairs is a (p, p) function. Its two-dimensional transform F X F^T has,
for each k, the 3x3 block {1, cos k, sin k} x {1, cos k, sin k}; the block's energy over the total, both without
the constant, is the neuron's concentration on k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panic_assets.errors import UserError
from panic_assets.grokking.spectra.fourier import basis

Array = np.ndarray
DEAD = 0
"""The frequency written for a neuron that is constant over all pairs (never active, say): it has none."""


def concentrations(activations: Array, p: int) -> Array:
    """(neurons, K) share of each k's block, for activations (p*p, neurons) in grid order. Rows of a dead neuron
    are zero; other rows sum to at most 1, the rest being products of different frequencies."""
    f = basis(p)
    n = activations.shape[1]
    grid = np.ascontiguousarray(activations, float).reshape(p, p * n)
    power = (f @ np.ascontiguousarray((f @ grid).reshape(p, p, n).transpose(1, 0, 2)).reshape(p, p * n)) ** 2
    power = power.reshape(p, p, n)  # (frequency of b, frequency of a, neuron)
    constant, total = power[0, 0].copy(), power.sum(axis=(0, 1))
    power[0, 0] = 0
    cos, sin = power[1::2], power[2::2]
    pure_b = cos[:, 0] + sin[:, 0]
    pure_a = power[0, 1::2] + power[0, 2::2]
    k = np.arange(len(cos))
    mixed = cos[k, 2 * k + 1] + cos[k, 2 * k + 2] + sin[k, 2 * k + 1] + sin[k, 2 * k + 2]
    rest = total - constant
    # What is left of a constant after rounding is no signal.
    alive = rest > 1e-12 * np.maximum(total, 1e-300)
    return np.where(alive, (pure_a + pure_b + mixed) / np.where(alive, rest, 1.0), 0.0).T


def dominant(shares: Array) -> tuple[Array, Array]:
    """(neurons,) frequency (DEAD for none) and its concentration."""
    best = shares.argmax(axis=1)
    value = shares[np.arange(len(shares)), best]
    return np.where(value > 0, best + 1, DEAD), value


@dataclass(frozen=True)
class Stop:
    """A neuron takes up frequency k at `epoch`; `concentration` is what it reaches there while it stays."""

    k: int
    epoch: int
    concentration: float

    def __str__(self) -> str:
        return f"{self.k}@{self.epoch} ({self.concentration:.2f})"


@dataclass(frozen=True)
class Path:
    """One neuron's history. A switch is a change of home from one frequency to another.

    `commitment` is the epoch from which it stayed at its final home to the end; None for a homeless neuron,
    which ends below the threshold (less the hysteresis, if it had a home).
    """

    stops: tuple[Stop, ...]
    switches: int
    commitment: int | None
    homeless: bool


def path(
    ks: Sequence[int] | Array,
    values: Sequence[float] | Array,
    epochs: Sequence[int],
    threshold: float,
    hysteresis: float,
) -> Path:
    """The path of one neuron from its dominant frequency and concentration at each checkpoint.

    It moves in with k where the concentration is at or above the threshold, and keeps that home until it moves
    in elsewhere. It is out (homeless, should it end so) while below threshold - hysteresis, or dominated by
    another frequency below the threshold; coming back to the same home is no switch.

    >>> path([5, 5, 3, 9, 9, 5], [.6, .6, .1, .7, .7, .6], range(6), 0.5, 0.0).switches
    2
    """
    stops: list[Stop] = []
    settled: int | None = None
    for k, value, epoch in zip(ks, values, epochs, strict=True):
        k, value, epoch = int(k), float(value), int(epoch)
        home = stops[-1].k if stops else None
        if value >= threshold and k != DEAD:
            if k != home:
                stops.append(Stop(k, epoch, value))
                settled = epoch
            else:
                stops[-1] = Stop(k, stops[-1].epoch, max(value, stops[-1].concentration))
                settled = epoch if settled is None else settled
        elif not (k == home and value >= threshold - hysteresis):
            settled = None
    return Path(tuple(stops), max(len(stops) - 1, 0), settled, settled is None)


def paths(ks: Array, values: Array, epochs: Sequence[int], threshold: float, hysteresis: float) -> list[Path]:
    """One path per neuron, from frequencies and concentrations (epochs, neurons)."""
    if not 0 <= hysteresis <= threshold <= 1:
        raise UserError(
            f"threshold is {threshold} and hysteresis {hysteresis}; they must obey 0 <= hysteresis <= threshold <= 1"
        )
    return [path(ks[:, i], values[:, i], epochs, threshold, hysteresis) for i in range(ks.shape[1])]


def switch_counts(ks: Array, values: Array, threshold: float) -> Array:
    """(neurons,) switches of every neuron at one threshold: `paths` without the rest, vectorised."""
    home = np.zeros(ks.shape[1], int)
    count = np.zeros(ks.shape[1], int)
    for k, value in zip(ks, values, strict=True):
        moves = (value >= threshold) & (k != DEAD) & (k != home)
        count += moves & (home != 0)
        home = np.where(moves, k, home)
    return count


THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))


def sensitivity(ks: Array, values: Array, thresholds: Sequence[float] = THRESHOLDS) -> list[tuple[float, int, int]]:
    """(threshold, neurons that switched at least once, neurons that ever had a home) along the thresholds.

    The number of switching neurons depends on the threshold, so it is never shown without this curve.
    """
    ever = values.max(axis=0)
    return [(float(t), int((switch_counts(ks, values, t) > 0).sum()), int((ever >= t).sum())) for t in thresholds]


def abandoned(ks: Array, values: Array, epochs: Sequence[int], threshold: float) -> list[tuple[int, int, int, int]]:
    """Frequencies that neurons had at some time and none has at the end: (k, first epoch, last epoch, most neurons)."""
    held = np.where(values >= threshold, ks, DEAD)
    out = []
    for k in np.unique(held[held != DEAD]):
        count = (held == k).sum(axis=1)
        at = np.flatnonzero(count)
        if not count[-1]:
            out.append((int(k), int(epochs[int(at[0])]), int(epochs[int(at[-1])]), int(count.max())))
    return out
