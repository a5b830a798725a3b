"""Fourier analysis over p tokens, p odd: which frequencies a weight space uses. k is 1..(p-1)/2, never a row index.

Basis F (p, p), orthonormal: row 0 is 1/sqrt(p); rows 2k-1 and 2k are sqrt(2/p) cos(2 pi k n / p) and
sqrt(2/p) sin(2 pi k n / p). By Parseval ||F x||^2 = ||x||^2, so energy fractions are shares of the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from panic_assets.errors import UserError

Array = np.ndarray


@lru_cache(maxsize=8)
def basis(p: int) -> Array:
    """F, (p, p) float64. Read-only: it is shared."""
    if p < 3 or p % 2 == 0:
        raise UserError(f"the Fourier basis needs an odd p of 3 or more, not {p}")
    n = np.arange(p)
    out = np.empty((p, p))
    out[0] = 1 / np.sqrt(p)
    k = np.arange(1, (p + 1) // 2)[:, None]
    # k n is reduced mod p first: the angle then keeps full precision.
    angle = 2 * np.pi * ((k * n) % p) / p
    out[1::2] = np.sqrt(2 / p) * np.cos(angle)
    out[2::2] = np.sqrt(2 / p) * np.sin(angle)
    out.setflags(write=False)
    return out


def frequencies(p: int) -> Array:
    """1..(p-1)/2."""
    return np.arange(1, (p + 1) // 2)


def block(p: int, k: int) -> Array:
    """(3, p): the constant, cosine and sine rows of frequency k."""
    return basis(p)[[0, 2 * k - 1, 2 * k]]


@dataclass(frozen=True)
class Dominant:
    """One sin or cos row of F W: its frequency, which of the two it is, and its norm."""

    k: int
    part: str
    norm: float


def row_norms(matrix: Array) -> list[Dominant]:
    """Norm of F W per row, for W (p, d), the constant left out; largest first."""
    norms = np.linalg.norm(basis(len(matrix)) @ matrix, axis=1)
    parts = [Dominant((i + 1) // 2, "cos" if i % 2 else "sin", float(norms[i])) for i in range(1, len(norms))]
    return sorted(parts, key=lambda part: (-part.norm, part.k, part.part))


def energies(matrix: Array) -> tuple[float, Array]:
    """Energy of the constant, and of each k (cos and sin together), for a matrix (p, d) with tokens as rows."""
    power = ((basis(len(matrix)) @ matrix) ** 2).reshape(len(matrix), -1).sum(axis=1)
    return float(power[0]), power[1::2] + power[2::2]


def fractions(matrix: Array) -> Array | None:
    """(K,) share of each k in the energy without the constant; None for a matrix that is constant over tokens."""
    constant, energy = energies(matrix)
    total = energy.sum()
    # What is left of a constant after rounding is no signal.
    if total <= 1e-20 * max(constant, 1e-300):
        return None
    return energy / total


def weight_spaces(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Every weight space with a token axis, as (p, columns), from matrices by short name (W_E, ..., W_U).

    Token inputs: W_E, W_E.W_in and per head W_E W_Q, W_E W_K, W_E W_V. Outputs by answer: W_U^T, (W_out.W_U)^T and
    per head (W_O W_U)^T. QK form per head: W_E W_K W_Q^T W_E^T, keys as rows. W_pos has no token axis.
    """
    p = len(weights["W_E"]) - 1
    w = {name: np.asarray(matrix, float) for name, matrix in weights.items()}
    embed, unembed = w["W_E"][:p], w["W_U"][:, :p]
    spaces = {
        "W_E": embed,
        "W_U": unembed.T,
        "W_E.W_in": embed @ w["W_in"],
        "W_out.W_U": (w["W_out"] @ unembed).T,
    }
    for h in range(len(w["W_Q"])):
        query, key = embed @ w["W_Q"][h], embed @ w["W_K"][h]
        spaces[f"Q{h}"], spaces[f"K{h}"] = query, key
        spaces[f"V{h}"] = embed @ w["W_V"][h]
        spaces[f"O{h}"] = (w["W_O"][h] @ unembed).T
        spaces[f"QK{h}"] = key @ query.T
    return spaces


def adoptions(share: Array, epochs: Sequence[int], threshold: float) -> tuple[dict[int, int], dict[int, int]]:
    """For shares (epochs, K) of one matrix: k -> the epoch from which k stays at or above the threshold to the end
    (adopted), and k -> the last epoch at which a k was at or above it that no longer is (abandoned)."""
    above = np.asarray(share) >= threshold
    adopted, abandoned = {}, {}
    for i in np.flatnonzero(above.any(axis=0)):
        column = above[:, i]
        if column[-1]:
            below = np.flatnonzero(~column)
            adopted[int(i) + 1] = int(epochs[int(below[-1]) + 1 if len(below) else 0])
        else:
            abandoned[int(i) + 1] = int(epochs[int(np.flatnonzero(column)[-1])])
    return adopted, abandoned


def adoption_threshold(p: int) -> float:
    """Share from which a frequency counts as adopted: twice an even spread over all k, and at least 5%."""
    return max(0.05, 2 / len(frequencies(p)))


def agreement(a: Array, b: Array) -> float:
    """Overlap of two spectra, sum over k of the smaller share: 1 for equal, 0 for disjoint."""
    return float(np.minimum(a, b).sum())


def separation(p: int, ks: Sequence[int]) -> tuple[float, int]:
    """d(F) = min over s = 1..p-1 of 2 sqrt(sum over k of sin^2(pi k s / p)), and the s that attains it.

    The least distance between two answers on the circles of frequencies F. Small d: answers s apart nearly alias.
    """
    s = np.arange(1, p)
    k = np.asarray(sorted(set(ks)))[:, None]
    if not k.size or k.min() < 1 or k.max() > (p - 1) // 2:
        raise UserError(f"frequencies are {sorted(set(ks))}; for p={p} they must be one or more of 1 to {(p - 1) // 2}")
    d = 2 * np.sqrt((np.sin(np.pi * ((k * s) % p) / p) ** 2).sum(axis=0))
    at = int(np.argmin(d))
    return float(d[at]), int(s[at])


def aliasing_risk(p: int, ks: Sequence[int], draws: int = 1000, seed: int = 0) -> float:
    """Share of random frequency sets of the same size that are better separated: near 1 is a bad draw."""
    size, mine = len(set(ks)), separation(p, ks)[0]
    # d of every frequency and s once; a draw is then a sum of rows.
    table = np.sin(np.pi * ((frequencies(p)[:, None] * np.arange(1, p)) % p) / p) ** 2
    rng = np.random.default_rng(seed)
    chosen = np.argsort(rng.random((draws, len(table))), axis=1)[:, :size]
    others = 2 * np.sqrt(table[chosen].sum(axis=1).min(axis=1))
    return float((others > mine + 1e-9).mean())
