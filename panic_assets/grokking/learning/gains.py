"""Frequency gains at the attention output: turn one Fourier component up or down while training goes on.

What attention adds is a function x of the pair (a, b) on the full grid. With the orthonormal basis F, frequency k
owns the 3x3 block {1, cos k, sin k} x {1, cos k, sin k} of its two-dimensional transform, without the constant.
A gain g replaces that component c by g c and leaves everything else alone: x + (g - 1) c.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from panic_assets.grokking.learning.recipe import Gain
from panic_assets.grokking.spectra.fourier import block


def in_force(gains: tuple[Gain, ...], epoch: int) -> dict[int, float]:
    """Frequency -> factor at that epoch, without those that are 1: nothing in force means nothing is computed."""
    factors: dict[int, float] = {}
    for gain in gains:
        factors[gain.k] = factors.get(gain.k, 1.0) * gain.at(epoch)
    return {k: g for k, g in factors.items() if g != 1.0}


def component(x: Tensor, p: int, k: int) -> Tensor:
    """The part of x (p*p, d), pairs in grid order, that belongs to frequency k."""
    rows = torch.as_tensor(block(p, k), dtype=x.dtype, device=x.device)  # (3, p): 1, cos k, sin k
    project = rows.T @ rows
    shaped = x.reshape(p, p, -1)
    both = torch.einsum("ac,bd,cdn->abn", project, project, shaped)
    return (both - shaped.mean((0, 1))).reshape(x.shape)


def apply(x: Tensor, p: int, factors: Mapping[int, float]) -> Tensor:
    """x (p*p, d) with each frequency's component multiplied by its factor.

    Components of two frequencies share the rows {1} x {cos k}, never an entry: the sum over frequencies is exact.
    """
    return x + sum((g - 1.0) * component(x, p, k) for k, g in factors.items())
