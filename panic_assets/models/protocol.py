"""What a loaded model can do. Contents are a caption (`str`) or a picture (`PIL.Image.Image`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from panic_assets.compute.failures import Failure

Content: TypeAlias = Union[str, "Image"]

UNSEEDED = -1
"""The seed that asks for fresh randomness; every other seed asks for a reproducible output."""

NEUTRAL_PROMPT = "an image"
"""What the next model is given when a caption is blank. The blank caption itself is stored as it is."""


@runtime_checkable
class Generator(Protocol):
    """Turns contents of `spec.input` into contents of `spec.output`."""

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Content]:
        """One output per input, in order.

        An item with a seed other than UNSEEDED depends on (input, seed, image_size) only, not on its
        neighbours in the call. `image_size` is the side in pixels of generated images
        (None: the model's own).
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns contents of `spec.input` into vectors."""

    def embed(self, contents: Sequence[Content]) -> np.ndarray:
        """float32 of shape (len(contents), spec.dimension), rows in the order of `contents`."""
        ...


@runtime_checkable
class Answerer(Protocol):
    """Answers questions about pictures by yes or no."""

    def answer(self, pictures: Sequence[Image], questions: Sequence[str]) -> list[tuple[float, float] | Failure]:
        """The probabilities of yes and of no for each picture and its question; a Failure where there is none."""
        ...


@runtime_checkable
class Control(Protocol):
    """Vectors that depend on no content: the null that every finding on embeddings is compared with."""

    def walk(self, key: str, count: int) -> np.ndarray:
        """float32 of shape (count, spec.dimension), a function of `key`, the same at any `count`."""
        ...
