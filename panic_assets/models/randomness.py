"""One random stream per item, so that an item's output does not depend on what it is batched with."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panic_assets.models.protocol import UNSEEDED

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int) -> int:
    """The seed itself, or a fresh one when unseeded (from the system, so that forked processes differ)."""
    return int.from_bytes(os.urandom(7), "little") if seed == UNSEEDED else seed


def streams(seeds: Sequence[int]) -> list["torch.Generator"]:
    """A generator per item, on the CPU: the same numbers whatever card the model runs on."""
    import torch

    return [torch.Generator("cpu").manual_seed(stream_seed(seed)) for seed in seeds]


def item_sampler(seeds: Sequence[int], temperature: float, top_p: float, top_k: int) -> Any:
    """Logits processors that sample each row with its own stream, for `generate(do_sample=False)`.

    transformers samples with the global generator, which makes a row depend on its neighbours. Here the last
    processor draws one uniform number per row and step, picks the token by inverse distribution function, and
    leaves only that token possible; the arg max that follows then takes it. Temperature 0 is greedy.
    """
    from transformers import LogitsProcessorList
    from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if temperature == 0:
        return LogitsProcessorList()
    chain: list[Any] = [TemperatureLogitsWarper(temperature)] if temperature != 1 else []
    chain += [TopKLogitsWarper(top_k)] if top_k else []
    chain += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    return LogitsProcessorList([*chain, RowSampler(streams(seeds))])


class RowSampler:
    """Keeps one token per row, drawn from softmax(scores) with the row's own stream."""

    def __init__(self, generators: Sequence["torch.Generator"]) -> None:
        self.generators = generators

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        import torch

        uniform = torch.stack([torch.rand(1, generator=g, dtype=torch.float64) for g in self.generators])
        distribution = scores.double().softmax(-1).cumsum(-1)
        target = uniform.to(scores.device) * distribution[:, -1:]
        token = torch.searchsorted(distribution, target, right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, token, 0.0)
