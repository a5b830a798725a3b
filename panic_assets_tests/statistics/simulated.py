"""Experiments with known effects, for the tests and for benchmarks/coverage.py."""

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
