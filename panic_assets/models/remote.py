"""Models whose code lives in their repository: it runs at a pinned commit, and only for these entries."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from panic_assets.models.batching import Batcher
from panic_assets.models.captions import rgb
from panic_assets.models.embedding import BatchedEmbedder, quiet
from panic_assets.models.memory import torch_dtype
from panic_assets.models.protocol import Content
from panic_assets.models.randomness import stream_seed
from panic_assets.models.weights import folder
from panic_assets.registry.spec import ModelSpec


def load_remote(spec: ModelSpec, device: str, auto_class: str) -> Any:
    """The repository's own class, from local files; code of a second repository at its pinned commit."""
    import transformers

    quiet()
    options = {"code_revision": spec.code_revision} if spec.code_revision else {}
    model = getattr(transformers, auto_class).from_pretrained(
        folder(spec), trust_remote_code=True, dtype=torch_dtype(spec, device), local_files_only=True, **options
    )
    return model.eval().to(device)


class Moondream:
    """Moondream 2: `caption(image)` of its repository, one picture at a time, as that code works."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        self.spec = spec
        self.batcher = Batcher(1)
        self.model = load_remote(spec, device, "AutoModelForCausalLM")

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        return [self.model]

    def to(self, device: str) -> None:
        """Moves the weights."""
        self.model.to(device)

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Any]:
        """Captions without surrounding blanks; a Failure where an item has none."""
        return self.batcher.run(list(zip(inputs, seeds, strict=True)), self._describe)

    def _describe(self, batch: Sequence[tuple[Any, int]]) -> list[str]:
        import torch

        ((picture, seed),) = batch
        settings = self.spec.settings
        # Its code samples with torch's global generator: seed that for this item, and put it back after.
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(stream_seed(seed))
            answer = self.model.caption(
                rgb(picture),
                length=settings["length"],
                settings={
                    "temperature": settings["temperature"],
                    "top_p": settings["top_p"],
                    "max_tokens": settings["max_tokens"],
                },
            )
        return [str(answer["caption"]).strip()]


class JinaClip(BatchedEmbedder):
    """Jina CLIP v2: `encode_text` and `encode_image` of its repository, at the full dimension."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        super().__init__(spec)
        self.model = load_remote(spec, device, "AutoModel")

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        return [self.model]

    def to(self, device: str) -> None:
        """Moves the weights."""
        self.model.to(device)

    def vectors(self, contents: Sequence[Any]) -> Any:
        encode = self.model.encode_text if self.spec.input == "text" else self.model.encode_image
        return np.asarray(encode(list(contents), batch_size=len(contents), normalize_embeddings=False))
