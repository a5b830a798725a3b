"""Which rows of a matrix are the very same vector."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Distinct:
    """The distinct rows of a matrix, in order of first occurrence."""

    first: np.ndarray
    """(m,) int64: the row where each distinct vector occurs first, ascending."""
    inverse: np.ndarray
    """(n,) int64: for each row, which distinct vector it is."""
    counts: np.ndarray
    """(m,) int64: how often each distinct vector occurs."""


def distinct(vectors: np.ndarray) -> Distinct:
    """Groups equal rows of a (n, d) float array: equal in every coordinate, 0.0 and -0.0 alike.

    Rows are compared by a 128-bit digest of their bytes, which needs one pass and little memory where
    sorting wide rows takes minutes. NaN and infinity are refused: they are not positions.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors have shape {vectors.shape}; they must be a matrix of rows (n, d)")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors contain NaN or infinity; every coordinate must be finite")
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(vectors + 0.0)  # adding 0.0 turns -0.0 into 0.0
    inverse = np.fromiter(
        (seen.setdefault(hashlib.blake2b(row, digest_size=16).digest(), len(seen)) for row in rows),
        dtype=np.int64,
        count=len(rows),
    )
    counts = np.bincount(inverse, minlength=len(seen))
    first = np.full(len(seen), len(rows), dtype=np.int64)
    np.minimum.at(first, inverse, np.arange(len(rows)))
    return Distinct(first, inverse, counts)
