"""What a machine must have to run models."""

from collections.abc import Iterable

from panic_assets.compute.protocol import Needs
from panic_assets.models import measured
from panic_assets.registry import registry


def needs_of(models: Iterable[str]) -> Needs:
    """What a worker must have to run all of these models. It needs a GPU if any of them does; several workers share one
    if `panic model bench` found that to be faster."""
    specs = [registry.get(name) for name in dict.fromkeys(models)]
    gpu = any(s.device == "gpu" for s in specs)
    workers, together = measured.sharing(specs)
    return Needs(
        device="gpu" if gpu else "cpu",
        gpus=1 / workers if gpu else 0.0,
        # What the smallest placement needs: on a smaller card a model is loaded in fewer bits, or swapped.
        vram_gb=max([together, *(s.least_vram_gb for s in specs)]),
        memory_gb=max([1.0, *(s.vram_gb for s in specs)]),
    )
