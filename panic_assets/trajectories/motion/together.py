"""What the runs of an experiment show together: whether pairs come apart, and how long prompts can be told."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from panic_assets.statistics.finite import number
from panic_assets.trajectories.motion import measures
from panic_assets.trajectories.motion.divergence import diverge
from panic_assets.trajectories.motion.recoverability import recoverability
from panic_assets.trajectories.runs.walked import Walked

GRID = 24
"""Steps at which recoverability is asked, spread over the run, early ones closer together."""
PAIRS = 200
"""Pairs of runs of each kind that divergence is measured on."""


def divergences(everything: Sequence[Walked], seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of run_divergence: one for each network, and pairs of one prompt or of different ones."""
    for network in sorted({w.run["network"] for w in everything}):
        mine = [w for w in everything if w.run["network"] == network]
        steps = min((len(w.vectors) for w in mine if w.run["stop_reason"] == "length"), default=0)
        steps = steps or max(len(w.vectors) for w in mine)
        whole = [(w.run["prompt"], v) for w in mine if (v := w.until(steps)) is not None]
        if steps < 8:
            continue
        for kind in ("same prompt", "different prompts"):
            pairs = [
                (i, j)
                for i, j in combinations(range(len(whole)), 2)
                if (whole[i][0] == whole[j][0]) == (kind == "same prompt")
            ]
            if not pairs:
                continue
            chosen = np.array(pairs)[np.random.default_rng(seed).permutation(len(pairs))[:PAIRS]]
            distances = np.array([measures.chord(whole[i][1], whole[j][1]) for i, j in chosen])
            found = diverge(distances, np.unique(chosen, return_inverse=True)[1].reshape(chosen.shape))
            yield {
                "network": network,
                "pairs_of": kind,
                "pairs": len(chosen),
                "outputs": steps,
                "verdict": found.verdict,
                **{
                    k: number(getattr(found, k))
                    for k in ("rate", "rate_low", "rate_high", "tau", "tau_low", "tau_high")
                },
                "growth_r2": found.growth.r2,
                "relaxation_r2": found.relaxation.r2,
                "diffusion_r2": found.diffusion.r2,
                "growth_aic": found.growth.aic,
                "relaxation_aic": found.relaxation.aic,
                "diffusion_aic": found.diffusion.aic,
                "constant_aic": found.constant.aic,
                "growth_held_out": found.growth.held_out,
                "relaxation_held_out": found.relaxation.held_out,
                "diffusion_held_out": found.diffusion.held_out,
                "constant_held_out": found.constant.held_out,
                "first_distance": float(distances[:, 0].mean()),
                "last_distance": float(distances[:, -1].mean()),
            }


def alarm(control: str, row: Mapping[str, Any]) -> str | None:
    """What is wrong if a control's runs come apart by a law that free walks do not follow; None if they do not."""
    if row["verdict"] not in ("growth", "relaxation"):
        return None
    return (
        f"the control {control} shows {row['verdict']} between runs of {row['network']} ({row['pairs_of']}), although it is "
        f"a free walk; do not believe such a verdict of other models on these {row['pairs']} pairs"
    )


def recoverabilities(everything: Sequence[Walked], seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of prompt_recoverability: one for each step that is asked."""
    longest = max((len(w.vectors) for w in everything), default=0)
    for step in np.unique(np.geomspace(1, max(longest, 1), GRID).astype(int)) - 1:
        there = [(w.run, v[step]) for w in everything if (v := w.until(int(step) + 1)) is not None]
        if not there:
            continue
        found = recoverability(
            np.array([v for _, v in there]),
            [r["prompt"] for r, _ in there],
            [r["network"] for r, _ in there],
            seed=seed,
        )
        if found is not None:
            yield {
                "step": int(step),
                "accuracy": found.accuracy,
                "chance": found.chance.null_mean,
                "p_value": found.chance.p_value,
                "runs": found.runs,
                "prompts": found.prompts,
            }
