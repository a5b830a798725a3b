"""True distances between persistence diagrams: bottleneck and p-Wasserstein, exact optimal matchings.

Not a comparison of sorted lifetimes, which finds {(1, 3), (2, 5)} and {(0, 2), (3, 6)} equal. A diagram is a
(b, 2) array of births and deaths. A finite bar is matched with a bar or with its nearest point of the
diagonal; infinite bars are matched among themselves by birth, and diagrams that differ in their number are
infinitely far apart. `ground` is the norm in the plane: 2, or infinity as usual for the bottleneck distance.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np

from panic_assets.compute.machine import cores
from panic_assets.trajectories.topology.assignment import cheapest, cheapest_on_a_line, covers


def wasserstein(first: np.ndarray, second: np.ndarray, p: float = 1.0, ground: float = 2.0) -> float:
    """(Minimum over matchings of the sum of ground distances ** p) ** (1 / p), for p >= 1."""
    a, b, infinite = _finite_parts(first, second)
    if infinite is None:
        return np.inf
    single_a, single_b = diagonal(a, ground) ** p, diagonal(b, ground) ** p
    if _born_at_once(a, b):
        total = cheapest_on_a_line(a[:, 1], b[:, 1], single_a, single_b, float(p))
    else:
        total = cheapest(a, b, single_a, single_b, float(p), float(ground))
    return float(total + (infinite**p).sum()) ** (1 / p)


def bottleneck(first: np.ndarray, second: np.ndarray, ground: float = np.inf) -> float:
    """Minimum over matchings of the largest ground distance: the exact value, found among the candidate costs.

    Every bar moves at least to the nearest bar or to the diagonal, so the distance is at least that. Bars that are
    nearer to the diagonal than that can vanish and need no match.
    """
    a, b, infinite = _finite_parts(first, second)
    if infinite is None:
        return np.inf
    if _born_at_once(a, b):
        single_a, single_b = diagonal(a, ground), diagonal(b, ground)
        moved = cheapest_on_a_line(a[:, 1], b[:, 1], single_a, single_b, np.inf)
        return float(max(moved, infinite.max(initial=0.0)))
    costs_a, single_a, least_a = _long(a, b, ground)
    costs_b, single_b, least_b = _long(b, a, ground)
    least = max(least_a, least_b, infinite.max(initial=0.0))
    candidates = np.concatenate([[least], costs_a.ravel(), costs_b.ravel(), single_a, single_b])
    candidates = np.unique(candidates[candidates >= least])
    # The least is often enough; else, the search doubles its steps before it halves them.
    low, high, step = 0, 0, 1
    while not (_covered(costs_a, single_a, candidates[high]) and _covered(costs_b, single_b, candidates[high])):
        low, high, step = high + 1, min(high + step, len(candidates) - 1), 2 * step
    while low < high:
        middle = (low + high) // 2
        if _covered(costs_a, single_a, candidates[middle]) and _covered(costs_b, single_b, candidates[middle]):
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])


def diagonal(bars: np.ndarray, ground: float) -> np.ndarray:
    """Distance of each bar from the diagonal: half its length times the norm of (1, -1)."""
    return (bars[:, 1] - bars[:, 0]) / 2 * (1.0 if np.isinf(ground) else 2 ** (1 / ground))


def distances(pairs: Iterable[tuple[np.ndarray, np.ndarray]], p: float = 1.0, ground: float = 2.0) -> Iterator[float]:
    """The distance of each pair of diagrams, in order, computed on all cores; bottleneck distances for infinite p."""

    def distance(pair: tuple[np.ndarray, np.ndarray]) -> float:
        return bottleneck(*pair, ground) if np.isinf(p) else wasserstein(*pair, p, ground)

    with ThreadPoolExecutor(cores()) as pool:  # Compiled code lets other threads run.
        yield from pool.map(distance, pairs)


def matrix(diagrams: Sequence[np.ndarray], p: float = 1.0, ground: float = 2.0) -> np.ndarray:
    """(n, n) distances between all diagrams."""
    found = np.zeros((len(diagrams), len(diagrams)))
    found[np.triu_indices(len(diagrams), 1)] = list(distances(combinations(diagrams, 2), p, ground))
    return found + found.T


def _born_at_once(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether all births are equal, as in H0: then the bars are on a line."""
    return len(np.unique(np.concatenate([a[:, 0], b[:, 0]]))) == 1


ROWS = 64
"""Bars that are compared with all others at once."""


def _finite_parts(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Finite bars of both, sorted, and the distances between their infinite ones (None: not equally many)."""
    a, b = (np.asarray(d, dtype=np.float64).reshape(-1, 2) for d in (first, second))
    a, b = (d[np.lexsort(d.T[::-1])] for d in (a, b))
    births_a, births_b = (d[np.isinf(d[:, 1]), 0] for d in (a, b))
    infinite = np.abs(births_a - births_b) if len(births_a) == len(births_b) else None
    return a[np.isfinite(a[:, 1])], b[np.isfinite(b[:, 1])], infinite


def _between(a: np.ndarray, b: np.ndarray, ground: float) -> np.ndarray:
    births, deaths = np.abs(a[:, None, 0] - b[:, 0]), np.abs(a[:, None, 1] - b[:, 1])
    if np.isinf(ground):
        return np.maximum(births, deaths)
    return np.hypot(births, deaths) if ground == 2 else (births**ground + deaths**ground) ** (1 / ground)


def _long(a: np.ndarray, b: np.ndarray, ground: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The bars of `a` farther than `least` from the diagonal: (k, m) distances to all of `b`, and (k,) to the diagonal.

    `least` is the farthest that some bar of `a` must move, even if all others were out of its way.
    """
    by_length = np.argsort(-diagonal(a, ground), kind="stable")
    single = diagonal(a, ground)[by_length]
    costs, least = [np.empty((0, len(b)))], 0.0
    for start in range(0, len(a), ROWS):
        if single[start] <= least:
            break
        costs.append(_between(a[by_length[start : start + ROWS]], b, ground))
        nearest = np.minimum(single[start : start + ROWS], costs[-1].min(axis=1, initial=np.inf))
        least = max(least, float(nearest.max()))
    long = np.flatnonzero(single > least)
    return np.vstack(costs)[long], single[long], least


def _covered(costs: np.ndarray, single: np.ndarray, most: float) -> bool:
    """Whether all bars that are farther than `most` from the diagonal can be matched with bars within `most`.

    Matchings that cover those of one side and those of the other side can be combined into one that covers both
    (Mendelsohn and Dulmage), so each side is asked alone.
    """
    near = costs[single > most] <= most
    bits = np.packbits(np.pad(near, ((0, 0), (0, -near.shape[1] % 64))), axis=1, bitorder="little")
    return covers(np.ascontiguousarray(bits).view(np.uint64), near.shape[1])
