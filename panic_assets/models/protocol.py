"""What a loaded model can do. Contents are a caption (`str`) or a picture (`PIL.Image.Image`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Account:
    """What a model says about its work on one item; None where it does not tell.

    Tokens are those of an input text, with the special ones at its ends. `finished`: a text that it wrote ended by itself.
    """

    tokens_given: int | None = None
    tokens_read: int | None = None
    finished: bool | None = None


def accounts_of(model: object, count: int) -> list[Account]:
    """What a model says about each item of its last call; nothing, where it keeps no `accounts`."""
    return list(getattr(model, "accounts", None) or [Account()] * count)


def read_up_to(
    limit: int | None, texts: Sequence[str], tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]]
) -> list[Account]:
    """The accounts of a model that reads the first `limit` tokens of each text.

    A text that cannot be split into tokens has an empty one: the model itself will fail at it, and at no other.
    """
    try:
        return [Account(len(ids), min(len(ids), limit or len(ids))) for ids in tokenize(texts)]
    except Exception:
        if len(texts) == 1:
            return [Account()]
        return [account for text in texts for account in read_up_to(limit, [text], tokenize)]


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
