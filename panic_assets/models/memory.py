"""Which placement of a model's weights fits on a GPU. A *placement* says how the weights are held."""

from typing import Any

from panic_assets.errors import UserError
from panic_assets.registry.spec import QUANTISED, ModelSpec, Placement, Precision

HEADROOM = 0.9
"""The share of a GPU's memory that models get. The rest is for intermediate results and the driver."""


def placement(spec: ModelSpec, vram_gb: float) -> Placement:
    """The fastest placement that fits into `vram_gb`; UserError if none does."""
    for name, needed in spec.memory:
        if needed <= vram_gb:
            return name
    leanest, needed = spec.memory[-1]
    raise UserError(
        f"model {spec.name} needs about {needed:g} GB of GPU memory, even held as {leanest!r}, but the GPU has "
        f"{vram_gb:.1f} GB; use a larger one"
    )


def place(spec: ModelSpec, device: str) -> Placement:
    """The placement on that device: what the whole card has room for; on a CPU `whole`, or quantised where pinned.

    The total is asked, not what is free this moment: other models of the network make room (see residency).
    """
    if not device.startswith("cuda") or not spec.memory:
        return spec.pinned if spec.pinned == "int8" or spec.pinned == "nf4" else "whole"
    import torch

    return placement(spec, torch.cuda.get_device_properties(device).total_memory / 1e9)


def computed_in(spec: ModelSpec, device: str) -> Precision:
    """The numbers that the model computes in: those that are pinned; else the registry's on a GPU, float32 on a CPU."""
    if spec.pinned and spec.pinned not in QUANTISED:
        return spec.pinned
    return spec.dtype if device.startswith("cuda") else "float32"


def torch_dtype(spec: ModelSpec, device: str) -> Any:
    """`computed_in` as torch calls it: handed to the loader, never made torch's default."""
    import torch

    return getattr(torch, computed_in(spec, device))


def quantised(placement: Placement) -> bool:
    """Whether weights are held in fewer bits than they were published in."""
    return placement.startswith(QUANTISED)


def require_bitsandbytes(spec: ModelSpec, placement: Placement) -> None:
    """Quantised weights need bitsandbytes, which is an extra."""
    import importlib.util

    if quantised(placement) and importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            f"model {spec.name} fits this GPU only as {placement!r}, which needs the package bitsandbytes: "
            "pip install bitsandbytes"
        )


def bits(placement: Placement, dtype: Any) -> dict[str, Any]:
    """bitsandbytes' settings for a quantised placement, computing in `dtype`."""
    if placement == "int8":
        return {"load_in_8bit": True}
    return {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
