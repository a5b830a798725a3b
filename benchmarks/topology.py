"""Persistent homology and distances of diagrams against other programs on the same inputs.

    python -m benchmarks.topology [--outputs 1000 2500 5000] [--seconds 150] [--diagrams 10]

Inputs: captions of a synthetic wandering sentence, embedded by MiniLM (the extra `demo`), so that some repeat;
and random unit vectors in general position. Others run in a process of their own that is killed after
`--seconds`. `giotto-ph as usually called` gets euclidean vectors with duplicates in. Prints Markdown tables.
"""

import argparse
import random
import time
from itertools import combinations

import numpy as np

from panic_assets.trajectories.bar_distances import wasserstein
from panic_assets.trajectories.diagrams import budgeted, diagram
from panic_assets.trajectories.distinct import distinct
from panic_assets.trajectories.limited import limited

SLOTS = [
    "a photo of|a painting of|a close up of|an illustration of|a black and white picture of|",
    "red|blue|old|tiny|bright|dark|wooden|golden|blurry|smiling|green|ancient|broken|floating|frozen|quiet|neon|faded",
    "cat|dog|woman|man|street|bridge|car|tree|house|mountain|lake|robot|bowl|table|horse|painting|sign|clock|bird|boat",
    "sitting on|standing near|looking at|holding|covered with|surrounded by|in front of|flying over|next to",
    "red|blue|old|tiny|bright|dark|wooden|golden|blurry|smiling|green|ancient|broken|floating|frozen|quiet|neon|faded",
    "cat|dog|woman|man|street|bridge|car|tree|house|mountain|lake|robot|bowl|table|horse|painting|sign|clock|bird|boat",
    "at night|in the snow|with a sunset|in a city|on a beach|in a forest|under a cloudy sky|in a museum|with flowers|",
]


def captions(count: int) -> list[str]:
    """A sentence that changes a word or two at a time, or not at all: a bit more than half are distinct."""
    rng = random.Random(1)
    slots = [slot.split("|") for slot in SLOTS]
    words = [rng.choice(slot) for slot in slots]
    found = []
    for _ in range(count):
        changes = rng.choices([0, 1, 2], [0.4, 0.42, 0.18])[0]
        for _ in range(changes):
            k = rng.randrange(len(slots))
            words[k] = rng.choice(slots[k])
        found.append(" ".join(words))
    return found


def embedded(sentences: list[str]) -> np.ndarray:
    """Each distinct sentence once, as the platform does."""
    from panic_assets.models import registry
    from panic_assets.models.load import load

    once = sorted(set(sentences))
    vectors = dict(zip(once, load(registry.get("MiniLM")).embed(once), strict=True))
    return np.array([vectors[s] for s in sentences], dtype=np.float32)


def giotto(vectors: np.ndarray, maxdim: int) -> int:
    """giotto-ph as it is usually called."""
    from gph import ripser_parallel

    return len(ripser_parallel(vectors, maxdim=maxdim, n_threads=-1)["dgms"][1])


def ripser(vectors: np.ndarray) -> int:
    """ripser.py."""
    from ripser import ripser as compute

    return len(compute(vectors, maxdim=1)["dgms"][1])


def gudhi(vectors: np.ndarray) -> int:
    """GUDHI, with the edges collapsed first, as its manual advises."""
    from gudhi import RipsComplex

    tree = RipsComplex(points=vectors).create_simplex_tree(max_dimension=1)
    tree.collapse_edges()
    tree.expansion(2)
    tree.compute_persistence()
    return len(tree.persistence_intervals_in_dimension(1))


def timed(function, *arguments) -> tuple[float, object]:
    began = time.perf_counter()
    answer = function(*arguments)
    return time.perf_counter() - began, answer


def measured(name: str, *arguments: object) -> float:
    """Seconds of one of the functions above, without the start of the process it runs in."""
    function = globals()[name]
    function(np.eye(3), *arguments[1:])
    return timed(function, *arguments)[0]


def others(vectors: np.ndarray, seconds: float) -> list[str]:
    """Times of the other programs; '> limit' for those that were killed."""
    from benchmarks import topology as here  # by its own name, which a child process can import

    cells = []
    for name, *arguments in (("giotto", 1), ("giotto", 2), ("ripser",), ("gudhi",)):
        took = limited(here.measured, name, vectors, *arguments, seconds=seconds, memory=16e9)
        cells.append(f"{took:.2f}" if took is not None else f"> {seconds:.0f} s or 16 GB")
    return cells


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--outputs", type=int, nargs="+", default=[1000, 2500, 5000])
    options.add_argument("--positions", type=int, nargs="+", default=[300, 500, 1000])
    options.add_argument("--seconds", type=float, default=150)
    options.add_argument("--diagrams", type=int, default=10)
    asked = options.parse_args()
    diagram(np.random.default_rng(0).normal(size=(150, 2)))  # compile
    everything = embedded(captions(max(asked.outputs)))
    clouds = [(f"{n:,} captions", everything[:n]) for n in asked.outputs]
    for n in asked.positions:
        vectors = np.random.default_rng(n).normal(size=(n, 256))
        clouds.append((f"{n:,} random directions", vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    print("| cloud | distinct | here, s | H1 bars | giotto-ph H1, s | giotto-ph H2, s | ripser.py, s | GUDHI, s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, vectors in clouds:
        took, bars = timed(diagram, vectors)
        cells = [f"{took:.2f}", str(len(bars.of(1))), *others(vectors, asked.seconds)]
        print(f"| {name} | {len(distinct(vectors).first):,} | {' | '.join(cells)} |", flush=True)
    took, found = timed(lambda: budgeted(clouds[-1][1], seconds=1))
    print(
        f"\n{clouds[-1][0]} within 1 s: {took:.1f} s, {len(found.rows)} points, error at most {found.error_bound:.3f}\n"
    )

    rng = np.random.default_rng(0)
    births = [rng.uniform(0.4, 1.3, 1000) for _ in range(asked.diagrams)]
    diagrams = [np.column_stack([b, b + rng.exponential(0.04, 1000)]) for b in births]
    wasserstein(diagrams[0][:9], diagrams[1][:9])
    took, _ = timed(lambda: [wasserstein(a, b) for a, b in combinations(diagrams, 2)])
    each = took / (asked.diagrams * (asked.diagrams - 1) / 2)
    print(f"1-Wasserstein, 1,000 bars each: {1e3 * each:.1f} ms a pair; 200 diagrams: {each * 19900 / 60:.1f} minutes")


if __name__ == "__main__":
    main()
