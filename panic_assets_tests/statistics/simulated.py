"""Experiments with known effects, for the tests and for benchmarks/coverage.py."""

from itertools import product

import numpy as np
import pandas as pd


def experiment(seed, prompts=12, seeds=4, effect=0.5, prompt_spread=1.0, run_spread=0.0, embedders=1):
    """Outcomes of 2 networks x prompts x seeds x embedders with known effects."""
    rng = np.random.default_rng(seed)
    rows = [
        (network, f"p{p}", f"{network}{p}-{s}", f"e{e}")
        for network in "AB" for p in range(prompts) for s in range(seeds) for e in range(embedders)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["network", "prompt", "run", "embedder"])
    by_prompt, by_run = rng.normal(0, prompt_spread, prompts), {r: rng.normal(0, run_spread) for r in frame.run}
    frame["entropy"] = (
        effect * (frame.network == "B")
        + by_prompt[frame.prompt.str[1:].astype(int)]
        + frame.run.map(by_run)
        + rng.normal(0, 0.8, len(frame))
    )
    return frame


def panel(seed, generators, captioners, prompts, runs, embedders=1, deviations=None):
    """An outcome that nothing decides: chance alone, with a standard deviation for each grouping that `deviations` names.

    The columns are those of the effects stage.
    """
    rng = np.random.default_rng(seed)
    cells = product(range(generators), range(captioners), range(prompts), range(runs), range(embedders))
    columns = ["generator", "captioner", "prompt", "run_id", "embedding_model"]
    frame = pd.DataFrame(list(cells), columns=columns).astype(str)
    frame["network"] = frame.generator + "-" + frame.captioner
    frame["run_id"] = frame.network + "/" + frame.prompt + "/" + frame.run_id
    frame["value"] = rng.normal(size=len(frame))
    for by, deviation in (deviations or {}).items():
        groups = frame.groupby(list(by), sort=False).ngroup().to_numpy()
        frame["value"] += rng.normal(0, deviation, groups.max() + 1)[groups]
    return frame
