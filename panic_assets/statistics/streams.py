"""Random numbers of their own for each thing that is measured."""

import hashlib

import numpy as np


def stream(seed: int, *names: str) -> np.random.Generator:
    """The generator of one thing, such as a run by a model: always the same, and independent of all others'.

    A generator seeded by something that things share, such as their length, would draw the same chance for all of them:
    what is pooled over them would no longer be independent.
    """
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])
