"""Markov state models of cluster sequences: where a run goes next, how slowly it forgets, and whether that holds.

States are clusters; outliers are held by milestoning and are no state; pairs at a lag are counted inside one run
only. Estimates are on the largest set of states that all lead to each other at that lag (the active set).
Intervals are over bootstrap samples of whole runs; the chain's own test is over runs simulated from it. (Prinz et al. 2011.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from panic_assets.trajectories.clusters.clustering import OUTLIER
from panic_assets.trajectories.clusters.symbols import milestones


@dataclass(frozen=True)
class Model:
    """A Markov state model."""

    lag: int
    states: np.ndarray
    """(s,) int64: cluster labels of the active set, ascending."""
    counts: np.ndarray
    """(s, s) int64: pairs (x_t, x_t+lag) seen."""
    transition: np.ndarray
    """(s, s): probability of each next state; rows sum to 1 (maximum likelihood, not forced reversible)."""
    stationary: np.ndarray
    """(s,): share of time in each state in the long run."""
    coverage: float
    """Share of all counted pairs that lie inside the active set."""


def counts(sequences: Sequence[np.ndarray], lag: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels (s,), counts (s, s)) of pairs `lag` apart in the same run, in sliding windows."""
    states, pairs = _pairs_by_run(sequences, lag)
    return states, _square(np.asarray(pairs.sum(axis=0)), len(states))


def _pairs_by_run(sequences: Sequence[np.ndarray], lag: int) -> tuple[np.ndarray, Any]:
    """(labels (s,), sparse (runs, s * s) pair counts): bootstrap samples of runs are sums of its rows."""
    from scipy.sparse import csr_array

    held = [milestones(s) for s in sequences]
    held = [s[s != OUTLIER] for s in held]  # only before the first cluster
    states = np.unique(np.concatenate(held)) if held else np.empty(0, np.int64)
    indices = [np.searchsorted(states, sequence) for sequence in held]
    pairs = [index[:-lag] * len(states) + index[lag:] for index in indices]
    rows = np.repeat(np.arange(len(pairs)), [len(p) for p in pairs])
    columns = np.concatenate(pairs) if pairs else np.empty(0, np.int64)
    shape = (len(held), len(states) ** 2)
    return states, csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)


def _square(flat: np.ndarray, size: int) -> np.ndarray:
    return flat.reshape(*flat.shape[:-1], size, size)


def _resampled(pairs: Any, size: int, replicates: int, seed: int) -> np.ndarray:
    """(replicates, s, s) counts of bootstrap samples of runs; the same seed draws the same runs at every lag."""
    runs = pairs.shape[0]
    weights = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / max(runs, 1)), size=replicates)
    return _square(weights @ pairs if runs else np.zeros((replicates, size * size), np.int64), size)


def model(sequences: Sequence[np.ndarray], lag: int = 1) -> Model:
    """The Markov state model at one lag (in embedded outputs). No pairs at that lag: no states."""
    return _model(*counts(sequences, lag), lag)


def _model(states: np.ndarray, total: np.ndarray, lag: int) -> Model:
    active = _active(total)
    inside, transition = total[np.ix_(active, active)], _transition(total, active)
    return Model(
        lag=lag,
        states=states[active],
        counts=inside,
        transition=transition,
        stationary=stationary(transition),
        coverage=float(inside.sum() / total.sum()) if total.sum() else 0.0,
    )


def _active(total: np.ndarray) -> np.ndarray:
    """Indices of the strongly connected component with the most counts inside; a state alone needs to have stayed."""
    if not total.sum():
        return np.empty(0, np.int64)
    reach = (total > 0) | np.eye(len(total), dtype=bool)
    while True:  # ways of twice the length, until there are no more: a handful of small products
        further = reach.astype(np.float32) @ reach.astype(np.float32) > 0
        if (further == reach).all():
            break
        reach = further
    mutual = (reach & reach.T).astype(np.int64)
    inside = ((mutual @ total) * mutual).sum(axis=1)
    best = int(inside.argmax())
    return np.flatnonzero(mutual[best]) if inside[best] else np.empty(0, np.int64)


def _transition(total: np.ndarray, active: np.ndarray) -> np.ndarray:
    inside = total[np.ix_(active, active)]
    return inside / inside.sum(axis=1, keepdims=True) if len(active) else np.empty((0, 0))


def stationary(transition: np.ndarray) -> np.ndarray:
    """The distribution that an irreducible transition matrix leaves as it is."""
    s = len(transition)
    if s == 0:
        return np.empty(0)
    system = np.vstack([transition.T - np.eye(s), np.ones(s)])
    found = np.clip(np.linalg.lstsq(system, np.append(np.zeros(s), 1.0), rcond=None)[0], 0, None)
    return found / found.sum()


def entropy_rate(transition: np.ndarray) -> float:
    """Nats of surprise per step of the stationary chain: 0 for a cycle, ln s for s states drawn at random."""
    logs = np.log(transition, out=np.zeros_like(transition), where=transition > 0)
    return max(0.0, float(-(stationary(transition)[:, None] * transition * logs).sum()))


def timescales(transition: np.ndarray, lag: int) -> np.ndarray:
    """(s - 1,) implied timescales -lag / ln |eigenvalue|, slowest first, in steps; a period counts as infinite."""
    if len(transition) == 0:
        return np.empty(0)
    sizes = np.sort(np.abs(np.linalg.eigvals(transition)))[::-1][1:]
    with np.errstate(divide="ignore"):
        return np.where(sizes >= 1 - 1e-12, np.inf, -lag / np.log(np.clip(sizes, 1e-300, 1 - 1e-12)))


@dataclass(frozen=True)
class Interval:
    """An estimate and where bootstrap samples of runs put it; NaN when too few runs or states."""

    estimate: float
    low: float
    high: float


def slowest(
    sequences: Sequence[np.ndarray], lags: Sequence[int], replicates: int = 200, seed: int = 0, level: float = 0.95
) -> list[Interval]:
    """The slowest implied timescale at each lag. Where it grows with the lag, the clusters are not yet Markov states."""
    found = []
    for lag in lags:
        states, pairs = _pairs_by_run(sequences, lag)
        estimate = _slowest(_square(np.asarray(pairs.sum(axis=0)), len(states)), lag)
        values = np.array([_slowest(total, lag) for total in _resampled(pairs, len(states), replicates, seed)])
        values = values[np.isfinite(values)]
        tails = (
            np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if len(values) > replicates / 2 else [np.nan] * 2
        )
        found.append(Interval(estimate, float(tails[0]), float(tails[1])))
    return found


def _slowest(total: np.ndarray, lag: int) -> float:
    scales = timescales(_transition(total, _active(total)), lag)
    return float(scales[0]) if len(scales) else float("nan")


@dataclass(frozen=True)
class ChapmanKolmogorov:
    """Probabilities of being in the same state after k lags: from the model, and estimated at k lags directly."""

    steps: np.ndarray
    """(k,)."""
    predicted: np.ndarray
    """(k, s)."""
    estimated: np.ndarray
    """(k, s); NaN where a state does not occur at that lag."""
    error: np.ndarray
    """(k, s): standard error of the difference, if the chain is as fitted."""
    p_value: float
    """p-value of the largest standardised difference. A small one says that the chain remembers more than its state."""


def chapman_kolmogorov(
    sequences: Sequence[np.ndarray], lag: int = 1, steps: int = 5, replicates: int = 200, seed: int = 0
) -> ChapmanKolmogorov:
    """Test of the Markov property for k = 2, ..., `steps` lags, by runs simulated from the fitted chain.

    Every `lag`-th output is looked at: a chain says how those follow each other, and nothing of what is between them.
    Simulated runs start where the observed ones do and are as long. In each, the chain is fitted again, and the largest
    |difference - mean| / error is taken, mean and error being those of all samples.
    """
    powers = np.arange(2, steps + 1)
    states, walks = _indices(sequences, lag)
    observed = _counts_at(walks[None], len(states), np.append(1, powers))
    active = _active(observed[0, 0])
    predicted, estimated = _staying(observed[0][:, active[:, None], active], powers)
    differences = [(estimated - predicted)[None]]
    rng = np.random.default_rng(seed)
    at_once = max(1, BATCH // max(walks.size, 1))
    for start in range(0, replicates, at_once):
        drawn = _simulated(observed[0, 0], walks, min(at_once, replicates - start), rng)
        found = _staying(_counts_at(drawn, len(states), np.append(1, powers))[..., active[:, None], active], powers)
        differences.append(found[1] - found[0])
    samples = np.concatenate(differences)
    here = np.isfinite(samples)
    count = here.sum(axis=0)
    off = np.where(here, samples - np.where(here, samples, 0.0).sum(axis=0) / np.maximum(count, 1), 0.0)
    error = np.sqrt((off**2).sum(axis=0) / np.maximum(count - 1, 1))
    usable = here[0] & (count > replicates / 2) & (error > 1e-12)
    largest = (np.abs(off) / np.where(usable, error, np.inf)).reshape(len(samples), -1).max(axis=1, initial=0.0)
    p_value = (largest >= largest[0]).mean() if usable.any() else float("nan")
    return ChapmanKolmogorov(powers, predicted, estimated, np.where(usable, error, np.nan), float(p_value))


BATCH = 2_000_000
"""Outputs that are simulated at once."""
_OVER = -1
"""What stands behind the end of a run that is shorter than others."""


def _indices(sequences: Sequence[np.ndarray], lag: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels (s,), (runs, n) the index of the state of every `lag`-th output)."""
    held = [milestones(s) for s in sequences]
    held = [s[s != OUTLIER][::lag] for s in held]
    states = np.unique(np.concatenate(held)) if held else np.empty(0, np.int64)
    walks = np.full((len(held), max(map(len, held), default=0)), _OVER)
    for walk, sequence in zip(walks, held, strict=True):
        walk[: len(sequence)] = np.searchsorted(states, sequence)
    return states, walks


def _simulated(total: np.ndarray, walks: np.ndarray, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """(replicates, runs, n) walks of the chain that the counts are of; a state that was never left is never left."""
    counted = total + np.diag(total.sum(axis=1) == 0)
    size = len(total)
    below = np.cumsum(counted / counted.sum(axis=1, keepdims=True), axis=1)
    below[:, -1:] = 1.0
    flat = (np.arange(size)[:, None] + below).ravel()
    drawn = np.full((replicates, *walks.shape), _OVER)
    drawn[:, :, :1] = walks[:, :1]
    for t in range(1, walks.shape[1]):
        now = drawn[:, :, t - 1]
        after = np.searchsorted(flat, now + rng.random(now.shape), side="right") - now * size
        drawn[:, :, t] = np.where(walks[:, t] == _OVER, _OVER, np.clip(after, 0, size - 1))
    return drawn


def _counts_at(walks: np.ndarray, size: int, lags: np.ndarray) -> np.ndarray:
    """(samples, lags, s, s) pairs in (samples, runs, n) walks."""
    found = np.empty((len(walks), len(lags), size, size), np.int64)
    sample = np.arange(len(walks))[:, None, None] * size
    for index, k in enumerate(lags):
        later = walks[:, :, k:]
        pairs = ((sample + walks[:, :, : later.shape[2]]) * size + later)[later != _OVER]
        found[:, index] = np.bincount(pairs, minlength=len(walks) * size**2).reshape(len(walks), size, size)
    return found


def _staying(counts_at: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((..., k, s) predicted, the same estimated) probabilities of the same state k lags later, from counts."""
    with np.errstate(invalid="ignore"):
        probabilities = counts_at / counts_at.sum(axis=-1, keepdims=True)
    one, later = probabilities[..., 0, :, :], probabilities[..., 1:, :, :]
    known = np.isfinite(np.diagonal(one, axis1=-2, axis2=-1))[..., None, :]
    chain = np.nan_to_num(one)
    powered = [np.diagonal(np.linalg.matrix_power(chain, int(k)), axis1=-2, axis2=-1) for k in powers]
    return np.where(known, np.stack(powered, axis=-2), np.nan), np.diagonal(later, axis1=-2, axis2=-1)
