"""Surrogates of a run: clouds that share something with it, but not its shape in time. They are made by chance.

A persistence diagram forgets the order of its points, so shuffling time changes no diagram of single outputs:
as a null it applies to `delays`, pairs of consecutive outputs, whose cloud does know the order.
"""

import numpy as np

NEAR = 0.2
"""The least cosine with their mean direction of unit vectors that are mixed in the plane at it."""


def random_walk(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A walk from the same start whose steps are the observed ones in shuffled order, each forwards or backwards.

    Steps of a random walk that are as likely backwards as forwards are exchangeable so: such a walk is one of its own
    surrogates. And they vary in the directions in which the observed ones do. A walk with steps in all directions of the
    space would not: it has hardly any holes, so whatever moves in few directions would seem to have more than chance.

    On the sphere when the vectors are unit vectors: a step is turned into the plane that touches the sphere where it is
    taken, and its chord stays. Steps of length zero stay: a run that rests is compared with a walk that rests as often.
    """
    vectors = vectors.astype(np.float64)
    if len(vectors) < 2:
        return vectors
    steps = rng.permutation(np.diff(vectors, axis=0)) * rng.choice([-1.0, 1.0], (len(vectors) - 1, 1))
    if not unit(vectors):
        return vectors[0] + np.vstack([np.zeros_like(vectors[:1]), np.cumsum(steps, axis=0)])
    walk = np.empty_like(vectors)
    walk[0] = vectors[0]
    angles = 2 * np.arcsin(np.clip(np.linalg.norm(steps, axis=1) / 2, 0, 1))
    for t, angle in enumerate(angles):
        if not angle:
            walk[t + 1] = walk[t]
            continue
        tangent = steps[t] - (steps[t] @ walk[t]) * walk[t]
        length = np.linalg.norm(tangent)
        if length < 1e-9:  # It points away from the sphere: any direction is as good.
            tangent = rng.normal(size=len(tangent))
            tangent -= (tangent @ walk[t]) * walk[t]
            length = np.linalg.norm(tangent)
        step = np.cos(angle) * walk[t] + np.sin(angle) * tangent / length
        walk[t + 1] = step / np.linalg.norm(step)
    return walk


def gaussian(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many normal points with the very mean and covariance of the cloud; on the sphere if the vectors were.

    Centred normal points stay equally likely when they are mixed by an orthogonal matrix that keeps their mean, and such
    mixtures are all that share their mean and covariance (a rotation test: Langsrud 2005). So normal points are one of
    their surrogates, however few points there are and whatever the covariance. Points drawn anew from the sample's
    covariance are not: of fewer points than coordinates they have too few directions to vary in.

    Unit vectors are mixed in the plane that touches the sphere at their mean direction, and projected back. Where some are
    far from that direction, they are mixed as they are.
    """
    from scipy.linalg import helmert
    from scipy.stats import ortho_group

    points = vectors.astype(np.float64)
    if len(points) < 2:
        return points
    on_sphere = unit(points)
    if on_sphere:
        mean = points.mean(axis=0)
        cosine = points @ mean / max(np.linalg.norm(mean), np.finfo(np.float64).tiny)
        points = points / (cosine[:, None] if cosine.min() > NEAR else 1)
    contrasts = helmert(len(points))
    mixture = ortho_group.rvs(len(points) - 1, random_state=rng)
    points = points.mean(axis=0) + contrasts.T @ (mixture @ (contrasts @ points))
    return points / np.linalg.norm(points, axis=1, keepdims=True) if on_sphere else points


def shuffled_time(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same vectors in random order."""
    return vectors[rng.permutation(len(vectors))]


def delays(vectors: np.ndarray) -> np.ndarray:
    """(n - 1, 2 d): each vector beside its successor."""
    return np.hstack([vectors[:-1], vectors[1:]])


def unit(vectors: np.ndarray) -> bool:
    """Whether all rows have norm 1 to float32 accuracy."""
    return bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4))
