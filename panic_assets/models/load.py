"""From a registry entry to a model in memory. The library a family needs is imported here and only here."""

import importlib
import importlib.util
from typing import Any

from panic_assets.errors import UserError, suggest
from panic_assets.extras import require
from panic_assets.registry.spec import ModelSpec

LOADERS: dict[str, str] = {
    "dummy": "panic_assets.models.dummies:load",
    "sim_painter": "panic_assets.models.worlds:Painter",
    "sim_writer": "panic_assets.models.worlds:Writer",
    "sim_space": "panic_assets.models.worlds:Space",
    "typesetter": "panic_assets.models.telephone:Typesetter",
    "optical_reader": "panic_assets.models.telephone:OpticalReader",
    "random_walk": "panic_assets.models.walks:RandomWalk",
    "diffusion": "panic_assets.models.diffusion:TextToImage",
    "plain_captioner": "panic_assets.models.captions:PlainCaptioner",
    "task_captioner": "panic_assets.models.captions:TaskCaptioner",
    "chat_captioner": "panic_assets.models.captions:ChatCaptioner",
    "qwen_captioner": "panic_assets.models.captions:QwenCaptioner",
    "moondream": "panic_assets.models.remote:Moondream",
    "jina_clip": "panic_assets.models.remote:JinaClip",
    "col_qwen": "panic_assets.models.colqwen:ColQwen",
    "vision": "panic_assets.models.vision:VisionEmbedder",
    "dual_text": "panic_assets.models.vision:TextEmbedder",
    "sentence_transformers": "panic_assets.models.sentences:SentenceEmbedder",
}
"""family -> `module:callable`, called with (spec, device)."""


def require_library(spec: ModelSpec) -> None:
    """UserError where the library that a real model runs in is not installed."""
    if spec.repository:
        named = {"diffusion": "diffusers", "sentence_transformers": "sentence_transformers"}
        require("demo" if spec.package else "models", named.get(spec.family, "transformers"))


def load(spec: ModelSpec, device: str = "cpu") -> Any:
    """The model as a Generator, Embedder or Control (see `protocol`), on `device` (`cpu`, `cuda:0`)."""
    if spec.family not in LOADERS:
        raise UserError(
            f"model {spec.name!r} is of family {spec.family!r}, which has no loader"
            f"{suggest(spec.family, LOADERS)} (known: {', '.join(LOADERS)})"
        )
    if absent := [name for name in spec.needs if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"model {spec.name} needs {' and '.join(absent)}, which is not installed: pip install {' '.join(absent)}"
        )
    require_library(spec)
    module, name = LOADERS[spec.family].split(":")
    return getattr(importlib.import_module(module), name)(spec, device)
