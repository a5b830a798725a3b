"""Turning contents into vectors beside the model: what a worker runs, and what is checked of its result."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from panic_assets.compute.protocol import Worker
from panic_assets.models import registry
from panic_assets.trajectories.content import decode

CODE_VERSION = "1"


@dataclass(frozen=True)
class Batch:
    """Distinct contents to embed: texts, or encoded images."""

    embedding_model: str
    contents: tuple[str | bytes, ...]


@dataclass(frozen=True)
class Vectors:
    """float32 (n, dimension), one row a content; rows of contents that could not be embedded are NaN."""

    values: np.ndarray
    problems: dict[int, str]


def embed(batch: Batch, worker: Worker) -> Iterator[Vectors]:
    """Embed a batch. An item that cannot be decoded or gives a non-finite vector spoils itself only."""
    spec = registry.get(batch.embedding_model)
    assert spec.dimension is not None
    values = np.full((len(batch.contents), spec.dimension), np.nan, dtype=np.float32)
    problems: dict[int, str] = {}
    items = []
    for index, content in enumerate(batch.contents):
        try:
            items.append((index, decode(content) if isinstance(content, bytes) else content))
        except ValueError as error:
            problems[index] = str(error)
    if items:
        model = worker.model(batch.embedding_model)
        vectors = model.embed([item for _, item in items])
        reasons = getattr(model, "failures", None) or [None] * len(items)  # Dummies do not fail.
        for (index, _), vector, failure in zip(items, vectors, reasons, strict=True):
            if failure is None and np.isfinite(vector).all():
                values[index] = vector
            else:
                problems[index] = f"{spec.name}: {failure.reason if failure else 'the vector is not finite'}"
    yield Vectors(values, problems)
