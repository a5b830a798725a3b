"""How often the mixed model finds an effect that is not there, and how often its 95% intervals hold the truth.

`python -m benchmarks.coverage [simulations]` prints a Markdown table, a row for each shape of a panel and each kind of
chance, with the random terms that the effects stage fits. Size is over all tests of terms, coverage over all effects.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from panic_assets.statistics.mixed import fit
from panic_assets.trajectories.runs.factors import random_terms
from panic_assets_tests.statistics.simulated import panel

PARTS = ["generator", "captioner"]
SHAPES: dict[str, tuple[dict[str, int], list[str]]] = {
    "9 networks x 4 prompts x 8 runs": ({"generators": 9, "captioners": 1, "prompts": 4, "runs": 8}, ["network"]),
    "2 x 2 parts x 4 prompts x 1 run": ({"generators": 2, "captioners": 2, "prompts": 4, "runs": 1}, PARTS),
    "36 networks x 2 prompts x 4 runs": ({"generators": 36, "captioners": 1, "prompts": 2, "runs": 4}, ["network"]),
    "2 x 2 parts x 25 prompts x 12 runs": ({"generators": 2, "captioners": 2, "prompts": 25, "runs": 12}, PARTS),
    "5 x 5 parts x 20 prompts x 4 runs": ({"generators": 5, "captioners": 5, "prompts": 20, "runs": 4}, PARTS),
    "3 x 3 parts x 4 prompts x 8 runs, 3 embedders": (
        {"generators": 3, "captioners": 3, "prompts": 4, "runs": 8, "embedders": 3},
        [*PARTS, "embedding_model"],
    ),
}
CHANCE: dict[str, Mapping[tuple[str, ...], float]] = {
    "runs alone": {("prompt",): 1.0, ("run_id",): 0.5},
    "prompt x network": {("prompt",): 1.0, ("prompt", "network"): 0.5, ("run_id",): 0.5},
    "prompt x generator": {("prompt",): 1.0, ("prompt", "generator"): 0.5, ("run_id",): 0.5},
}


def simulate(shape: Mapping[str, int], factors: list[str], chance: Mapping[tuple[str, ...], float], seed: int) -> Any:
    """(p-values of terms, whether each effect's interval holds 0) of one panel that nothing decides."""
    found = fit(panel(seed, **shape, deviations=chance), "value", factors, random_terms(factors))
    return [t.p_value for t in found.terms], [e.low <= 0 <= e.high for e in found.estimates[1:]]


def main(simulations: int) -> None:
    """Prints the table, with the standard error of each share over simulations."""
    print("| panel | chance | simulations | size at 5% | coverage of 95% |\n|---|---|---|---|---|")
    for name, (shape, factors) in SHAPES.items():
        for kind, chance in CHANCE.items():
            if kind == "prompt x generator" and shape["captioners"] == 1:
                continue  # The generator is the network.
            found = [simulate(shape, factors, chance, seed) for seed in range(simulations)]
            size = [np.mean(np.array(p) <= 0.05) for p, _ in found]
            coverage = [np.mean(held) for _, held in found]
            shown = [f"{100 * np.mean(x):.1f}% ± {100 * np.std(x) / np.sqrt(len(x)):.1f}" for x in (size, coverage)]
            print(f"| {name} | {kind} | {simulations:,} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
