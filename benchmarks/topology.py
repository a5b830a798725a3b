"""Persistent homology and distances of diagrams against other programs on the same inputs; some 8 minutes on 2 cores.

    python -m benchmarks.topology [--outputs 1000 2500 5000] [--positions 300 500 1000] [--seconds 45] [--diagrams 60]
                                  [--readme]

Inputs: captions of a synthetic wandering sentence, embedded by MiniLM (the extra `demo`), so that some repeat;
and random unit vectors in general position. Others run in a process of their own that is killed after `--seconds`
or 16 GB; who was killed is not tried with more of the same. `giotto-ph H2` is the call of the earlier system:
euclidean vectors, duplicates in, maxdim 2. Distances of diagrams are measured on `--diagrams` of 1,000 bars and
projected to 200. `--readme` writes the tables into benchmarks/README.md.
"""

import random
import time
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from benchmarks._report import Report, arguments
from panic_assets.compute.limited import limited
from panic_assets.statistics.distinct import distinct
from panic_assets.trajectories.topology.bar_distances import distances
from panic_assets.trajectories.topology.diagrams import budgeted, diagram

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
    from panic_assets.models.load import load
    from panic_assets.registry import registry

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


T = TypeVar("T")


def timed(function: Callable[..., T], *arguments: Any) -> tuple[float, T]:
    began = time.perf_counter()
    answer = function(*arguments)
    return time.perf_counter() - began, answer


def measured(name: str, *arguments: object) -> float:
    """Seconds of one of the functions above, without the start of the process it runs in."""
    function = globals()[name]
    function(np.eye(3), *arguments[1:])
    return timed(function, *arguments)[0]


OTHERS = {
    "giotto-ph H1": ("giotto", 1),
    "giotto-ph H2": ("giotto", 2),
    "ripser.py": ("ripser",),
    "GUDHI": ("gudhi",),
}


def others(vectors: np.ndarray, seconds: float, beaten: set[str]) -> list[str]:
    """Times of the other programs; '> limit' for those that were killed, which `beaten` remembers."""
    from benchmarks import topology as here  # by its own name, which a child process can import

    cells = []
    for program, (name, *options) in OTHERS.items():
        if program in beaten:
            cells.append("not tried")
            continue
        took = limited(here.measured, name, vectors, *options, seconds=seconds, memory=16e9)
        cells.append(f"{took:.2f}" if took is not None else f"> {seconds:.0f} s or 16 GB")
        if took is None:
            beaten.add(program)
    return cells


def homology(report: Report, outputs: list[int], positions: list[int], seconds: float) -> None:
    """Exact H1 here against the others."""
    diagram(np.random.default_rng(0).normal(size=(150, 2)))  # compile
    everything = embedded(captions(max(outputs)))
    kinds = {
        "captions": [(n, everything[:n]) for n in outputs],
        "random directions in 256 dimensions": [(n, directions(n)) for n in positions],
    }
    report.say(f"| cloud | distinct | H1 bars | exact H1 here, s | {', s | '.join(OTHERS)}, s |")
    report.say("|---|---|---|---|---|---|---|---|")
    for kind, clouds in kinds.items():
        beaten: set[str] = set()
        for n, vectors in clouds:
            took, bars = timed(diagram, vectors)
            cells = [f"{len(distinct(vectors).first):,}", f"{len(bars.of(1)):,}", f"{took:.2f}"]
            report.say(f"| {n:,} {kind} | {' | '.join(cells + others(vectors, seconds, beaten))} |")
    took, found = timed(lambda: budgeted(directions(1000), seconds=1))
    report.say(
        f"\n1,000 random directions within 1 s: {took:.1f} s, {len(found.rows)} landmarks, bottleneck error at most "
        f"{found.error_bound:.3f}\n"
    )


def directions(n: int) -> np.ndarray:
    """Random unit vectors."""
    vectors = np.random.default_rng(n).normal(size=(n, 256))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def between(report: Report, count: int) -> None:
    """Exact distances of diagrams of 1,000 bars, spread and crowded, on all cores."""
    rng = np.random.default_rng(0)
    kinds = {
        "births uniform in 0.4 to 1.3, lengths 0.04": (lambda: rng.uniform(0.4, 1.3, 1000), 0.04),
        "as H1 of captions: births normal, 0.8 +- 0.12, lengths 0.06": (lambda: rng.normal(0.8, 0.12, 1000), 0.06),
        "dense: births uniform in 0.4 to 1.3, lengths 0.3": (lambda: rng.uniform(0.4, 1.3, 1000), 0.3),
        "H0: all born at 0, deaths 0.8 +- 0.12": (lambda: np.zeros(1000), None),
    }
    report.say("| 1,000 bars each | exact 1-Wasserstein, ms a pair | exact bottleneck, ms | 200 diagrams, both, at this rate, min "
               "| GUDHI: Wasserstein to 1%, ms | bottleneck, ms |")  # fmt: skip
    report.say("|---|---|---|---|---|---|")
    for kind, (births, length) in kinds.items():
        some = []
        for _ in range(count):
            born = births()
            some.append(np.column_stack([born, born + rng.exponential(length, 1000) if length else crowd(rng)]))
        list(distances(combinations([d[:9] for d in some[:3]], 2)))  # compile
        pairs = list(combinations(some, 2))
        ours = (lambda p: distances(p, 1, 2)), (lambda p: distances(p, np.inf, np.inf))
        each = [milliseconds(distance, pairs) for distance in ours]
        theirs = [milliseconds(distance, pairs[:3]) for distance in (hera, bottleneck_of_gudhi)]
        minutes = sum(each) * 19_900 / 60_000
        report.say(f"| {kind} | {each[0]:.1f} | {each[1]:.1f} | {minutes:.1f} | {theirs[0]:.0f} | {theirs[1]:.0f} |")


def milliseconds(distance: Callable[[list], Iterable[float]], pairs: list) -> float:
    """Of each pair."""
    return 1e3 * timed(lambda: list(distance(pairs)))[0] / len(pairs)


def hera(pairs: list) -> list[float]:
    """1-Wasserstein by GUDHI's Hera, to 1%."""
    from gudhi.hera import wasserstein_distance

    return [wasserstein_distance(a, b, order=1, internal_p=2, delta=0.01) for a, b in pairs]


def bottleneck_of_gudhi(pairs: list) -> list[float]:
    """Exact bottleneck distances by GUDHI."""
    from gudhi import bottleneck_distance

    return [bottleneck_distance(a, b) for a, b in pairs]


def crowd(rng: np.random.Generator) -> np.ndarray:
    """Deaths of H0."""
    return rng.normal(0.8, 0.12, 1000)


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--outputs", type=int, nargs="+", default=[1000, 2500, 5000])
    options.add_argument("--positions", type=int, nargs="+", default=[300, 500, 1000])
    options.add_argument("--seconds", type=float, default=45)
    options.add_argument("--diagrams", type=int, default=60)
    asked = options.parse_args()
    report = Report("topology")
    homology(report, asked.outputs, asked.positions, asked.seconds)
    between(report, asked.diagrams)
    if asked.readme:
        report.publish()


if __name__ == "__main__":
    main()
