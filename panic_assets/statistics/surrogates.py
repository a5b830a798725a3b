"""Surrogates of a run: clouds that share something with it, but not its shape in time. They are made by chance.

A persistence diagram forgets the order of its points, so shuffling time changes no diagram of single outputs:
as a null it applies to `delays`, pairs of consecutive outputs, whose cloud does know the order.
"""

import numpy as np


def random_walk(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A walk from the same start with the same step lengths, in shuffled order and random directions.

    On the sphere when the vectors are unit vectors (the chords of its steps are the observed ones), else free.
    Steps of length zero stay: a run that rests is compared with a walk that rests as often.
    """
    vectors = vectors.astype(np.float64)
    n, d = vectors.shape
    lengths = rng.permutation(np.linalg.norm(np.diff(vectors, axis=0), axis=1))
    directions = rng.normal(size=(max(n - 1, 0), d))
    if not unit(vectors):
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return vectors[:1] + np.vstack([np.zeros((1, d)), np.cumsum(lengths[:, None] * directions, axis=0)])[:n]
    walk = np.empty_like(vectors)
    walk[:1] = vectors[:1]
    angles = 2 * np.arcsin(np.clip(lengths / 2, 0, 1))
    for t in range(n - 1):
        tangent = directions[t] - (directions[t] @ walk[t]) * walk[t]
        step = np.cos(angles[t]) * walk[t] + np.sin(angles[t]) * tangent / np.linalg.norm(tangent)
        walk[t + 1] = step / np.linalg.norm(step) if angles[t] else walk[t]
    return walk


def gaussian(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many independent normal points with the same mean and covariance; projected to the sphere if they were on it.

    Drawn as random mixtures of the centred vectors, which has their covariance without computing it.
    """
    vectors = vectors.astype(np.float64)
    n = len(vectors)
    mean = vectors.mean(axis=0)
    points = mean + rng.normal(size=(n, n)) @ (vectors - mean) / np.sqrt(n)
    return points / np.linalg.norm(points, axis=1, keepdims=True) if unit(vectors) else points


def shuffled_time(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same vectors in random order."""
    return vectors[rng.permutation(len(vectors))]


def delays(vectors: np.ndarray) -> np.ndarray:
    """(n - 1, 2 d): each vector beside its successor."""
    return np.hstack([vectors[:-1], vectors[1:]])


def unit(vectors: np.ndarray) -> bool:
    """Whether all rows have norm 1 to float32 accuracy."""
    return bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4))
