"""True distances between persistence diagrams: bottleneck and p-Wasserstein, exact optimal matchings.

Not a comparison of sorted lifetimes, which finds {(1, 3), (2, 5)} and {(0, 2), (3, 6)} equal. A diagram is a
(b, 2) array of births and deaths. A finite bar is matched with a bar or with its nearest point of the
diagonal; infinite bars are matched among themselves by birth, and diagrams that differ in their number are
infinitely far apart. `ground` is the norm in the plane: 2, or infinity as usual for the bottleneck distance.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from panic_assets.trajectories.assignment import largest_saving, largest_saving_on_a_line


def wasserstein(first: np.ndarray, second: np.ndarray, p: float = 1.0, ground: float = 2.0) -> float:
    """(Minimum over matchings of the sum of ground distances ** p) ** (1 / p), for p >= 1.

    Matching two bars is worth considering only where it is cheaper than sending both to the diagonal, so the
    problem is to choose the pairs with the largest total saving.
    """
    a, b, infinite = _finite_parts(first, second)
    if infinite is None:
        return np.inf
    single_a, single_b = diagonal(a, ground) ** p, diagonal(b, ground) ** p
    if len(np.unique(np.concatenate([a[:, 0], b[:, 0]]))) == 1:  # H0: all are born at once
        by_a, by_b = np.argsort(a[:, 1]), np.argsort(b[:, 1])
        saved = largest_saving_on_a_line(a[by_a, 1], b[by_b, 1], single_a[by_a], single_b[by_b], float(p))
    else:
        saved = largest_saving(a, b, single_a, single_b, float(p), float(ground))
    total = single_a.sum() + single_b.sum() - saved
    return float(max(total, 0.0) + (infinite**p).sum()) ** (1 / p)


def bottleneck(first: np.ndarray, second: np.ndarray, ground: float = np.inf) -> float:
    """Minimum over matchings of the largest ground distance: the exact value, found among the candidate costs."""
    a, b, infinite = _finite_parts(first, second)
    if infinite is None:
        return np.inf
    costs, to_diagonal_a, to_diagonal_b = _between(a, b, ground), diagonal(a, ground), diagonal(b, ground)
    everything_to_diagonal = max(to_diagonal_a.max(initial=0.0), to_diagonal_b.max(initial=0.0))
    candidates = np.unique(np.concatenate([costs.ravel(), to_diagonal_a, to_diagonal_b, [0.0]]))
    candidates = candidates[candidates <= everything_to_diagonal]
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if _feasible(costs, to_diagonal_a, to_diagonal_b, candidates[middle]):
            high = middle
        else:
            low = middle + 1
    return float(max(candidates[low], infinite.max(initial=0.0)))


def diagonal(bars: np.ndarray, ground: float) -> np.ndarray:
    """Distance of each bar from the diagonal: half its length times the norm of (1, -1)."""
    return (bars[:, 1] - bars[:, 0]) / 2 * (1.0 if np.isinf(ground) else 2 ** (1 / ground))


def matrix(diagrams: Sequence[np.ndarray], p: float = 1.0, ground: float = 2.0) -> np.ndarray:
    """(n, n) p-Wasserstein distances between all diagrams; bottleneck distances for infinite p."""
    distances = np.zeros((len(diagrams), len(diagrams)))
    for i, j in combinations(range(len(diagrams)), 2):
        one, other = diagrams[i], diagrams[j]
        between = bottleneck(one, other, ground) if np.isinf(p) else wasserstein(one, other, p, ground)
        distances[i, j] = distances[j, i] = between
    return distances


def _finite_parts(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Finite bars of both, and the distances between their infinite ones (None: not equally many)."""
    a, b = (np.asarray(d, dtype=np.float64).reshape(-1, 2) for d in (first, second))
    births_a, births_b = (np.sort(d[np.isinf(d[:, 1]), 0]) for d in (a, b))
    infinite = np.abs(births_a - births_b) if len(births_a) == len(births_b) else None
    return a[np.isfinite(a[:, 1])], b[np.isfinite(b[:, 1])], infinite


def _between(a: np.ndarray, b: np.ndarray, ground: float) -> np.ndarray:
    births, deaths = np.abs(a[:, None, 0] - b[:, 0]), np.abs(a[:, None, 1] - b[:, 1])
    if np.isinf(ground):
        return np.maximum(births, deaths)
    return np.hypot(births, deaths) if ground == 2 else (births**ground + deaths**ground) ** (1 / ground)


def _feasible(costs: np.ndarray, to_diagonal_a: np.ndarray, to_diagonal_b: np.ndarray, most: float) -> bool:
    """Whether a matching exists in which nothing moves farther than `most`.

    Bars that far from the diagonal must be matched with a bar. Matchings that cover those of one side and those
    of the other side can be combined into one that covers both (Mendelsohn and Dulmage), so each is asked alone.
    """
    near = costs <= most
    return _covered(near[to_diagonal_a > most]) and _covered(near.T[to_diagonal_b > most])


def _covered(near: np.ndarray) -> bool:
    matched = maximum_bipartite_matching(csr_array(near.astype(np.int8)), perm_type="column")
    return bool((matched >= 0).all())
