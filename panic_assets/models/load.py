"""From a registry entry to a model in memory. The library a family needs is imported here and only here."""

import importlib
from typing import Any

from panic_assets.errors import UserError, suggest
from panic_assets.models.spec import ModelSpec

LOADERS: dict[str, str] = {
    "dummy": "panic_assets.models.dummies:load",
    "random_walk": "panic_assets.models.walks:RandomWalk",
    "sentence_transformers": "panic_assets.models.sentences:SentenceEmbedder",
}
"""family -> `module:callable`, called with (spec, device)."""


def load(spec: ModelSpec, device: str = "cpu") -> Any:
    """The model as a Generator, Embedder or Control (see `protocol`), on `device` (`cpu`, `cuda:0`)."""
    if spec.family not in LOADERS:
        raise UserError(
            f"model {spec.name!r} is of family {spec.family!r}, which has no loader"
            f"{suggest(spec.family, LOADERS)} (known: {', '.join(LOADERS)})"
        )
    module, name = LOADERS[spec.family].split(":")
    return getattr(importlib.import_module(module), name)(spec, device)
