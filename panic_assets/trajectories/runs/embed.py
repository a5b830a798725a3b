"""Turns outputs into vectors. A worker runs this beside the model, and checks each vector."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from panic_assets.compute import machine
from panic_assets.compute.protocol import Worker
from panic_assets.models.measured import batch_limit
from panic_assets.models.protocol import Account, accounts_of
from panic_assets.models.settings import ModelSettings, settings_of
from panic_assets.registry import registry
from panic_assets.trajectories.runs.content import decode

DECODERS = min(4, machine.cores())
"""Threads that decode pictures while the model works on others."""


@dataclass(frozen=True)
class ToEmbed:
    """Distinct contents to embed: texts, or encoded images."""

    embedding_model: str
    """As `registry.get` takes it."""
    contents: tuple[str | bytes, ...]


@dataclass(frozen=True)
class Vectors:
    """float32 (n, dimension), one row per content. The row of a content that could not be embedded is NaN.

    `settings` says how the model ran; None if no content could be decoded, so that it did not. `accounts` says how much of
    each content it read."""

    values: np.ndarray
    problems: dict[int, str]
    settings: ModelSettings | None
    accounts: list[Account]


def embed(batch: ToEmbed, worker: Worker) -> Iterator[Vectors]:
    """Embed a batch. An item that cannot be decoded, or gives no finite vector, does not affect the others."""
    spec = registry.get(batch.embedding_model)
    assert spec.dimension is not None
    values = np.full((len(batch.contents), spec.dimension), np.nan, dtype=np.float32)
    problems: dict[int, str] = {}
    settings = None
    accounts = [Account()] * len(batch.contents)
    parts = [list(enumerate(batch.contents))] if spec.input == "text" else _pictures(batch.contents, batch_limit(spec))
    worker.keep([batch.embedding_model])
    for part in parts:
        problems |= {index: str(content) for index, content in part if isinstance(content, ValueError)}
        items = [(index, content) for index, content in part if not isinstance(content, ValueError)]
        if not items:
            continue
        model = worker.model(batch.embedding_model)
        vectors = model.embed([item for _, item in items])
        settings = settings_of(spec, model, worker.device)
        reasons = getattr(model, "failures", None) or [None] * len(items)  # Dummies do not fail.
        told = accounts_of(model, len(items))
        for (index, _), vector, failure, account in zip(items, vectors, reasons, told, strict=True):
            accounts[index] = account
            if failure is None and np.isfinite(vector).all():
                values[index] = vector
            else:
                problems[index] = (
                    f"{spec.name}: {failure.reason if failure else 'the vector has values that are not finite'}"
                )
    yield Vectors(values, problems, settings, accounts)


def _pictures(files: Sequence[str | bytes], size: int) -> Iterator[list[tuple[int, Any]]]:
    """(index, picture or its decoding error) in parts of `size`. The next part is decoded while the model works."""
    with ThreadPoolExecutor(DECODERS) as decoders:
        coming = [decoders.submit(_decoded, file) for file in files[:size]]
        for first in range(0, len(files), size):
            part, after = coming, first + size
            coming = [decoders.submit(_decoded, file) for file in files[after : after + size]]
            yield [(first + place, future.result()) for place, future in enumerate(part)]


def _decoded(file: str | bytes) -> Any:
    try:
        return decode(file)  # type: ignore[arg-type]
    except ValueError as error:
        return error
