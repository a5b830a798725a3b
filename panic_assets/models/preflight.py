"""Checks before any run: is every model there, may it be used, does it fit, and what will it take?"""

import importlib.util
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets.asleep import asleep
from panic_assets.compute import gpus
from panic_assets.compute.protocol import Compute, Needs, Worker
from panic_assets.errors import UserError
from panic_assets.models import measured, weights
from panic_assets.models.load import LOADERS, require_library
from panic_assets.models.memory import place, placement, require_bitsandbytes
from panic_assets.models.settings import Held, held, refuse_other
from panic_assets.registry import registry
from panic_assets.registry.spec import ModelSpec, Placement

if TYPE_CHECKING:
    from panic_assets import variables
else:
    variables = asleep("panic_assets.variables")

CPU_LIMIT_GB = 6.0
"""Without a GPU, a larger model is refused: it would take minutes per call."""


@dataclass(frozen=True)
class Estimate:
    """What one model will take. `download_gb` is 0 when its files are here; `seconds` is for all its items."""

    name: str
    placement: Placement
    vram_gb: float
    download_gb: float
    seconds: float


@dataclass(frozen=True)
class Preflight:
    """`problems`: one sentence each, empty when the run may start. Times are orders of magnitude unless measured."""

    problems: tuple[str, ...]
    estimates: tuple[Estimate, ...]

    @property
    def download_gb(self) -> float:
        """GB to be downloaded, all models together."""
        return sum(e.download_gb for e in self.estimates)

    @property
    def hours(self) -> float:
        """Hours of model time, one after the other."""
        return sum(e.seconds for e in self.estimates) / 3600

    @property
    def cost(self) -> float:
        """`hours` times PANIC_GPU_PRICE (per hour, 0 when not set)."""
        return self.hours * variables.read().gpu_price


def preflight(
    names: Iterable[str],
    items: Mapping[str, int] | None = None,
    image_size: int | None = None,
    vram_gb: float | None = None,
) -> Preflight:
    """Checks every named model.

    `items`: how many inputs each will get (1 when not said). `vram_gb`: the memory of the card they will run on
    (asked of torch when not given, and only when some model wants a GPU; 0 means there is none).
    """
    specs = [registry.get(name) for name in dict.fromkeys(names)]
    if vram_gb is None:
        vram_gb = _card_gb() if any(spec.device == "gpu" for spec in specs) else 0.0
    problems: list[str] = []
    estimates: list[Estimate] = []
    for spec in specs:
        try:
            estimates.append(_check(spec, (items or {}).get(spec.asked, 1), image_size, vram_gb))
        except UserError as error:
            problems.append(str(error))
    free = shutil.disk_usage(_existing(_cache())).free / 1e9
    download = sum(e.download_gb for e in estimates)
    if download > free:
        problems.append(
            f"{download:.0f} GB of weights must be downloaded to {_cache()}, where {free:.0f} GB are free: "
            "set HF_HOME to a folder on a larger disk"
        )
    return Preflight(tuple(problems), tuple(estimates))


@dataclass(frozen=True)
class Wanted:
    """Models that are about to be used, and the size of the images they make."""

    names: tuple[str, ...]
    image_size: int | None = None

    def __str__(self) -> str:
        return f"preflight of {', '.join(self.names)}"


@dataclass(frozen=True)
class Inspected:
    """What a worker found: the problems of the models; without any, how it will hold each of them."""

    problems: tuple[str, ...]
    held: Mapping[str, Held]


def inspect(wanted: Wanted, worker: Worker) -> Iterator[Inspected]:
    """The problems, found where the models will run: a generator function for a compute."""
    vram_gb = 0.0 if worker.device == "cpu" else None
    problems = preflight(wanted.names, image_size=wanted.image_size, vram_gb=vram_gb).problems
    specs = [] if problems else map(registry.get, wanted.names)
    yield Inspected(problems, {spec.name: held(spec, worker.device) for spec in specs})


def refuse(
    compute: Compute,
    needs: Needs,
    names: Iterable[str],
    image_size: int | None = None,
    tasks: int | None = None,
    before: Mapping[str, Collection[Held]] | None = None,
) -> dict[str, set[Held]]:
    """How these models will be held. UserError with every problem of them, found by the workers that will load them.

    Asks all workers, but at most as many as there are `tasks`; they stay warm. Built-in models have no problems.
    `before` says how models were held that made rows already: another way is refused, and so is one that differs
    between workers. None: any way is taken.
    """
    specs = [registry.get(name) for name in dict.fromkeys(names)]
    real = tuple(spec.asked for spec in specs if spec.repository)
    found: dict[str, set[Held]] = {spec.name: {held(spec, "cpu")} for spec in specs if not spec.repository}
    if real:
        width = compute.width(needs)
        wanted = [Wanted(real, image_size)] * (width if tasks is None else min(width, tasks))
        seen: Inspected
        for _, seen in compute.stream(inspect, wanted, needs, lambda task: task):
            if seen.problems:
                raise UserError("; ".join(seen.problems))
            for name, how in seen.held.items():
                if before is not None:
                    refuse_other(name, how, {name: before.get(name) or found.get(name) or set()})
                found.setdefault(name, set()).add(how)
    return found


def _check(spec: ModelSpec, items: int, image_size: int | None, vram_gb: float) -> Estimate:
    assert spec.family in LOADERS
    if spec.output == "image" and image_size and image_size % spec.image_multiple:
        raise UserError(f"image_size is {image_size}; for {spec.name} it must be a multiple of {spec.image_multiple}")
    if absent := [name for name in spec.needs if importlib.util.find_spec(name) is None]:
        raise UserError(f"model {spec.name} needs {' and '.join(absent)}: pip install {' '.join(absent)}")
    require_library(spec)
    here = weights.local(spec) if spec.repository else None
    memory = spec.memory
    if here and spec.name in weights.overrides():
        # Another checkpoint under this name: its own size counts.
        size = sum(file.stat().st_size for file in here.rglob("*") if file.is_file()) / 1e9
        memory = (("whole", round(1.2 * size, 1)),)
    chosen = place(spec, "cpu")
    if memory and vram_gb:
        chosen = placement(_with_memory(spec, memory), vram_gb)
    elif memory and memory[0][1] > CPU_LIMIT_GB:
        raise UserError(
            f"model {spec.name} needs a GPU with {memory[-1][1]:g} GB or more, {memory[0][1]:g} GB to run at full "
            "speed, but torch finds no GPU on this machine"
        )
    require_bitsandbytes(spec, chosen)
    if spec.repository and here is None:
        weights.ask_access(spec)
    used = dict(memory).get(chosen, 0.0) if vram_gb else 0.0
    return Estimate(spec.asked, chosen, used, 0.0 if here else spec.disk_gb, items * measured.seconds(spec))


def _with_memory(spec: ModelSpec, memory: tuple[tuple[Placement, float], ...]) -> ModelSpec:
    from dataclasses import replace

    return replace(spec, memory=memory)


def _card_gb() -> float:
    """GB of the smallest visible card; 0 when there is none, or none that torch can use."""
    if not gpus.visible_gpus():
        return 0.0
    import torch

    if not torch.cuda.is_available():
        return 0.0
    cards = range(torch.cuda.device_count())
    return float(min(torch.cuda.get_device_properties(card).total_memory for card in cards) / 1e9)


def _cache() -> Path:
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
