"""What training and analysing modular-addition transformers costs, and what a tick over 10,000 files does.

    python -m benchmarks.grokking [--quick]

Prints Markdown tables. On a CPU, times are CPU seconds of one thread, which other work on the machine hardly moves;
where a GPU is at hand, the trainer is timed there too, in wall clock.
"""

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save

from panic_assets.grokking import lissajous, pca
from panic_assets.grokking.analysis import arrays, load, measure
from panic_assets.grokking.model import Shape, initial, split
from panic_assets.grokking.recipe import Recipe
from panic_assets.grokking.trainer import Variant, checkpoint_name, train
from panic_assets.training.watch import Cursor, Registered, Watch, tick
from panic_assets_tests.grokking.plain import plain_train


def spent(action, clock=time.process_time):
    """Seconds of CPU time (or of another clock)."""
    began = clock()
    action()
    return clock() - began


def ours(p, steps, lanes, device="cpu", clock=time.process_time):
    """Seconds a step and variant of the trainer, losses of every epoch included."""
    with tempfile.TemporaryDirectory() as folder:
        variants = [
            Variant(Recipe(p, seed, seed, epochs=steps), Path(folder) / str(seed), frozenset()) for seed in range(lanes)
        ]
        return spent(lambda: [None for _ in train(variants, device, safe_every=1e9)], clock) / (steps * lanes)


def plain(p, steps):
    """Seconds a step of the textbook loop, losses of every epoch included."""
    train_pairs, test_pairs = split(p, 0.3, 598)
    weights = initial(Shape(p), 999)
    return spent(lambda: plain_train(weights, p, train_pairs, test_pairs, steps)) / steps


def trainer(quick):
    torch.set_num_threads(1)
    print("| p | textbook loop, steps/s | trainer, one variant | eight in one vmapped batch, together | speed-up |")
    print("|---|---|---|---|---|")
    for p, steps in ((31, 100), (113, 12)):
        steps = steps // 4 if quick else steps
        plain(p, 2), ours(p, 2, 1)
        textbook, one, eight = plain(p, steps), ours(p, steps, 1), ours(p, max(steps // 4, 2), 8)
        print(f"| {p} | {1 / textbook:.1f} | {1 / one:.1f} | {1 / eight:.1f} | {textbook / min(one, eight):.1f}x |")
    if torch.cuda.is_available():
        print("\n| p, on a GPU | one | 8 | 64 |\n|---|---|---|---|")
        for p in (31, 113):
            ours(p, 20, 1, "cuda", time.perf_counter)
            rates = [1 / ours(p, 200, lanes, "cuda", time.perf_counter) for lanes in (1, 8, 64)]
            print(f"| {p} | " + " | ".join(f"{r:,.0f}" for r in rates) + " |")


def analyses(quick):
    count, p = (10, 113) if quick else (100, 113)
    recipe = Recipe(p, 999, 598)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i in range(count):
            path = Path(folder) / checkpoint_name(i)
            path.write_bytes(save({n: t * (1 + i / count) for n, t in initial(Shape(p), 999 + i % 3).items()}))
            paths.append(path)
        measure(load(paths[0]), recipe)
        each = [spent(lambda path=path: measure(load(path), recipe)) for path in paths]
        loaded = []
        reading = spent(lambda: loaded.extend(arrays(load(path)) for path in paths))
        grams = {}
        gram = spent(lambda: grams.update(pca.grams(loaded)))
        rows = spent(lambda: [pca.of_rows(r) for m in loaded for r in pca.token_rows(m).values()])
        total = pca.group_gram(grams, "all")
        size = sum(m.size for m in loaded[0].values())
        nulls = 4 * spent(lambda: lissajous.against_nulls(total, size, 50 if quick else 200))
    first, last = sum(each[: count // 2]), sum(each[count // 2 :])
    print(f"\n| {count} checkpoints of p={p} | CPU seconds |\n|---|---|")
    print(f"| spectra, neurons, rings, losses | {sum(each):.1f} |")
    print(f"| a checkpoint of the first half, of the second | {2 * first / count:.2f}, {2 * last / count:.2f} |")
    print(f"| reading, Gram matrices, rows' components | {reading:.1f}, {gram:.1f}, {rows:.1f} |")
    print(f"| nulls of four groups | {nulls:.1f} |")
    print(f"| all | {sum(each) + reading + gram + rows + nulls:.1f} |")


def ticks():
    with tempfile.TemporaryDirectory() as folder:
        known = []
        for i in range(10_000):
            path = Path(folder) / f"hair-{i:06d}.safetensors"
            path.touch()
            stat = path.stat()
            known.append(Registered("hair", i, 1, str(path), stat.st_size, stat.st_mtime_ns, "hash"))
        watch = Watch("finetune", folder)
        first = spent(lambda: tick(watch, Cursor(), []))
        quiet = spent(lambda: tick(watch, Cursor(), known))
    print("\n| a tick over 10,000 files | CPU seconds |\n|---|---|")
    print(f"| all new: looked at | {first:.2f} |\n| all registered | {quiet:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    given = parser.parse_args()
    with contextlib.suppress(OSError):
        os.nice(5)
    trainer(given.quick)
    analyses(given.quick)
    ticks()
