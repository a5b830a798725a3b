"""Text embedders that sentence-transformers loads."""

from collections.abc import Sequence

import numpy as np

from panic_assets.models.protocol import Content
from panic_assets.models.spec import ModelSpec
from panic_assets.models.weights import folder


class SentenceEmbedder:
    """sentence-transformers with the registry's normalisation and dimension, both checked."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()

        assert spec.dimension
        self.spec, self.dimension = spec, spec.dimension
        self.model = SentenceTransformer(str(folder(spec)), device=device, local_files_only=True)

    def embed(self, contents: Sequence[Content]) -> np.ndarray:
        # encode() sorts by length, so that a batch pads little, and runs in inference mode.
        vectors = self.model.encode(
            [str(content) for content in contents],
            batch_size=self.spec.batch_limit,
            normalize_embeddings=self.spec.normalised,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, np.float32).reshape(len(contents), self.dimension)
