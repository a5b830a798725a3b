"""What Ray under the step costs per batch, and how much faster two nodes are than one.

    python -m benchmarks.ray_scaling        (from the root of the project; two free cores, about six minutes)

Prints Markdown tables. The two nodes are on this machine, with one core each, so two plain processes are timed
as well: what they lose against one process is the machine's doing, not Ray's. Efficiency is the time of one
divided by twice the time of two.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from panic_assets.compute import ray as panic_ray
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.local import LocalCompute
from panic_assets.compute.protocol import Compute, Needs
from panic_assets.compute.ray import RayCompute
from panic_assets_tests.compute.ray_nodes import ENVIRONMENT, Node, two_nodes

NEEDS = Needs(memory_gb=0.5)
BATCHES, STEPS, BATCH = 8, 4, 128
TINY, REPEATS = 200, 3


def walk(task: tuple[int, int], worker: object) -> Iterator[float]:
    """A batch of a CPU-bound model: `steps` batched calls of MiniLM on one thread."""
    import torch

    torch.set_num_threads(1)
    batch, steps = task
    model = worker.model("MiniLM")  # type: ignore[attr-defined]
    for step in range(steps):
        texts = [f"a picture of {batch} cats and {step} dogs beside {n} trees in the rain" for n in range(BATCH)]
        yield float(model.embed(texts).sum())


def tiny(task: int, worker: object) -> Iterator[int]:
    """A batch that costs nothing: what is left is the engine's own time."""
    yield task


def seconds(compute: Compute, function: object, tasks: list) -> float:
    """Wall time of one stream over warm workers."""
    began = time.perf_counter()
    items = list(compute.stream(function, tasks, NEEDS))  # type: ignore[arg-type]
    assert len({index for index, _ in items}) == len(tasks)
    return time.perf_counter() - began


def warmed(compute: Compute) -> Compute:
    """The compute with all its workers started and the model loaded in each."""
    width = compute.width(NEEDS)
    for _ in range(2):
        seconds(compute, me.walk, [(n, 1) for n in range(4 * width)])
    return compute


def overhead(computes: dict[str, Compute]) -> None:
    print("| compute | workers | ms a batch |\n|---|---:|---:|")
    for name, compute in computes.items():
        times = [seconds(warmed(compute), me.tiny, list(range(TINY))) for _ in range(REPEATS)]
        print(f"| {name} | {compute.width(NEEDS)} | {1000 * min(times) / TINY:.2f} |")
    print()


def side_by_side(computes: dict[str, Compute]) -> dict[str, float]:
    """The best time of each, measured in turns, so that other work on the machine disturbs them alike."""
    times: dict[str, float] = dict.fromkeys(computes, float("inf"))
    for compute in computes.values():
        warmed(compute)
    for _ in range(REPEATS):
        for name, compute in computes.items():
            tasks = [(batch, STEPS) for batch in range(BATCHES)]
            times[name] = min(times[name], seconds(compute, me.walk, tasks))
    for compute in computes.values():
        compute.close()
    return times


def scaling(spread: Compute, other: Node) -> None:
    two = side_by_side({"processes": LocalCompute(workers=2), "Ray nodes": spread})
    other.kill()
    while len(panic_ray._nodes()) > 1:
        time.sleep(0.1)
    one = side_by_side({"processes": LocalCompute(workers=1), "Ray nodes": spread})
    print("| CPU-bound batches | one, s | two, s | efficiency |\n|---|---:|---:|---:|")
    for what in one:
        print(f"| {what} | {one[what]:.2f} | {two[what]:.2f} | {one[what] / two[what] / 2:.2f} |")
    print(f"\nload average when it ended: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def main() -> None:
    os.environ.update(ENVIRONMENT, OMP_NUM_THREADS="1")  # before Ray is imported
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    with two_nodes(folder, cpus=1, gpus=0) as (address, _, other):
        os.environ["RAY_ADDRESS"] = address
        panic_ray._connect()
        while len(panic_ray._nodes()) < 2:
            time.sleep(0.1)
        spread = RayCompute()
        overhead({"in process": InProcessCompute(), "local": LocalCompute(workers=2), "ray, 2 nodes": spread})
        scaling(spread, other)
        spread.close()


if __name__ == "__main__":
    from benchmarks import ray_scaling as me  # workers import the functions by this name

    main()
