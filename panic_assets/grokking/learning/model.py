"""The modular-addition transformer (Nanda et al. 2023): one layer, no LayerNorm, no biases, read at `=`.

Input is [a, b, =], the answer is read at the last position. With one layer, only the last position's query,
MLP and logits matter, and that query is the same for every pair. So keys and values are computed once per token
(p + 1 rows) and gathered by pair, and everything after attention runs at one position of three: the same
function as the textbook model at a third of the work. `panic_assets_tests/grokking/learning/plain.py` is the textbook.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from panic_assets.errors import UserError

Weights = dict[str, Tensor]
"""Name (as in TransformerLens) -> float32 tensor."""

W_E, W_POS, W_U = "embed.W_E", "pos_embed.W_pos", "unembed.W_U"
W_Q, W_K, W_V, W_O = (f"blocks.0.attn.W_{x}" for x in "QKVO")
W_IN, W_OUT = "blocks.0.mlp.W_in", "blocks.0.mlp.W_out"
NAMES = (W_E, W_POS, W_Q, W_K, W_V, W_O, W_IN, W_OUT, W_U)
"""The nine matrices, in the order in which the model seed draws them."""
SHORT = {name: name.rsplit(".", 1)[1] for name in NAMES}
"""`embed.W_E` -> `W_E`, and so on: how tables and pictures call them."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the model. `d_model` is divided evenly among the heads."""

    p: int
    d_model: int = 128
    heads: int = 4
    d_mlp: int = 512

    def __str__(self) -> str:
        return f"p={self.p}, d_model={self.d_model}, heads={self.heads}, d_mlp={self.d_mlp}"

    @property
    def d_head(self) -> int:
        return self.d_model // self.heads

    @property
    def of(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape. Tokens are 0..p-1 and `=` (p); the answers are 0..p-1."""
        per_head = (self.heads, self.d_model, self.d_head)
        return {
            W_E: (self.p + 1, self.d_model),
            W_POS: (3, self.d_model),
            W_Q: per_head,
            W_K: per_head,
            W_V: per_head,
            W_O: (self.heads, self.d_head, self.d_model),
            W_IN: (self.d_model, self.d_mlp),
            W_OUT: (self.d_mlp, self.d_model),
            W_U: (self.d_model, self.p),
        }


def initial(shape: Shape, seed: int) -> Weights:
    """Fresh weights: normal with standard deviation 0.8 / sqrt(d_model), drawn on the CPU in the order of NAMES."""
    generator = torch.Generator().manual_seed(seed)
    std = 0.8 / shape.d_model**0.5
    return {name: torch.randn(shape.of[name], generator=generator) * std for name in NAMES}


def shape_of(weights: Mapping[str, Tensor]) -> Shape:
    """The sizes of stored weights. Refuses another layout, naming the tensor that does not fit.

    W_U may have p or p + 1 columns (with `=` as an answer that never occurs); biases must be absent or zero.
    """
    missing = [name for name in NAMES if name not in weights]
    if missing:
        raise UserError(f"this is not a modular-addition transformer: tensor {missing[0]} is missing")
    dimensions = {name: weights[name].dim() for name in NAMES}
    wrong = [name for name, count in dimensions.items() if count != (3 if ".attn." in name else 2)]
    if wrong:
        raise UserError(
            f"tensor {wrong[0]} has {dimensions[wrong[0]]} dimensions; this model has 2, and 3 in attention"
        )
    tokens, d_model = weights[W_E].shape
    if not all(weights[name].numel() for name in NAMES):
        raise UserError("a tensor of this model is empty")
    shape = Shape(tokens - 1, d_model, weights[W_Q].shape[0], weights[W_IN].shape[1])
    for name in NAMES:
        found, wanted = tuple(weights[name].shape), shape.of[name]
        if found != wanted and not (name == W_U and found == (d_model, tokens)):
            raise UserError(f"tensor {name} has shape {found}; it must have {wanted}")
    for name, tensor in weights.items():
        if name.rsplit(".", 1)[-1].startswith("b_") and bool(tensor.any()):
            raise UserError(f"bias {name} is not zero; grokking models have no biases, so it must be zero or absent")
    return shape


def attention_out(weights: Mapping[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
    """What attention adds at the last position: (n, d_model) for n pairs (a, b)."""
    embedding, position = weights[W_E], weights[W_POS]
    p = embedding.shape[0] - 1
    d_head = weights[W_Q].shape[-1]
    first, second, last = embedding[:p] + position[0], embedding[:p] + position[1], embedding[p] + position[2]
    query = torch.einsum("d,hdk->hk", last, weights[W_Q]) / d_head**0.5
    pointer = torch.einsum("hk,hdk->hd", query, weights[W_K])
    s_first, s_second, s_last = first @ pointer.T, second @ pointer.T, pointer @ last  # (p, h), (p, h), (h,)
    scores = torch.stack([s_first[a], s_second[b], s_last.expand(a.shape[0], -1)])  # (3, n, h)
    pattern = scores.softmax(0).unsqueeze(-1)
    v_first, v_second = (torch.einsum("td,hdk->thk", x, weights[W_V]) for x in (first, second))
    v_last = torch.einsum("d,hdk->hk", last, weights[W_V])
    mixed = pattern[0] * v_first[a] + pattern[1] * v_second[b] + pattern[2] * v_last  # (n, h, d_head)
    return mixed.flatten(1) @ weights[W_O].flatten(0, 1)


def resid_pre(weights: Mapping[str, Tensor]) -> Tensor:
    """(d_model,): what the last position holds before attention; the same for every pair."""
    return weights[W_E][-1] + weights[W_POS][2]


def neurons(weights: Mapping[str, Tensor], attention: Tensor) -> Tensor:
    """(n, d_mlp): neuron activations, given what attention adds."""
    return ((resid_pre(weights) + attention) @ weights[W_IN]).relu_()  # in place: it is the largest array there is


def logits_after(weights: Mapping[str, Tensor], attention: Tensor) -> Tensor:
    """(n, answers): logits at the last position, given what attention adds.

    What neurons say about answers, W_out W_U, is multiplied out first: once, instead of d_model columns per pair.
    """
    direct = (resid_pre(weights) + attention) @ weights[W_U]
    return direct + neurons(weights, attention) @ (weights[W_OUT] @ weights[W_U])


def logits(weights: Mapping[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
    """(n, answers): logits at the last position for pairs (a, b)."""
    return logits_after(weights, attention_out(weights, a, b))


def loss_per_pair(scores: Tensor, answers: Tensor) -> Tensor:
    """(n,) cross-entropy in float64: late in training float32 would round it to zero."""
    return -scores.double().log_softmax(-1).gather(-1, answers.unsqueeze(-1)).squeeze(-1)


def grid(p: int) -> tuple[Tensor, Tensor, Tensor]:
    """All p^2 pairs in the order a * p + b, and their answers (a + b) mod p."""
    index = torch.arange(p * p)
    a, b = index // p, index % p
    return a, b, (a + b) % p


def split(p: int, fraction: float, data_seed: int) -> tuple[Tensor, Tensor]:
    """Indices into the grid of the training and the test pairs. A larger fraction contains a smaller one."""
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(data_seed))
    cut = int(p * p * fraction)
    return order[:cut], order[cut:]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread for torch and numpy: for matrices this small a second one does not help."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)
