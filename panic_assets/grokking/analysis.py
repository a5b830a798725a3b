"""All measurements of one checkpoint, in one pass over the full grid of pairs. Pure: tensors in, rows out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from panic_assets.errors import UserError
from panic_assets.grokking.learning.model import SHORT, attention_out, grid, loss_per_pair, resid_pre, shape_of, split
from panic_assets.grokking.learning.model import neurons as neuron_values
from panic_assets.grokking.learning.recipe import Recipe
from panic_assets.grokking.spectra import circle, fourier, neurons, pca

Row = dict[str, Any]


def load(path: Path | str) -> dict[str, Tensor]:
    """The nine matrices of a checkpoint by their long names; other tensors of the file are left out. Refuses matrices
    whose sizes do not fit together, and infinite or NaN numbers: training diverged, and nothing can be measured."""
    with safe_open(path, "pt") as file:
        tensors = {n: file.get_tensor(n).float() for n in file.keys() if not n.startswith("adam.")}  # noqa: SIM118
    shape_of(tensors)
    found = {name: tensors[name] for name in SHORT}
    spoilt = [name for name, tensor in found.items() if not tensor.isfinite().all()]
    if spoilt:
        raise UserError(f"{path} has numbers that are infinite or NaN in {', '.join(spoilt)}: training diverged")
    return found


def arrays(weights: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The matrices by their short names, as the analyses take them."""
    return {SHORT[name]: tensor.numpy() for name, tensor in weights.items()}


@dataclass(frozen=True)
class Activations:
    """What the model holds at the last position for every pair in grid order: (p*p, ...) each."""

    sites: dict[str, np.ndarray]
    neurons: np.ndarray
    logits: Tensor
    answers: np.ndarray


@torch.no_grad()
def activations(weights: Mapping[str, Tensor]) -> Activations:
    """Run the model on the full grid."""
    p = shape_of(weights).p
    a, b, answers = grid(p)
    attention = attention_out(weights, a, b)
    fired = neuron_values(weights, attention)
    out = fired @ weights["blocks.0.mlp.W_out"]
    before = resid_pre(weights)
    final = before + attention + out
    sites = {
        "resid_pre": before.expand_as(final).numpy(),
        "attn_out": attention.numpy(),
        "mlp_out": out.numpy(),
        "resid_post": final.numpy(),
    }
    return Activations(sites, fired.numpy(), final @ weights["unembed.W_U"], answers.numpy())


def centroids(values: Activations, p: int) -> dict[str, np.ndarray]:
    """(p, d_model) centroid of every answer, by site."""
    return {site: circle.centroids(v, values.answers, p) for site, v in values.sites.items()}


@dataclass(frozen=True)
class Measured:
    """Rows for each table, without run and epoch (`row_scores` as columns, for they are many), and metrics by name:
    (value, direction)."""

    spectra: list[Row]
    dominant: list[Row]
    neurons: list[Row]
    rings: list[Row]
    class_pca: list[Row]
    centroids: list[Row]
    row_pca: list[Row]
    row_scores: dict[str, np.ndarray]
    metrics: dict[str, tuple[float, str]]


def measure(weights: Mapping[str, Tensor], recipe: Recipe | None = None) -> Measured:
    """All analyses of one checkpoint. With the recipe (its data split), losses and accuracies too."""
    p = shape_of(weights).p
    matrices = arrays(weights)
    values = activations(weights)
    spectra, shares = spectrum_rows(matrices)
    concentration = neurons.concentrations(values.neurons, p)
    ks, best = neurons.dominant(concentration)
    metrics: dict[str, tuple[float, str]] = {"neuron_concentration": (float(best.mean()), "up")}
    embed, unembed = shares["W_E"], shares["W_U"]
    if embed is not None and unembed is not None:
        metrics["agreement_W_E_W_U"] = (fourier.agreement(embed, unembed), "up")
    ring_rows: list[Row] = []
    class_rows: list[Row] = []
    centroid_rows: list[Row] = []
    for site, points in centroids(values, p).items():
        found = circle.rings(points)
        ring_rows += [
            {
                "site": site,
                "k": r.k,
                "share": r.share,
                "circularity": r.circularity,
                "radius": r.radius,
                "residual": r.residual,
            }
            for r in found
        ]
        spread = circle.class_distribution(points)
        pc1, pc2, pc3, rest = spread or (None,) * 4
        class_rows.append(
            {"site": site, "defined": spread is not None, "pc1": pc1, "pc2": pc2, "pc3": pc3, "remainder": rest}
        )
        if spread is not None:
            for answer, (one, two, three) in enumerate(pca.of_rows(points).scores.tolist()):
                centroid_rows.append({"site": site, "answer": answer, "pc1": one, "pc2": two, "pc3": three})
        circular = circle.site_circularity(found)
        if circular is not None:
            metrics[f"circularity_{site}"] = (circular, "up")
    if recipe is not None:
        metrics |= scores(values, recipe)
    own = {matrix: pca.of_rows(rows) for matrix, rows in pca.token_rows(matrices).items()}
    return Measured(
        spectra,
        [
            {"rank": i, "k": d.k, "part": d.part, "norm": d.norm}
            for i, d in enumerate(fourier.row_norms(matrices["W_E"][:p]), start=1)
        ],
        [
            {"neuron": i, "k": int(k) if k != neurons.DEAD else None, "concentration": float(c)}
            for i, (k, c) in enumerate(zip(ks, best, strict=True))
        ],
        ring_rows,
        class_rows,
        centroid_rows,
        row_pca({matrix: found.shares for matrix, found in own.items()}),
        row_scores({matrix: found.scores for matrix, found in own.items()}),
        metrics,
    )


def row_pca(shares: Mapping[str, np.ndarray | None]) -> list[Row]:
    """Rows of each matrix's shares (c,), for c up to 3: None for what is undefined."""
    return [
        {"matrix": matrix, **{f"pc{i + 1}": None if s is None or i >= len(s) else float(s[i]) for i in range(3)}}
        for matrix, s in shares.items()
    ]


def row_scores(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of each matrix's coordinates (n, c), for c up to 3: what is missing is 0."""
    lengths = [len(at) for at in scores.values()]
    together = np.concatenate([np.pad(at, ((0, 0), (0, 3 - at.shape[1]))) for at in scores.values()])
    return {
        "matrix": np.repeat(list(scores), lengths),
        "item": np.concatenate([np.arange(n) for n in lengths]),
        **{f"pc{i + 1}": together[:, i] for i in range(3)},
    }


def spectrum_rows(matrices: Mapping[str, np.ndarray]) -> tuple[list[Row], dict[str, np.ndarray | None]]:
    """Rows of every weight space's spectrum, and the spectra by space."""
    rows: list[Row] = []
    shares = {space: fourier.fractions(matrix) for space, matrix in fourier.weight_spaces(matrices).items()}
    for space, share in shares.items():
        if share is None:
            rows.append({"space": space, "k": None, "fraction": None, "note": "constant over tokens"})
            continue
        rows += [{"space": space, "k": k, "fraction": float(f), "note": None} for k, f in enumerate(share, start=1)]
    rows.append({"space": "W_pos", "k": None, "fraction": None, "note": "no token axis"})
    return rows, shares


def scores(values: Activations, recipe: Recipe) -> dict[str, tuple[float, str]]:
    """Losses and accuracies on the recipe's training and test pairs."""
    answers = torch.from_numpy(values.answers)
    loss = loss_per_pair(values.logits, answers)
    right = (values.logits.argmax(-1) == answers).double()
    out: dict[str, tuple[float, str]] = {}
    for part, index in zip(("train", "test"), split(recipe.p, recipe.train_fraction, recipe.data_seed), strict=True):
        out[f"{part}_loss"] = (float(loss[index].mean()), "down")
        out[f"{part}_accuracy"] = (float(right[index].mean()), "up")
    return out
