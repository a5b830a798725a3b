"""Measures how a model runs fastest on this machine: the batch size, and how many copies share a GPU."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from panic_assets.compute.failures import is_out_of_memory
from panic_assets.models.batching import free_memory
from panic_assets.models.load import load
from panic_assets.models.measured import Measurement, fitting, store
from panic_assets.registry import registry
from panic_assets.registry.spec import ModelSpec

WORTH = 0.95
"""A larger batch, or another copy, is kept if it takes at most this share of the time per item."""


def call(spec: ModelSpec, model: Any, size: int, image_size: int | None = None) -> None:
    """One call with `size` items of the kind the model takes."""
    contents = _contents(spec, size)
    if spec.role == "control":
        model.walk("bench", size)
    elif spec.role == "embedder":
        model.embed(contents)
    else:
        model.generate(contents, list(range(size)), image_size)


def _contents(spec: ModelSpec, size: int) -> Sequence[Any]:
    texts = [f"a picture of {i} red boats on a quiet lake in the evening" for i in range(size)]
    if spec.input == "text":
        return texts
    return load(registry.get("DummyT2I")).generate(texts, list(range(size)), 512)


def best(sizes: Sequence[int], seconds_per_item: Callable[[int], float]) -> tuple[int, float]:
    """The smallest size after which a larger one is not worth it, and its seconds per item.

    Out of memory at a size ends the search; at the first size it is raised.
    """
    found: tuple[int, float] | None = None
    for size in sizes:
        try:
            took = seconds_per_item(size)
        except Exception as error:
            if found and is_out_of_memory(error):
                break
            raise
        if found and took > WORTH * found[1]:
            break
        found = (size, took)
    assert found
    return found


def measure(
    name: str, device: str = "cpu", largest: int = 64, copies: Sequence[int] = (1, 2, 4), repeats: int = 2
) -> Measurement:
    """Measures and stores: doubling batches up to `largest` in this process, then copies in as many processes."""
    spec = registry.get(name)
    model = load(spec, device)
    if hasattr(model, "batcher"):
        model.batcher.limit = largest
    sizes = [1] if spec.batch_limit == 1 else [2**i for i in range(largest.bit_length()) if 2**i <= largest]

    batch, seconds = best(sizes, lambda size: _alone(spec, model, device, size, repeats))
    vram, card = _peak_gb(spec, model, device, batch), _card_gb(device)
    model = None  # the copies need its room
    if card:
        free_memory()
    together = 1
    for count in copies:
        if count == 1 or (card and count > fitting(vram, card)):
            continue
        took = _copies(name, device, batch, count, repeats)
        if took > WORTH * seconds:
            break
        together, seconds = count, took
    measurement = Measurement(batch, seconds, together, vram, card, _device_name(device))
    store(name, measurement)
    return measurement


def _alone(spec: ModelSpec, model: Any, device: str, size: int, repeats: int) -> float:
    call(spec, model, size)
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call(spec, model, size)
    _synchronise(device)
    return (time.perf_counter() - start) / (repeats * size)


def _copies(name: str, device: str, batch: int, count: int, repeats: int) -> float:
    """Seconds per item when `count` processes, each with its own copy, work at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, initializer=_prepare, initargs=(name, device, batch, barrier)) as pool:
        spans = list(pool.map(_work, [repeats] * count))
    return (max(end for _, end in spans) - min(start for start, _ in spans)) / (count * repeats * batch)


_prepared: tuple[ModelSpec, Any, int, str, Any] | None = None


def _prepare(name: str, device: str, batch: int, barrier: Any) -> None:
    global _prepared
    spec = registry.get(name)
    model = load(spec, device)
    call(spec, model, batch)
    _prepared = (spec, model, batch, device, barrier)


def _work(repeats: int) -> tuple[float, float]:
    assert _prepared
    spec, model, batch, device, barrier = _prepared
    barrier.wait(timeout=600)
    start = time.time()
    for _ in range(repeats):
        call(spec, model, batch)
    _synchronise(device)
    return start, time.time()


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def _peak_gb(spec: ModelSpec, model: Any, device: str, batch: int) -> float:
    """The most GPU memory that a call with `batch` items takes, in GB, weights and torch's own reserve included."""
    if not device.startswith("cuda"):
        return 0.0
    import torch

    free_memory()
    torch.cuda.reset_peak_memory_stats(device)
    call(spec, model, batch)
    return float(torch.cuda.max_memory_reserved(device) / 1e9)


def _card_gb(device: str) -> float:
    if not device.startswith("cuda"):
        return 0.0
    import torch

    return float(torch.cuda.get_device_properties(device).total_memory / 1e9)


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return str(torch.cuda.get_device_name(device))
