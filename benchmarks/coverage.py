"""How often 95% intervals of the mixed model hold the truth: python -m benchmarks.coverage [simulations].

Two designs: networks on prompts, one measurement a run; and three embedding models that measure every run, with
interactions, a random intercept by prompt and by run within prompt. Prints a Markdown table.
"""

import sys
from typing import Any

import numpy as np

from panic_assets.statistics.mixed import fit
from panic_assets_tests.statistics.simulated import experiment

ONE: dict[str, Any] = {"data": {}, "effects": ["network"], "within": None}
THREE: dict[str, Any] = {
    "data": {"run_spread": 1.0, "embedders": 3},
    "effects": ["network", "embedder"],
    "within": "run",
}
DESIGNS = {"one measurement a run": ONE, "three embedders a run": THREE}


def main(simulations: int) -> None:
    """Coverage of a known effect, and how often an absent one (a whole term) is found at 5%."""
    print("| design | simulations | coverage | found though absent |\n|---|---|---|---|")
    for name, design in DESIGNS.items():
        inside, found = [], []
        for seed in range(simulations):
            there, absent = (
                fit(
                    experiment(seed, effect=e, **design["data"]),
                    "entropy",
                    design["effects"],
                    "prompt",
                    design["within"],
                )
                for e in (0.5, 0.0)
            )
            inside.append(there.estimates[1].low <= 0.5 <= there.estimates[1].high)
            found.append(absent.terms[0].p_value <= 0.05)
        print(f"| {name} | {simulations:,} | {np.mean(inside):.3f} | {np.mean(found):.3f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
