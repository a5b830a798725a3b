"""Text embedders that sentence-transformers loads."""

from collections.abc import Sequence
from typing import Any

from panic_assets.models.embedding import BatchedEmbedder, quiet
from panic_assets.models.memory import torch_dtype
from panic_assets.models.protocol import Account, read_up_to
from panic_assets.models.weights import folder
from panic_assets.registry.spec import ModelSpec


class SentenceEmbedder(BatchedEmbedder):
    """The model's own pooling, at its full dimension."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        from sentence_transformers import SentenceTransformer

        super().__init__(spec)
        quiet()
        self.model = SentenceTransformer(
            str(folder(spec)),
            device=device,
            local_files_only=True,
            model_kwargs={"dtype": torch_dtype(spec, device)},
        )

    @property
    def modules(self) -> list[Any]:
        """The torch modules that hold the weights."""
        return [self.model]

    def to(self, device: str) -> None:
        """Moves the weights."""
        self.model.to(device)

    def read(self, texts: list[str]) -> list[Account]:
        whole = {"truncation": False, "verbose": False}
        limit = self.model.max_seq_length
        return read_up_to(limit, texts, lambda some: self.model.tokenizer(list(some), **whole)["input_ids"])

    def vectors(self, contents: Sequence[Any]) -> Any:
        # The prefix is in the texts already; an explicit empty prompt keeps a default of the repository out.
        return self.model.encode(
            list(contents), batch_size=len(contents), prompt="", show_progress_bar=False, convert_to_tensor=True
        )
