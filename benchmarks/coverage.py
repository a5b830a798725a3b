"""How often 95% intervals of the mixed model hold the truth: python -m benchmarks.coverage [simulations]."""

import sys

from panic_assets.statistics.mixed import fit
from panic_assets_tests.statistics.simulated import experiment


def main(simulations: int) -> None:
    """Prints coverage of a known effect, and how often an absent one is found at 5%."""
    inside = wrong = 0
    for seed in range(simulations):
        estimate = fit(experiment(seed), "entropy", ["network"], "prompt").estimates[1]
        inside += estimate.low <= 0.5 <= estimate.high
        wrong += fit(experiment(seed, effect=0.0), "entropy", ["network"], "prompt").terms[0].p_value <= 0.05
    print(f"coverage {inside / simulations:.3f}  false findings {wrong / simulations:.3f}  simulations {simulations}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
