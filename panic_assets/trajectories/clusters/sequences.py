"""What runs do as sequences of clusters, as rows: states, Markov models, and the same outputs in shuffled order."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from panic_assets.statistics.finite import number
from panic_assets.statistics.nulls import standings
from panic_assets.statistics.surrogates import shuffled_time
from panic_assets.trajectories.clusters import markov
from panic_assets.trajectories.clusters.clustering import OUTLIER
from panic_assets.trajectories.clusters.symbols import classes, dwells, milestones
from panic_assets.trajectories.motion.changes import change_points, indicators

REPLICATES = 199
LAGS = (1, 2, 4, 8)


def states(sequences: Sequence[np.ndarray]) -> Iterator[dict[str, Any]]:
    """Rows of cluster_states: how much of the time runs spend in each cluster, now and in the long run."""
    held = np.concatenate([milestones(s) for s in sequences])
    there, outputs = np.unique(held[held != OUTLIER], return_counts=True)
    chain, ends = markov.model(sequences), classes(sequences)
    long_run = dict(zip(chain.states.tolist(), chain.stationary.tolist(), strict=True))
    member = {state: k for k, group in enumerate(ends.recurrent) for state in group}
    for state, count in zip(there.tolist(), outputs.tolist(), strict=True):
        yield {
            "cluster": state,
            "outputs": count,
            "share": count / int(outputs.sum()),
            "stationary": long_run.get(state),
            "recurrent_set": member.get(state),
            "absorbing": state in ends.absorbing,
        }


def models(sequences: Sequence[np.ndarray], seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of markov_models: one for each lag at which there is a model."""
    ends = classes(sequences)
    scales = markov.slowest(sequences, LAGS, seed=seed)
    for lag, scale in zip(LAGS, scales, strict=True):
        found = markov.model(sequences, lag)
        if not len(found.states):
            continue
        tested = markov.chapman_kolmogorov(sequences, lag, seed=seed)
        yield {
            "lag": lag,
            "runs": len(sequences),
            "states": len(found.states),
            "coverage": found.coverage,
            "entropy_rate": markov.entropy_rate(found.transition),
            "timescale": number(scale.estimate),
            "timescale_low": number(scale.low),
            "timescale_high": number(scale.high),
            "chapman_kolmogorov_p": number(tested.p_value),
            "recurrent_sets": len(ends.recurrent),
            "absorbing_clusters": len(ends.absorbing),
        }


def against_chance(sequences: Sequence[np.ndarray], seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of symbol_nulls: whether the same outputs in shuffled order stay and move like this too."""
    rng = np.random.default_rng(seed)
    chance = [_measured([shuffled_time(s, rng) for s in sequences]) for _ in range(REPLICATES)]
    for statistic, found in standings(_measured(sequences), chance):  # Without a completed stay some say nothing.
        yield {"statistic": statistic, "runs": len(sequences), **vars(found)}


def _measured(sequences: Sequence[np.ndarray]) -> dict[str, float]:
    stays = [dwells(s) for s in sequences]
    complete = np.concatenate([d.length[(d.symbol != OUTLIER) & ~d.censored] for d in stays])
    return {
        "mean stay": float(complete.mean()) if len(complete) else float("nan"),
        "entropy rate": markov.entropy_rate(markov.model(sequences).transition),
        "change points": float(np.mean([len(change_points(indicators(s))) for s in sequences])),
    }
