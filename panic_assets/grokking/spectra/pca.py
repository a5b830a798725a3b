"""Principal components of a run: its path through parameter space, and the rows of each matrix at one epoch.

A path of T checkpoints in millions of dimensions needs only its T x T Gram matrix. Gram matrices of disjoint
parameters add up, so every group of matrices comes from the nine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from panic_assets.errors import UserError

Array = np.ndarray

GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "W_U"),
    "embedding": ("W_E", "W_pos", "W_U"),
    "attention": ("W_Q", "W_K", "W_V", "W_O"),
    "mlp": ("W_in", "W_out"),
}


@dataclass(frozen=True)
class Components:
    """Scores (n, c) of n points on their first c components, each component's share of the variance, and the
    total variance (sum of squares). Shares are None when the points coincide: there are no directions then."""

    scores: Array
    shares: Array | None
    total: float
    axes: Array | None = None
    """(c, d), where the components are wanted as directions."""


def of_gram(gram: Array, components: int = 3) -> Components:
    """Components from a centred Gram matrix (T, T). A component's sign makes its largest score positive."""
    count = min(components, len(gram))
    values, vectors = _largest(gram, count)
    total = float(np.trace(gram))
    scores = np.zeros((len(gram), components))
    scores[:, :count] = _signed(vectors * np.sqrt(values))
    shares = np.zeros(components)
    shares[:count] = values / total if total > 0 else 0
    return Components(scores, shares if total > 0 else None, total)


def of_rows(rows: Array, components: int = 3) -> Components:
    """Components of the rows of a matrix (n, d), with their directions.

    Points equal to within rounding have no components: their shares are None.
    """
    rows = np.asarray(rows, float)
    centred = rows - rows.mean(axis=0)
    total = float((centred**2).sum())
    scores = np.zeros((len(rows), components))
    if total <= 1e-20 * max(float((rows**2).sum()), 1e-300):
        return Components(scores, None, 0.0)
    # Features are fewer than what a decomposition of the rows themselves would cost.
    count = min(components, *rows.shape)
    values, axes = _largest(centred.T @ centred, count)
    found = centred @ axes
    signs = _signs(found)
    scores[:, :count] = found * signs
    shares = np.zeros(components)
    shares[:count] = values / total
    return Components(scores, shares, total, (axes * signs).T)


def project(rows: Array, basis: Components) -> tuple[Array, Array | None]:
    """Rows (n, d) in the directions of another epoch's components: scores and shares of *these* rows' variance."""
    if basis.axes is None:
        raise UserError(
            "these components have no directions, so nothing can be projected on them; components of rows are needed"
        )
    centred = np.asarray(rows, float) - np.mean(rows, axis=0)
    scores = centred @ basis.axes.T
    total = float((centred**2).sum())
    return scores, (scores**2).sum(axis=0) / total if total > 0 else None


def _largest(matrix: Array, count: int) -> tuple[Array, Array]:
    """The largest eigenvalues (count,) of a symmetric matrix, falling and at least 0, and their vectors (n, count)."""
    from scipy.linalg import eigh

    n = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=(n - count, n - 1))
    return values[::-1].clip(0), vectors[:, ::-1]


def _signs(scores: Array) -> Array:
    if not len(scores):
        return np.ones(scores.shape[1])
    peak = scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])]
    return np.where(peak < 0, -1.0, 1.0)


def _signed(scores: Array) -> Array:
    return scores * _signs(scores)


def aligned(frames: Sequence[Array]) -> list[Array]:
    """Scores (n, c) of successive epochs, each component turned to agree with the frame before: no flips on play."""
    out: list[Array] = []
    for frame in frames:
        if out:
            frame = frame * np.where((frame * out[-1]).sum(axis=0) < 0, -1.0, 1.0)
        out.append(frame)
    return out


def token_rows(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Each of the nine matrices as (things, features): tokens, answers, positions and neurons are the rows, and for
    the attention matrices the residual directions, heads side by side."""
    w = {name: np.asarray(matrix, float) for name, matrix in weights.items()}
    out = {"W_E": w["W_E"][:-1], "W_pos": w["W_pos"], "W_U": w["W_U"].T, "W_in": w["W_in"].T, "W_out": w["W_out"]}
    for name in ("W_Q", "W_K", "W_V"):
        out[name] = w[name].transpose(1, 0, 2).reshape(w[name].shape[1], -1)
    out["W_O"] = w["W_O"].transpose(2, 0, 1).reshape(w["W_O"].shape[2], -1)
    return out


def grams(checkpoints: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Centred Gram matrix (T, T) of each matrix's path, from the checkpoints' matrices by short name, in order."""
    return {name: centred(points @ points.T) for name, points in stacked(checkpoints).items()}


def stacked(checkpoints: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Each matrix of T checkpoints as points, float64 (T, parameters), from their matrices by short name, in order."""
    rows: dict[str, list[Array]] = {name: [] for name in GROUPS["all"]}
    for weights in checkpoints:
        for name, found in rows.items():
            found.append(np.asarray(weights[name], np.float32).ravel())
    return {name: np.stack(found).astype(float) for name, found in rows.items()}


def group_gram(by_matrix: Mapping[str, Array], group: str) -> Array:
    """Gram matrix of a group of matrices, or of one matrix by its name."""
    return sum((by_matrix[name] for name in GROUPS.get(group, (group,))), np.zeros(()))


def evenly(count: int, most: int) -> Array:
    """Indices of up to `most` of `count` points, evenly spaced, with the first and the last."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(int)


def part(gram: Array, kept: Array) -> Array:
    """The centred Gram matrix of some of a path's points."""
    return centred(gram[np.ix_(kept, kept)])


def centred(gram: Array) -> Array:
    """Gram matrix of the points less their mean, from that of the points; all 0 if they coincide, to within rounding."""
    about_mean = gram - gram.mean(axis=0)
    about_mean -= about_mean.mean(axis=1, keepdims=True)
    return about_mean if np.trace(about_mean) > 1e-12 * np.trace(gram) else np.zeros_like(gram)


def step_gram(gram: Array) -> Array:
    """(T-1, T-1): inner products of the steps between successive checkpoints."""
    return np.diff(np.diff(gram, axis=0), axis=1)


def velocities(gram: Array, epochs: Sequence[int]) -> Array:
    """(T-1,) distance travelled per epoch between successive checkpoints."""
    lengths = np.sqrt(np.diagonal(step_gram(gram)).clip(0))
    return lengths / np.diff(np.asarray(epochs, float))
