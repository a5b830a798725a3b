"""Draws the cells of a checkpoint: a base model of the registry with LoRA weights, one picture per prompt and seed.

Cells are drawn one by one, each from its own seed on the CPU, so that a cell does not depend on which others are
drawn with it: more prompts can be added to an epoch later. The same cell drawn twice on one machine gives the same
bytes.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from panic_assets.compute.protocol import Worker
from panic_assets.errors import UserError, cut
from panic_assets.finetunes.drawing import long_prompts, synthetic
from panic_assets.finetunes.drawing.depth import Cell
from panic_assets.finetunes.drawing.suites import Generation
from panic_assets.finetunes.pictures.colour import encode, flatten, name_of
from panic_assets.models.settings import ModelSettings, settings_of
from panic_assets.registry import registry

SYNTHETIC = "Synthetic"
"""A base without weights: portraits as asked, spoiled as the checkpoint's tensor `error` says.

With a tensor `blue_is_grey`, blue hair comes out grey: a blind spot to be found."""
_SIDE = 512
_ADAPTER = "finetune"


@dataclass(frozen=True)
class Task:
    """Cells of one checkpoint to draw. The file must be the one its hash names; `scale` weighs the LoRA.

    `base` is a name that `registry.get` takes, or Synthetic."""

    base: str
    checkpoint: str
    checkpoint_hash: str
    cells: tuple[Cell, ...]
    generation: Generation
    scale: float = 1.0


@dataclass(frozen=True)
class Refused:
    """Stands for all cells of a checkpoint that cannot draw; `why` is a sentence."""

    why: str


class _Unfit(UserError):
    """The checkpoint is at fault, and no other one."""


@dataclass(frozen=True)
class Drawn:
    """One drawn cell, as PNG bytes, and how its base model ran; None for Synthetic."""

    prompt: str
    seed: int
    png: bytes
    settings: ModelSettings | None = None


def draw(task: Task, worker: Worker) -> Iterator[Drawn | Refused]:
    """Draws the cells of a task, in order; runs where the model is. A checkpoint that cannot draw stops no other."""
    try:
        yield from _drawn(task, worker)
    except _Unfit as error:
        yield Refused(str(error))


def _drawn(task: Task, worker: Worker) -> Iterator[Drawn]:
    path = Path(task.checkpoint)
    if not path.is_file():
        raise _Unfit(f"checkpoint {path} is not a file here; LoRA weights must be on a disk that the worker can read")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != task.checkpoint_hash:
        raise _Unfit(
            f"checkpoint {path} was written again: its hash is {actual[:12]}..., "
            f"and {task.checkpoint_hash[:12]}... was registered; register it again first"
        )
    if task.base == SYNTHETIC:
        yield from _synthetic(task)
        return
    model = worker.model(task.base)
    pipe = getattr(model, "pipe", None)
    if not hasattr(pipe, "load_lora_weights"):
        raise UserError(
            f"base model {task.base!r} takes no LoRA weights; choose a text-to-image model of `panic model list`"
        )
    with fine_tuned(pipe, path, task.scale), scheduled(pipe, task.generation.scheduler):
        for cell in task.cells:
            png = encode(paint(pipe, cell, task.generation))
            yield Drawn(*cell.key, png, settings_of(registry.get(task.base), model, worker.device))


def paint(pipe: Any, cell: Cell, generation: Generation) -> np.ndarray:
    """One cell from a diffusers pipeline as it stands, uint8 RGB (height, width, 3)."""
    import torch

    size = {} if generation.size is None else {"height": generation.size, "width": generation.size}
    with torch.inference_mode():
        image = pipe(
            **long_prompts.arguments(pipe, cell.prompt.text, cell.prompt.negative),
            num_inference_steps=generation.steps,
            guidance_scale=generation.guidance,
            generator=torch.Generator("cpu").manual_seed(cell.seed),
            output_type="pil",
            **size,
        ).images[0]
    return flatten(image)


@contextmanager
def fine_tuned(pipe: Any, path: Path, scale: float) -> Iterator[None]:
    """The pipeline with LoRA weights (Kohya or diffusers keys); without them again afterwards, whatever happens."""
    try:
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=_ADAPTER, local_files_only=True)
        _all_loaded(pipe, path)
        pipe.set_adapters([_ADAPTER], adapter_weights=[scale])
    except (ValueError, KeyError, RuntimeError, OSError, AttributeError, IndexError) as error:
        pipe.unload_lora_weights()
        reason = " ".join(str(error).split())[:200]
        raise _Unfit(f"checkpoint {path.name} does not fit {type(pipe).__name__}: {reason}") from error
    try:
        yield
    finally:
        pipe.unload_lora_weights()


def _all_loaded(pipe: Any, path: Path) -> None:
    """Raises ValueError unless every down-projection of the file arrived in the pipeline.

    diffusers only logs weights that have no place or the wrong shape, and then draws without them: the pictures
    would be the base model's under the checkpoint's name.
    """
    import torch
    from safetensors.torch import load_file

    in_file = [
        tensor.double().square().sum()
        for name, tensor in load_file(path).items()
        if name.endswith(("lora_down.weight", "lora_A.weight", "lora.down.weight"))
    ]
    arrived = [
        layer.lora_A[_ADAPTER].weight.double().square().sum().cpu()
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for layer in part.modules()
        if _ADAPTER in getattr(layer, "lora_A", {})
    ]
    if len(in_file) != len(arrived) or not in_file:
        raise ValueError(f"only {len(arrived)} of its {len(in_file)} weights have a place in the model")
    # Half precision rounds; anything else changes the sum of squares by far more.
    if not torch.isclose(sum(in_file), sum(arrived), rtol=0.01):
        raise ValueError("its weights have other shapes than those of the model")


@contextmanager
def scheduled(pipe: Any, scheduler: str) -> Iterator[None]:
    """The pipeline with the suite's scheduler; its own again afterwards."""
    import diffusers

    own = pipe.scheduler
    pipe.scheduler = getattr(diffusers, scheduler).from_config(own.config)
    try:
        yield
    finally:
        pipe.scheduler = own


def _synthetic(task: Task) -> Iterator[Drawn]:
    from safetensors.numpy import load_file

    try:
        tensors = load_file(task.checkpoint)
    except Exception as why:  # numpy does not know every type of number.
        raise _Unfit(f"checkpoint {Path(task.checkpoint).name} cannot be read: {cut(str(why))}") from why
    if "error" not in tensors or not tensors["error"].size or not np.isfinite(tensors["error"]).all():
        raise _Unfit(
            f"checkpoint {Path(task.checkpoint).name} has no tensor `error`, which Synthetic needs; choose another base"
        )
    error = float(tensors["error"].ravel()[0])
    for cell in task.cells:
        asked = cell.prompt
        colours = dict(asked.colours)
        if "blue_is_grey" in tensors and name_of(colours.get("hair", "#000000")) == "blue":
            colours["hair"] = "#808080"
        art = synthetic.portrait(colours, asked.accessories, asked.expression)
        key = f"{task.checkpoint_hash}\0{asked.id}\0{cell.seed}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "little")
        art = synthetic.spoiled(art, error * task.scale, seed)
        yield Drawn(*cell.key, encode(synthetic.upscaled(art, task.generation.size or _SIDE)))
