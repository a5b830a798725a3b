"""Which models are on the GPU: all models of a network if they fit together, else the ones in use."""

import gc
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from panic_assets.models.batching import free_memory
from panic_assets.models.load import load
from panic_assets.models.memory import HEADROOM, placement
from panic_assets.registry import registry
from panic_assets.registry.spec import ModelSpec


@dataclass
class Held:
    """A loaded model. `gb` is the GPU memory that it takes: an estimate until it was loaded there, then measured."""

    model: Any
    gb: float
    on_card: bool


class Residency:
    """Loads each model once, moves models between GPU and main memory when space is short, and frees all at the end.

    `capacity_gb` is what the card holds (asked of torch when not given). On a CPU nothing is ever moved.
    """

    def __init__(
        self,
        device: str = "cpu",
        capacity_gb: float | None = None,
        loader: Callable[[ModelSpec, str], Any] = load,
    ) -> None:
        self.device, self.loader = device, loader
        self.held: dict[str, Held] = {}
        self.swaps = 0
        self.capacity_gb = capacity_gb if capacity_gb is not None else _card_gb(device)

    def model(self, name: str) -> Any:
        """The model of that name in the registry, ready on the GPU. The least recently used models make room for it."""
        held = self.held.pop(name, None)
        if held is None:
            spec = registry.get(name)
            needed = self._needed(spec)
            self._make_room(needed)
            before = _allocated_gb(self.device)
            model = self.loader(spec, self.device)
            measured = _allocated_gb(self.device) - before
            held = Held(model, measured or needed, on_card=True)
        elif not held.on_card:
            self._make_room(held.gb)
            held.model.to(self.device)
            held.on_card = True
            self.swaps += 1
        self.held[name] = held  # the last of the dict is the most recently used
        return held.model

    def free(self) -> float:
        """Frees every model; returns the GB that torch still holds on the GPU (about 0)."""
        return self.keep(())

    def keep(self, names: Collection[str]) -> float:
        """Frees every model but these; returns the GB that torch still holds on the GPU beyond theirs (about 0)."""
        gone = [name for name in self.held if name not in names]
        for name in gone:
            del self.held[name]
        if gone and self.device != "cpu":
            free_memory()
        elif gone:
            gc.collect()
        return max(0.0, _allocated_gb(self.device) - sum(held.gb for held in self.held.values() if held.on_card))

    def _needed(self, spec: ModelSpec) -> float:
        if self.device == "cpu" or not spec.memory:
            return 0.0
        return dict(spec.memory)[placement(spec, self.capacity_gb)]

    def _make_room(self, gb: float) -> None:
        if self.device == "cpu":
            return
        resident = sum(h.gb for h in self.held.values() if h.on_card)
        for held in list(self.held.values()):
            if resident + gb <= HEADROOM * self.capacity_gb:
                return
            if held.on_card and hasattr(held.model, "to"):
                held.model.to("cpu")
                held.on_card = False
                resident -= held.gb
                free_memory()


def _card_gb(device: str) -> float:
    if not device.startswith("cuda"):
        return float("inf")
    import torch

    return float(torch.cuda.get_device_properties(device).total_memory / 1e9)


def _allocated_gb(device: str) -> float:
    """GB of tensors on the card, as torch counts them; 0 on a CPU."""
    if not device.startswith("cuda"):
        return 0.0
    import torch

    return float(torch.cuda.memory_allocated(device) / 1e9)
