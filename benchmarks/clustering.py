"""Clustering at the size of a large experiment, and one long run from embeddings to statistics.

    python -m benchmarks.clustering [--vectors 20000] [--dimension 768] [--hdbscan N] [--steps 5000] [--readme]

The published size is 141,600 x 768 (`--vectors 141600`). Vectors are noisy members of a few hundred directions.
Prints a Markdown table; `--readme` writes it into benchmarks/README.md. Memory is the most that was resident so far.
"""

import resource
import time

import numpy as np

from benchmarks._report import Report, arguments
from panic_assets.trajectories.clusters.clustering import cluster
from panic_assets.trajectories.clusters.layers import layers
from panic_assets.trajectories.clusters.stability import assign
from panic_assets.trajectories.motion.summary import displacements, exponent_of, summarise
from panic_assets.trajectories.runs.walked import Walked
from panic_assets.trajectories.topology.diagrams import budgeted, summary


def cloud(count: int, dimension: int, groups: int = 300) -> np.ndarray:
    """Unit vectors around `groups` directions, a fifth of them around none."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(groups, dimension)).astype(np.float32)
    vectors = rng.normal(size=(count, dimension)).astype(np.float32)
    member = rng.random(count) < 0.8
    vectors[member] = centres[rng.integers(groups, size=int(member.sum()))] + 0.6 * vectors[member]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--vectors", type=int, default=20_000)
    options.add_argument("--dimension", type=int, default=768)
    options.add_argument("--hdbscan", type=int, help="as many as --vectors")
    options.add_argument("--steps", type=int, default=5_000)
    asked = options.parse_args()
    report = Report("clustering")
    report.say("| what | vectors | seconds | memory, GB | result |")
    report.say("|---|---|---|---|---|")

    def row(what: str, count: int, began: float, result: str) -> None:
        took, most = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        report.say(f"| {what} | {count:,} x {asked.dimension} | {took:.1f} | {most:.1f} | {result} |")

    layers(cloud(200, 16))  # compile
    vectors = cloud(asked.vectors, asked.dimension)
    began = time.perf_counter()
    found = layers(vectors)
    row("EVoC layers", len(vectors), began, ", ".join(f"{len(p.sizes)} clusters" for p in found))
    began = time.perf_counter()
    labels = assign(vectors[:1000], vectors, found[0].labels)
    row("assigning 1,000 more", len(vectors), began, f"{(labels >= 0).mean():.2f} joined")
    some = vectors[: asked.hdbscan or asked.vectors]
    began = time.perf_counter()
    clusters = len(cluster(some).sizes)
    row("HDBSCAN", len(some), began, f"{clusters} clusters")

    rng = np.random.default_rng(1)
    walk = cloud(asked.steps, asked.dimension)[rng.integers(asked.steps * 6 // 10, size=asked.steps)]
    one = Walked({"stop_reason": "length"}, [""] * asked.steps, np.arange(asked.steps), walk)
    began = time.perf_counter()
    diagram = budgeted(walk)
    entropies = ", ".join(f"H{r.dimension} entropy {r.entropy:.3f}" for r in summary(diagram.bars))
    row("diagram of one long run", asked.steps, began, f"{entropies}, error at most {diagram.error_bound:.3g}")
    began = time.perf_counter()
    exponent = exponent_of(*displacements(walk))
    motion, _, jumps = summarise(one, walk[0], None, exponent, rng)
    row("its motion", asked.steps, began, f"memory {motion['autocorrelation_time']:.1f}, {len(jumps)} changes")
    if asked.readme:
        report.publish()


if __name__ == "__main__":
    main()
