"""The control embedder: a random walk in embedding space."""

import hashlib
from itertools import pairwise

import numpy as np

from panic_assets.registry.spec import ModelSpec


class RandomWalk:
    """Positions after steps s_t = rho s_{t-1} + sqrt(1 - rho^2) e_t, where e_t ~ N(0, I / dimension).

    The first step is drawn as every other is (the process is stationary), so E|s_t|^2 = 1 for all t and
    E[s_t . s_{t+1}] = rho. Walks of different keys, and of different entries, are independent.
    """

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        assert spec.dimension
        self.name, self.dimension = spec.name, spec.dimension
        self.correlation = float(spec.settings["correlation"])

    def walk(self, key: str, count: int) -> np.ndarray:
        """The first `count` positions of the walk named `key`: float32 (count, dimension)."""
        digest = hashlib.blake2b(f"{self.name}\0{key}".encode(), digest_size=16).digest()
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
        steps = rng.standard_normal((count, self.dimension))
        steps /= np.sqrt(self.dimension)
        if self.correlation:
            steps[1:] *= np.sqrt(1 - self.correlation**2)
            for before, step in pairwise(steps):
                step += self.correlation * before
        return np.cumsum(steps, axis=0).astype(np.float32)
