"""How often tests find what is not there, and how often 95% intervals hold the truth, at the shapes that people run.

    python -m benchmarks.calibration [--replicates 1000] [--only WORDS] [--readme]

Each row calls a statistic's own function on simulated tables. What was simulated is kept in `build/calibration.json`, so
that an interrupted run goes on; remove the file to begin again. The error is two standard errors of the simulation. A
test's size should be 0.05 and an interval's coverage 0.95; a size far below says that the test is cautious.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import Report, arguments
from panic_assets.models.walks import RandomWalk
from panic_assets.registry import registry
from panic_assets.statistics.contrasts import contrast
from panic_assets.statistics.nulls import pooled, standings
from panic_assets.statistics.streams import stream
from panic_assets.statistics.surrogates import gaussian
from panic_assets.trajectories.clusters.markov import chapman_kolmogorov
from panic_assets.trajectories.motion import nulls as motion
from panic_assets.trajectories.motion.divergence import diverge
from panic_assets.trajectories.topology.diagrams import summary
from panic_assets.trajectories.topology.homology import Homology, diagram_of

KEPT = Path("build/calibration.json")
TIMES = np.arange(50.0)
CHAIN = np.array([[0.8, 0.1, 0.05, 0.05], [0.1, 0.7, 0.1, 0.1], [0.05, 0.15, 0.75, 0.05], [0.02, 0.08, 0.1, 0.8]])


@dataclass(frozen=True)
class Row:
    """One thing that is calibrated. `one(seed)` says of each test whether it rejects, or of an interval whether it holds."""

    what: str
    shape: str
    kind: str
    one: Callable[[int], dict[str, bool]]
    most: int = 1000
    """Replicates of what is dear."""


def normal(n: int, dimension: int, power: float, mean: float | None) -> Callable[[np.random.Generator], np.ndarray]:
    """Normal points whose variances fall by a power; on the sphere around a mean of this length, unless it is None."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        scale = np.arange(1, dimension + 1) ** -power
        points = rng.normal(size=(n, dimension)) * scale / np.linalg.norm(scale)
        if mean is None:
            return points
        points[:, -1] += mean
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    return draw


def gaussian_null(draw: Callable[[np.random.Generator], np.ndarray]) -> Callable[[int], dict[str, bool]]:
    """Whether each of the six statistics of topology rejects normal points, by the Gaussian null."""

    def one(seed: int) -> dict[str, bool]:
        rng = np.random.default_rng([1, seed])
        points = draw(rng)
        stood = standings(six(points), [six(gaussian(points, rng)) for _ in range(39)])
        return {name: found.p_value <= 0.05 for name, found in stood}

    return one


def six(points: np.ndarray) -> dict[str, float]:
    """The statistics of topology that are compared with chance."""
    named = {"entropy": "entropy", "total_persistence": "total_persistence", "max_persistence": "maximal_persistence"}
    bars = diagram_of(points, Homology()).bars
    return {f"{name} H{r.dimension}": getattr(r, field) for r in summary(bars) for name, field in named.items()}


def pooled_walks(runs: int, outputs: int) -> Callable[[int], dict[str, bool]]:
    """Whether pooled runs that are free walks from one start differ from free walks."""

    def one(seed: int) -> dict[str, bool]:
        rng = np.random.default_rng([2, seed])
        found: dict[str, list[float]] = {}
        for run in range(runs):
            walk = np.cumsum(rng.normal(size=(outputs, 8)), axis=0)
            for row in motion.against_chance(walk - walk[0], None, 39, stream(0, str(seed), str(run))):
                if row["null_model"] == "random walk":
                    found.setdefault(row["statistic"], []).append(row["percentile"])
        return {name: pooled(np.array(values), 39) <= 0.05 for name, values in found.items()}

    return one


def contrasted(prompts: int, each: int, spread: tuple[float, float] = (1.0, 1.0)) -> Callable[[int], dict[str, bool]]:
    """Whether two equal networks are said to differ, and whether an interval misses their difference."""

    def one(seed: int) -> dict[str, bool]:
        rng = np.random.default_rng([3, seed])
        prompt = np.tile(np.repeat(np.arange(prompts), each), 2)
        first = np.arange(len(prompt)) < len(prompt) // 2
        values = 5 * rng.normal(size=prompts)[prompt] + np.where(first, *spread) * rng.normal(size=len(prompt))
        found = contrast(values, first, prompt.tolist(), seed=seed)
        return {"p_value": found.p_value <= 0.05, "interval": found.low <= 0 <= found.high}

    return one


def of(one: Callable[[int], dict[str, bool]], name: str) -> Callable[[int], dict[str, bool]]:
    """One result of several."""
    return lambda seed: {name: one(seed)[name]}


def markov(runs: int, outputs: int, lag: int = 1) -> Callable[[int], dict[str, bool]]:
    """Whether a true chain of four states is rejected."""

    def one(seed: int) -> dict[str, bool]:
        rng = np.random.default_rng([4, seed])
        below = np.cumsum(CHAIN, axis=1)
        walks = np.zeros((runs, outputs), dtype=np.int64)
        walks[:, 0] = rng.integers(4, size=runs)
        for t in range(1, outputs):
            walks[:, t] = (rng.random(runs)[:, None] > below[walks[:, t - 1]]).sum(axis=1)
        return {"chapman_kolmogorov_p": chapman_kolmogorov(list(walks), lag, seed=seed).p_value <= 0.05}

    return one


def relaxing(runs: int) -> Callable[[int], dict[str, bool]]:
    """Whether tau's interval holds that of the mean curve of very many pairs, where every run has a pace of its own."""

    def curves(paces: np.ndarray) -> np.ndarray:
        return 1.3 - 1.1 * np.exp(-TIMES / (10 * np.exp(paces))[:, None])

    many = 0.2 * np.sqrt(2) * np.random.default_rng(0).normal(size=100_000)
    truth = float(diverge(curves(many).mean(axis=0)[None]).tau)
    pairs = np.array(list(combinations(range(runs), 2)))

    def one(seed: int) -> dict[str, bool]:
        rng = np.random.default_rng([5, seed])
        paces = 0.2 * rng.normal(size=runs)
        distances = curves(paces[pairs].sum(axis=1)) + 0.02 * rng.normal(size=(len(pairs), len(TIMES)))
        found = diverge(distances, pairs)
        return {"tau": found.tau_low <= truth <= found.tau_high}

    return one


def alarms(name: str, runs: int) -> Callable[[int], dict[str, bool]]:
    """Whether a control is said to grow or relax."""
    control = RandomWalk(registry.get(name))
    pairs = list(combinations(range(runs), 2))

    def one(seed: int) -> dict[str, bool]:
        walks = [control.walk(f"{seed}/{run}", len(TIMES)) for run in range(runs)]
        found = diverge(np.array([np.linalg.norm(walks[a] - walks[b], axis=1) for a, b in pairs]), np.array(pairs))
        return {"verdict": found.verdict in ("growth", "relaxation")}

    return one


ROWS = (
    Row("Gaussian null", "100 x 384, free, equal variances", "size", gaussian_null(normal(100, 384, 0, None)), 200),
    Row("Gaussian null", "100 x 384, free, variances 1/k", "size", gaussian_null(normal(100, 384, 0.5, None)), 200),
    Row(
        "Gaussian null", "50 x 384, sphere, mean 1, variances 1/k", "size", gaussian_null(normal(50, 384, 0.5, 1)), 200
    ),
    Row(
        "Gaussian null", "50 x 384, sphere, mean 0, variances 1/k", "size", gaussian_null(normal(50, 384, 0.5, 0)), 200
    ),
    Row("pooled walks", "20 runs x 50", "size", pooled_walks(20, 50), 200),
    Row("contrast", "2 networks x 4 prompts x 8", "size", of(contrasted(4, 8), "p_value")),
    Row("contrast", "2 networks x 4 prompts x 8", "coverage", of(contrasted(4, 8), "interval")),
    Row("contrast", "2 networks x 4 prompts x 2", "size", of(contrasted(4, 2), "p_value")),
    Row("contrast", "2 networks x 4 prompts x 2", "coverage", of(contrasted(4, 2), "interval")),
    Row("contrast", "2 networks x 20 prompts x 4, spread 1 and 3", "size", of(contrasted(20, 4, (1, 3)), "p_value")),
    Row(
        "contrast", "2 networks x 20 prompts x 4, spread 1 and 3", "coverage", of(contrasted(20, 4, (1, 3)), "interval")
    ),
    Row("contrast", "2 networks x 25 prompts x 12", "coverage", of(contrasted(25, 12), "interval")),
    Row("contrast", "2 networks x 4 prompts x 1 (pairs)", "coverage", of(contrasted(4, 1), "interval")),
    Row("Chapman-Kolmogorov", "8 runs x 50", "size", markov(8, 50)),
    Row("Chapman-Kolmogorov", "30 runs x 50", "size", markov(30, 50), 400),
    Row("Chapman-Kolmogorov", "8 runs x 100, lag 4", "size", markov(8, 100, 4)),
    Row("divergence", "4 runs, 6 pairs", "coverage", relaxing(4)),
    Row("divergence", "5 runs, 10 pairs", "coverage", relaxing(5)),
    Row("divergence", "8 runs, 28 pairs", "coverage", relaxing(8), 500),
    Row("control RandomWalk", "2 runs, 1 pair", "alarms", alarms("RandomWalk", 2)),
    Row("control RandomWalk", "8 runs, 28 pairs", "alarms", alarms("RandomWalk", 8), 400),
    Row("control RandomWalk90", "8 runs, 28 pairs", "alarms", alarms("RandomWalk90", 8), 400),
)


def simulated(row: Row, replicates: int, kept: dict[str, Any]) -> dict[str, float]:
    """The share of each of a row's results, over the replicates; what is kept is not simulated again."""
    found = kept.setdefault(f"{row.what}, {row.shape}, {row.kind}", [])
    for seed in range(len(found), min(replicates, row.most)):
        found.append({name: bool(value) for name, value in row.one(seed).items()})
    names = {name: None for one in found for name in one}
    return {name: float(np.mean([one[name] for one in found if name in one])) for name in names}


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--replicates", type=int, default=1000)
    options.add_argument("--only", default="", help="rows whose name has these words")
    asked: argparse.Namespace = options.parse_args()
    KEPT.parent.mkdir(exist_ok=True)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    report = Report("calibration")
    report.say("| what | simulated | measured | share | error | replicates |\n|---|---|---|---|---|---|")
    for row in ROWS:
        if asked.only not in row.what:
            continue
        shares = simulated(row, asked.replicates, kept)
        count = len(kept[f"{row.what}, {row.shape}, {row.kind}"])
        for name, share in shares.items():
            error = 2 * np.sqrt(max(share * (1 - share), 1 / count) / count)
            report.say(f"| {row.what}: {name} | {row.shape} | {row.kind} | {share:.3f} | {error:.3f} | {count:,} |")
        written = KEPT.with_suffix(".new")
        written.write_text(json.dumps(kept))
        os.replace(written, KEPT)
    if asked.readme:
        report.publish()


if __name__ == "__main__":
    main()
