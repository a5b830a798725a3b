"""What training and analysing modular-addition transformers costs, and what a tick over 10,000 files does.

    python -m benchmarks.grokking [--quick]

Prints Markdown tables. Single loops are timed in CPU seconds of one thread, which other work on the machine moves
little; eight variants at once, and a GPU where there is one, in wall clock: run these on an idle machine. The textbook
loop (`panic_assets_tests/grokking/learning/plain.py`) is plain PyTorch: three positions through attention and MLP, the last one
unembedded, `torch.optim.AdamW` as it comes; like the trainer it measures the test loss at every epoch.
"""

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import torch
from safetensors.torch import save

from panic_assets.compute.local import LocalCompute
from panic_assets.compute.protocol import Needs
from panic_assets.grokking import stages
from panic_assets.grokking.config import RunConfig
from panic_assets.grokking.learning.model import Shape, initial, split
from panic_assets.grokking.learning.recipe import Recipe
from panic_assets.grokking.learning.trainer import Variant, checkpoint_name, train
from panic_assets.grokking.stages import Task, train_task
from panic_assets.instance.home import open_instance
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.training import runs
from panic_assets.training.sensors import checkpoint_files
from panic_assets.training.stages import register_checkpoints
from panic_assets_tests.grokking.learning.plain import plain_train

Clock = Callable[[], float]


EACH = 4
"""How many single checkpoints arrive, one after another, for a mean."""


def spent(action: Callable[[], object], clock: Clock = time.process_time) -> float:
    """Seconds of CPU time (or of another clock)."""
    began = clock()
    action()
    return clock() - began


def ours(p: int, steps: int, lanes: int, device: str = "cpu", clock: Clock = time.process_time) -> float:
    """Seconds a step and variant of the trainer, losses of every epoch included."""
    with tempfile.TemporaryDirectory() as folder:
        variants = [
            Variant(Recipe(p, seed, seed, epochs=steps), Path(folder) / str(seed), frozenset()) for seed in range(lanes)
        ]
        return spent(lambda: [None for _ in train(variants, device, safe_every=1e9)], clock) / (steps * lanes)


def plain(p: int, steps: int, clock: Clock = time.process_time) -> float:
    """Seconds a step of the textbook loop, losses of every epoch included."""
    train_pairs, test_pairs = split(p, 0.3, 598)
    weights = initial(Shape(p), 999)
    return spent(lambda: plain_train(weights, p, train_pairs, test_pairs, steps), clock) / steps


def beside(p: int, steps: int, lanes: int) -> float:
    """Wall-clock seconds a step and variant of eight variants as a sweep trains them: each alone, in worker processes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(LocalCompute()) as compute:

        def sweep(name: str, epochs: int) -> None:
            tasks = [
                Task((Recipe(p, seed, seed, epochs=epochs),), (str(Path(folder) / f"{name}{seed}"),), ())
                for seed in range(lanes)
            ]
            for _ in compute.stream(train_task, tasks, Needs(memory_gb=2.0)):
                pass

        sweep("warm", 1)  # workers start once a sweep; 25,000 epochs forget it
        return spent(lambda: sweep("timed", steps), time.perf_counter) / (steps * lanes)


def trainer(quick: bool) -> None:
    cores = torch.get_num_threads()
    sizes = [(31, 25), (113, 4)] if quick else [(31, 100), (113, 12)]
    print("| one variant, one thread | textbook loop, steps/s | trainer, steps/s | speed-up |\n|---|---|---|---|")
    torch.set_num_threads(1)
    for p, steps in sizes:
        plain(p, 2), ours(p, 2, 1)
        rounds = [(plain(p, steps), ours(p, steps, 1)) for _ in range(3)]
        textbook, one = map(min, zip(*rounds, strict=True))
        print(f"| p={p} | {1 / textbook:.1f} | {1 / one:.1f} | {textbook / one:.1f}x |")
    print(f"\n| eight variants, {cores} cores, wall clock | textbook loop, all threads | trainer | speed-up |")
    print("|---|---|---|---|")
    for p, steps in sizes:
        torch.set_num_threads(cores)
        plain(p, 2)
        textbook = plain(p, 2 * steps, time.perf_counter)  # one after another: as fast as one
        torch.set_num_threads(1)
        eight = beside(p, steps, 8)
        print(f"| p={p} | {1 / textbook:.1f} | {1 / eight:.1f} | {textbook / eight:.1f}x |")
    if torch.cuda.is_available():
        print("\n| p, on a GPU | one | 8 | 64 |\n|---|---|---|---|")
        for p in (31, 113):
            ours(p, 20, 1, "cuda", time.perf_counter)
            rates = [1 / ours(p, 200, lanes, "cuda", time.perf_counter) for lanes in (1, 8, 64)]
            print(f"| {p} | " + " | ".join(f"{r:,.0f}" for r in rates) + " |")


class Silent:
    """Watches nothing."""

    def stage(self, *_: object) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        return contextlib.nullcontext(lambda count: None)


def analyses(quick: bool) -> None:
    """The stages themselves, rows written included, on checkpoints that wander as those of training: many at once, and
    one more when there are some already (the mean of a few: files are merged now and then)."""
    p, sizes = 113, (5, 10) if quick else (25, 50, 100, 200)
    counted = sizes[-2]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PANIC_HOME"] = folder
        lake, run = open_lake(home().lake), RunConfig("bench", Recipe(p, 999, 598), ())
        stages.register(lake, run)
        runs.change(lake, run.name, status="finished")
        stages.folder(run.name).mkdir(parents=True)
        weights, random, written = initial(Shape(p), 999), torch.Generator().manual_seed(0), 0

        def arrive(count: int) -> list[float]:
            """CPU seconds of each stage for that many new checkpoints."""
            nonlocal weights, written
            for _ in range(count):
                steps = {n: torch.randn(t.shape, generator=random, dtype=t.dtype) for n, t in weights.items()}
                weights = {n: t + 0.01 * steps[n] for n, t in weights.items()}
                (stages.folder(run.name) / checkpoint_name(written)).write_bytes(save(weights))
                written += 1
            return [
                spent(lambda: register_checkpoints(lake, run.name, settle_seconds=0)),
                spent(lambda: stages.measure(lake, Silent(), lambda: None, run.name)),
                spent(lambda: stages.frequencies(lake, run.name)),
                spent(lambda: stages.trajectories(lake, Silent(), run.name)),
                spent(lambda: stages.conclude(lake, run.name)),
            ]

        stages.trajectories(lake, Silent(), run.name)
        bulk, single = [], []
        for size in sizes:
            bulk.append(arrive(size - EACH - written))
            rounds = [arrive(1) for _ in range(EACH)]
            single.append([sum(stage) / EACH for stage in zip(*rounds, strict=True)])
    names = ("found and registered", "itself", "frequencies", "path, components and nulls", "conclusions")
    print(f"\n| one more checkpoint of p={p}, CPU seconds, as number | {' | '.join(map(str, sizes))} |")
    print("|---" * (1 + len(sizes)) + "|")
    for i, name in enumerate(names):
        print(f"| {name} | {' | '.join(f'{found[i]:.2f}' for found in single)} |")
    print(f"| all | {' | '.join(f'{sum(found):.2f}' for found in single)} |")
    until = sizes.index(counted) + 1
    total = sum(map(sum, bulk[:until])) + EACH * sum(map(sum, single[:until]))
    print(f"\nAll analyses of {counted} checkpoints, in {(1 + EACH) * until} rounds: {total:.1f} CPU seconds.")


def ticks(quick: bool) -> None:
    """The checkpoint sensor itself, on files of 80 bytes: what it costs by their number."""
    count = 1000 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PANIC_HOME"] = folder
        files = Path(folder) / "files"
        files.mkdir()
        for i in range(count):
            (files / f"hair-{i:06d}.safetensors").write_bytes(save({"w": torch.tensor(float(i))}))
        watched = {"watch": [{"family": "finetune", "url": str(files), "epochs": 2 * count}]}
        (Path(folder) / "training.yaml").write_text(json.dumps(watched))
        cursor, times = None, []
        with open_instance(home()) as instance:
            for _ in range(4):
                context = dg.build_sensor_context(instance, cursor=cursor, resources={"lake": LakeResource()})
                began = time.process_time()
                found = checkpoint_files(context)
                times.append(time.process_time() - began)
                cursor = found.cursor if isinstance(found, dg.SensorResult) else context.cursor
    print(f"\n| a tick of the sensor over {count:,} files | CPU seconds |\n|---|---|")
    print(f"| all new: waits for them to stand still | {times[0]:.2f} |")
    print(f"| reads, hashes and registers all of them, once | {times[1]:.2f} |")
    print(f"| all registered | {min(times[2:]):.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    given = parser.parse_args()
    with contextlib.suppress(OSError):
        os.nice(5)
    trainer(given.quick)
    analyses(given.quick)
    ticks(given.quick)
