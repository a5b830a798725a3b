"""A run as a sequence of symbols: how long it stays, where it goes, whether it has been there before.

A sequence is an (n,) int array of cluster labels of one run and one embedding model, in order; -1 is an
outlier. Several runs are a list of sequences and are never joined: nothing happens between the end of one
and the start of the next.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from panic_assets.trajectories.clusters.clustering import OUTLIER


@dataclass(frozen=True)
class Dwells:
    """Maximal stretches of one symbol, in order."""

    symbol: np.ndarray
    """(k,) int64."""
    start: np.ndarray
    """(k,) int64: where each begins."""
    length: np.ndarray
    """(k,) int64: elements in each."""
    censored: np.ndarray
    """(k,) bool: cut off by an end of the sequence, so that the true stay was at least this long."""


def dwells(sequence: np.ndarray) -> Dwells:
    """The stays of one run. Outliers are a symbol here; use `milestones` first when they should not be."""
    sequence = np.asarray(sequence, dtype=np.int64)
    start = np.flatnonzero(np.diff(sequence, prepend=sequence[:1] - 1))
    length = np.diff(start, append=len(sequence))
    censored = np.zeros(len(start), dtype=bool)
    censored[:1] = censored[-1:] = True
    return Dwells(sequence[start], start, length, censored)


def milestones(sequence: np.ndarray) -> np.ndarray:
    """Every outlier replaced by the last cluster visited (milestoning); those before the first cluster stay -1.

    An outlier is not a place: a run that leaves A, strays and comes back to A has not left it.
    """
    sequence = np.asarray(sequence, dtype=np.int64)
    last = np.maximum.accumulate(np.where(sequence == OUTLIER, -1, np.arange(len(sequence))))
    return np.where(last < 0, OUTLIER, sequence[np.maximum(last, 0)])


def transitions(sequences: Sequence[np.ndarray]) -> Counter[tuple[int, int]]:
    """How often each (from, to) happens between successive stays in different clusters, outliers passed over."""
    found: Counter[tuple[int, int]] = Counter()
    for sequence in sequences:
        symbols = dwells(_visited(sequence)).symbol.tolist()
        found.update(pairwise(symbols))
    return found


def bigrams(sequences: Sequence[np.ndarray]) -> Counter[tuple[int, int]]:
    """How often each (now, next) happens, staying included, outliers counted as staying in the last cluster."""
    found: Counter[tuple[int, int]] = Counter()
    for sequence in sequences:
        symbols = _visited(sequence).tolist()
        found.update(pairwise(symbols))
    return found


def _visited(sequence: np.ndarray) -> np.ndarray:
    held = milestones(sequence)
    return held[held != OUTLIER]


@dataclass(frozen=True)
class Classes:
    """States that lead to each other, as seen: a longer run could always have gone on elsewhere."""

    recurrent: list[list[int]]
    """Sets of states that no transition leaves, each with ways between all its members."""
    transient: list[int]
    """States from which a recurrent set was entered and never left."""

    @property
    def absorbing(self) -> list[int]:
        """Recurrent sets of a single state."""
        return [states[0] for states in self.recurrent if len(states) == 1]


def classes(sequences: Sequence[np.ndarray]) -> Classes:
    """Communicating classes of the graph of observed transitions."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    states = np.unique(np.concatenate([_visited(s) for s in sequences] or [np.empty(0, np.int64)]))
    moves = np.array(list(transitions(sequences)), dtype=np.int64).reshape(-1, 2)
    source, target = np.searchsorted(states, moves).T
    graph = coo_array((np.ones(len(moves)), (source, target)), shape=(len(states), len(states)))
    count, member = connected_components(graph, connection="strong") if len(states) else (0, np.empty(0, np.int64))
    left = set(member[source[member[source] != member[target]]].tolist())
    groups = [states[member == c].tolist() for c in range(count)]
    return Classes(
        recurrent=sorted(g for c, g in enumerate(groups) if c not in left),
        transient=sorted(state for c in left for state in groups[c]),
    )


@dataclass(frozen=True)
class Repetition:
    """The first time a run is exactly where it was before."""

    first: int
    """Position of the output that is repeated later: what lies before it is the way into the loop."""
    again: int
    """Position of the repeat: the time to the first loop."""

    @property
    def length(self) -> int:
        """Invocations once round. A fixed point of the network has the network's length."""
        return self.again - self.first


def repetition(content_hashes: Sequence[str], network_length: int) -> Repetition | None:
    """The first output that exactly equals an earlier one at the same position in the network's cycle."""
    seen: dict[tuple[int, str], int] = {}
    for position, content in enumerate(content_hashes):
        key = (position % network_length, content)
        if key in seen:
            return Repetition(seen[key], position)
        seen[key] = position
    return None
