"""Points whose topology or clusters are known."""

import numpy as np


def blobs(sizes, spread=0.05, d=8, seed=0):
    """Blobs around far corners, in random order: (vectors, which blob)."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return (10 * np.eye(len(sizes), d)[which] + spread * rng.normal(size=(len(which), d))), which


def circle(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angle), np.sin(angle)])
