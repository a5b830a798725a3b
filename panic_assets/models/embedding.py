"""What every embedder shares: batches, prefix, normalisation, and items that fail by themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from panic_assets.compute.failures import MAX_CHARACTERS, Failure, ItemError
from panic_assets.models.batching import Batcher
from panic_assets.models.measured import batch_limit
from panic_assets.models.protocol import Account, Content
from panic_assets.registry.spec import ModelSpec


class BatchedEmbedder:
    """Base of the embedders that load weights; a subclass gives `vectors`, one row per content."""

    def __init__(self, spec: ModelSpec) -> None:
        assert spec.dimension
        self.spec, self.dimension = spec, spec.dimension
        self.batcher = Batcher(batch_limit(spec))
        self.failures: list[Failure | None] = []
        self.accounts: list[Account] = []

    def vectors(self, contents: Sequence[Any]) -> Any:
        """An array or tensor (len(contents), dimension), not yet normalised; texts have their prefix."""
        raise NotImplementedError

    def read(self, texts: list[str]) -> list[Account]:
        """How much of each text the model reads; nothing where it does not tell."""
        return []

    def embed(self, contents: Sequence[Content]) -> np.ndarray:
        """float32 (n, dimension). A row of NaN where an item failed; `failures` then says why, per item."""
        # Texts of like length pad little. Pictures are all of one size to their processor.
        order = sorted(range(len(contents)), key=lambda i: len(c) if isinstance(c := contents[i], str) else 0)
        rows = self.batcher.run([contents[i] for i in order], self._rows)
        texts = [f"{self.spec.prefix}{text}"[:MAX_CHARACTERS] for text in contents if isinstance(text, str)]
        self.accounts = self.read(texts) if texts else []
        out = np.full((len(contents), self.dimension), np.nan, np.float32)
        self.failures = [None] * len(contents)
        for i, row in zip(order, rows, strict=True):
            if isinstance(row, Failure):
                self.failures[i] = row
            elif not np.isfinite(row).all():
                self.failures[i] = Failure("the vector has values that are not finite")
            else:
                out[i] = row
        return out

    def _rows(self, contents: Sequence[Content]) -> list[np.ndarray]:
        import torch

        for content in contents:
            if isinstance(content, str) and len(content) > MAX_CHARACTERS:
                raise ItemError(f"the text has {len(content):,} characters; it may have at most {MAX_CHARACTERS:,}")
        given = [self.spec.prefix + c if isinstance(c, str) else c.convert("RGB") for c in contents]
        with torch.inference_mode():
            vectors = torch.as_tensor(self.vectors(given)).float()
            if self.spec.normalised:
                vectors = torch.nn.functional.normalize(vectors, dim=-1)
        array = vectors.cpu().numpy()
        if array.shape[1] != self.dimension:
            raise ValueError(
                f"{self.spec.name} gave vectors of length {array.shape[1]}, the registry says {self.dimension}"
            )
        return list(array)


def quiet() -> None:
    """Turns off progress bars while weights load, and warnings that would come at every step."""
    import logging

    from transformers.utils import logging as transformers

    transformers.disable_progress_bar()
    transformers.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
