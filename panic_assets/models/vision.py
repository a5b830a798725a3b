"""Image and text embedders native to transformers."""

from collections.abc import Sequence
from typing import Any

from panic_assets.models.embedding import BatchedEmbedder, quiet
from panic_assets.models.memory import torch_dtype
from panic_assets.models.protocol import Account, read_up_to
from panic_assets.models.weights import folder
from panic_assets.registry.spec import ModelSpec


class VisionEmbedder(BatchedEmbedder):
    """A vision encoder; the registry's `pooling` says which of its outputs is the picture's vector.

    `cls`: the first token's last hidden state. `features`: what `get_image_features` gives (contrastive models).
    """

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        from transformers import AutoImageProcessor, AutoModel

        super().__init__(spec)
        quiet()
        where = folder(spec)
        options: dict[str, Any] = {"local_files_only": True}
        # PIL resizes, whether or not torchvision is installed: vectors must not depend on it.
        self.processor = AutoImageProcessor.from_pretrained(where, backend="pil", **options)
        if spec.remote_code:
            options |= {"trust_remote_code": True, "code_revision": spec.code_revision}
        self.model = AutoModel.from_pretrained(where, dtype=torch_dtype(spec, device), **options).eval().to(device)

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        return [self.model]

    def to(self, device: str) -> None:
        """Moves the weights."""
        self.model.to(device)

    def vectors(self, contents: Sequence[Any]) -> Any:
        weights = next(self.model.parameters())
        inputs = self.processor(images=list(contents), return_tensors="pt").to(weights.device, weights.dtype)
        if self.spec.settings["pooling"] == "features":
            features = self.model.get_image_features(**inputs)
            return getattr(features, "pooler_output", features)
        return self.model(**inputs).last_hidden_state[:, 0]


class TextEmbedder(BatchedEmbedder):
    """The text half of a contrastive model, whose image half is a `VisionEmbedder`: both give vectors of one space.

    The registry's `reads` is the length that texts are cut to; `padded` says that shorter ones are filled up to it, as in
    training; `lowercase`, that it was trained on small letters.
    """

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer

        super().__init__(spec)
        quiet()
        where = folder(spec)
        self.tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=True)
        model = AutoModel.from_pretrained(where, dtype=torch_dtype(spec, device), local_files_only=True)
        self.model = model.eval().to(device)

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        return [self.model]

    def to(self, device: str) -> None:
        """Moves the weights."""
        self.model.to(device)

    def read(self, texts: list[str]) -> list[Account]:
        return read_up_to(self.spec.settings["reads"], texts, lambda some: self._tokens(some)["input_ids"])

    def vectors(self, contents: Sequence[Any]) -> Any:
        settings = self.spec.settings
        padding = "max_length" if settings.get("padded") else True
        cut = {"padding": padding, "truncation": True, "max_length": settings["reads"]}
        features = self.model.get_text_features(
            **self._tokens(contents, return_tensors="pt", **cut).to(self.model.device)
        )
        return getattr(features, "pooler_output", features)

    def _tokens(self, texts: Sequence[str], **how: Any) -> Any:
        small = self.spec.settings.get("lowercase")
        return self.tokenizer([text.lower() if small else text for text in texts], verbose=False, **how)
