"""What the platform knows of a model without loading it: pure data, no heavy imports."""

from dataclasses import dataclass
from typing import Literal

Modality = Literal["text", "image"]
Role = Literal["generator", "embedder", "control"]


@dataclass(frozen=True)
class ModelSpec:
    """One registry entry.

    A generator turns `input` into `output`. An embedder turns `input` into vectors of length `dimension`
    (`output` is None). A control is an embedder whose vectors do not depend on content (a random walk).
    """

    name: str
    role: Role
    family: str
    """Which loader builds it: a key of `panic_assets.models.load.LOADERS`."""
    input: Modality
    output: Modality | None = None
    repository: str = ""
    revision: str = ""
    package: str = ""
    """A Python package with the weights in its folder `model`; when installed, used before any download."""
    licence: str = ""
    gated: bool = False
    dimension: int | None = None
    normalised: bool = False
    """Whether vectors are L2-normalised, as the model's own documentation says they should be."""
    image_size: int | None = None
    """Native side length in pixels of a generated image."""
    batch_limit: int = 64
    device: Literal["cpu", "gpu"] = "gpu"
    vram_gb: float = 0.0
    parameters: tuple[tuple[str, object], ...] = ()
    """Family-specific settings (steps, guidance, prefix, dtype, step correlation, ...), as sorted pairs."""
    doc: str = ""
