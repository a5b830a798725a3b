"""How well the starting prompt of a run can be guessed from its output at step t."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panic_assets.statistics.nulls import Standing, standing


@dataclass(frozen=True)
class Recoverability:
    """Leave-one-run-out accuracy of naming the prompt, and where it stands among shuffled labels."""

    accuracy: float
    chance: Standing
    runs: int
    prompts: int


def recoverability(
    vectors: np.ndarray,
    prompts: Sequence[str],
    blocks: Sequence[str] | None = None,
    replicates: int = 199,
    seed: int = 0,
) -> Recoverability | None:
    """From (runs, d) vectors at one step. A run is given the prompt whose other runs have the nearest mean.

    Labels are shuffled within `blocks` (networks, say), so that what blocks share does not count as recovery.
    Prompts with a single run cannot be left out and learnt from, and are dropped; None when fewer than two stay.
    """
    _, labels, sizes = np.unique(np.asarray(prompts), return_inverse=True, return_counts=True)
    kept = sizes[labels] > 1
    if kept.sum() == 0 or (sizes > 1).sum() < 2:
        return None
    x = vectors[kept].astype(np.float64)
    x = x - x.mean(axis=0)
    labels = np.unique(labels[kept], return_inverse=True)[1]
    block = np.unique(np.asarray(blocks)[kept], return_inverse=True)[1] if blocks is not None else np.zeros_like(labels)
    gram = x @ x.T
    rng = np.random.default_rng(seed)
    null = np.array([_accuracy(gram, _shuffled(labels, block, rng)) for _ in range(replicates)])
    accuracy = _accuracy(gram, labels)
    return Recoverability(accuracy, standing(accuracy, null), len(labels), int((sizes > 1).sum()))


def _accuracy(gram: np.ndarray, labels: np.ndarray) -> float:
    """Nearest centroid, the run itself left out of its own, from inner products alone."""
    member = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
    size = member.sum(axis=0)
    sums = gram @ member  # (n, c): inner product with the sum of each class
    squares = np.einsum("nc,nc->c", member, sums)  # squared norm of each sum
    own = np.diag(gram)
    rows = np.arange(len(labels))
    distance = squares / size**2 - 2 * sums / size
    left = size[labels] - 1
    distance[rows, labels] = (squares[labels] - 2 * sums[rows, labels] + own) / left**2 - 2 * (
        sums[rows, labels] - own
    ) / left
    return float((distance.argmin(axis=1) == labels).mean())


def _shuffled(labels: np.ndarray, block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    found = labels.copy()
    for b in range(block.max() + 1):
        found[block == b] = rng.permutation(found[block == b])
    return found
