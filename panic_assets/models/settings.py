"""How a model runs: what, besides its weights and its input, decides what it gives. Stored once, named in each row."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeAlias

from panic_assets.asleep import asleep
from panic_assets.errors import UserError
from panic_assets.models.memory import computed_in, place, quantised
from panic_assets.registry.spec import QUANTISED, ModelSpec

if TYPE_CHECKING:
    from panic_assets import variables
else:
    variables = asleep("panic_assets.variables")

Held: TypeAlias = tuple[str, str]
"""Placement and precision: what decides the numbers that a model's weights are."""

_LIBRARIES = {
    "diffusion": ("torch", "diffusers", "transformers"),
    "sentence_transformers": ("torch", "sentence-transformers", "transformers"),
}
_OWN_ENTRY = ("input", "output", "prefix", "normalised", "dimension", "image_size", "steps", "guidance", "parameters")


@dataclass(frozen=True)
class ModelSettings:
    """How one model ran. `attention` and `compiled` are empty where a model has none of it."""

    model: str
    placement: str
    precision: str
    computed_in: str
    tiled: bool
    device: str
    attention: str
    compiled: str
    parameters: str
    libraries: tuple[str, ...]

    @property
    def id(self) -> str:
        """What rows name these settings by: a hash of all of them."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    @property
    def held(self) -> Held:
        """Placement and precision."""
        return self.placement, self.precision


def held(spec: ModelSpec, device: str) -> Held:
    """How the loader will hold a model on a device."""
    placement = place(spec, device)
    return placement, placement.removesuffix("+offload") if quantised(placement) else computed_in(spec, device)


def refuse_other(model: str, held: Held, before: Mapping[str, Collection[Held]]) -> None:
    """UserError if rows of that model were made, and none of them with its weights held like this."""
    known = before.get(model)
    if known and held not in known:
        raise UserError(
            f"model {model} would run in {_words(held)} here, but its rows so far were made in "
            f"{' and '.join(map(_words, sorted(known)))}; go on where it runs like that, or allow both with "
            "`--other-precision` (in the launchpad: `other_precision: true`)"
        )


def _words(held: Held) -> str:
    placement, precision = held
    return precision if placement in ("whole", precision) else f"{precision} ({placement})"


def parameters(spec: ModelSpec) -> str:
    """What the registry says about how the model is used, as JSON."""
    fields = asdict(spec)
    return json.dumps({name: fields[name] for name in _OWN_ENTRY if fields[name] not in (None, "", (), False)})


def settings_of(spec: ModelSpec, model: Any, device: str) -> ModelSettings:
    """How a loaded model runs on a device, at this moment: a decoder may have begun to work in tiles."""
    placement, precision = held(spec, device)
    return ModelSettings(
        model=spec.name,
        placement=placement,
        precision=precision,
        computed_in=computed_in(spec, device),
        tiled=bool(getattr(model, "tiled", False)),
        device=_named(device),
        attention="+".join(sorted(set(_attention(spec, model)))),
        compiled=(variables.read().torch_compile or "") if spec.family == "diffusion" else "",
        parameters=parameters(spec),
        libraries=_libraries(spec, precision in QUANTISED),
    )


def _attention(spec: ModelSpec, model: Any) -> Iterator[str]:
    """The names of the attention back ends, as transformers and diffusers call them."""
    if spec.family == "diffusion":
        yield spec.settings.get("attention", "native")
    for outer in getattr(model, "modules", ()):
        for part in (outer, *outer.children()):
            if name := getattr(getattr(part, "config", None), "_attn_implementation", None):
                yield name


def _libraries(spec: ModelSpec, bits: bool) -> tuple[str, ...]:
    names = _LIBRARIES.get(spec.family, ("torch", "transformers")) if spec.repository else ("numpy", "pillow")
    return tuple(f"{name} {_version(name)}" for name in (*names, *spec.needs, *(["bitsandbytes"] if bits else [])))


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # A stand-in for a model's own code does without what that code needs.
        return "absent"


@cache
def _named(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return str(torch.cuda.get_device_name(device))
