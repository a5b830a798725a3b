"""The textbook model and training loop: every position, every query, no shortcuts. What the fast one is held to."""

import torch
import torch.nn.functional as F


def plain_residual(weights, tokens):
    """(n, 3) tokens -> (n, 3, d_model) after the MLP, causal attention written out."""
    w = {name.rsplit(".", 1)[1]: tensor for name, tensor in weights.items()}
    x = w["W_E"][tokens] + w["W_pos"]
    q, k, v = (torch.einsum("npd,hdk->nhpk", x, w[f"W_{name}"]) for name in "QKV")
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(torch.triu(torch.ones(3, 3, dtype=torch.bool), 1), float("-inf"))
    x = x + torch.einsum("nhpk,hkd->npd", scores.softmax(-1) @ v, w["W_O"])
    return x + F.relu(x @ w["W_in"]) @ w["W_out"]


def plain_loss(weights, a, b, answers):
    p = weights["embed.W_E"].shape[0] - 1
    tokens = torch.stack([a, b, torch.full_like(a, p)], 1)
    logits = plain_residual(weights, tokens)[:, -1] @ weights["unembed.W_U"]
    return F.cross_entropy(logits.double(), answers)


def plain_train(weights, p, train, test, steps, lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98)):
    """Returns (weights, train losses, test losses); losses[e] is that of the weights after e steps."""
    weights = {name: tensor.clone().requires_grad_(True) for name, tensor in weights.items()}
    optimiser = torch.optim.AdamW(weights.values(), lr=lr, weight_decay=weight_decay, betas=betas)
    index = torch.arange(p * p)
    a, b = index // p, index % p
    answers = (a + b) % p
    losses = []
    for _ in range(steps):
        loss = plain_loss(weights, a[train], b[train], answers[train])
        with torch.no_grad():
            test_loss = plain_loss(weights, a[test], b[test], answers[test])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append((loss.item(), test_loss.item()))
    return {n: t.detach() for n, t in weights.items()}, [x for x, _ in losses], [y for _, y in losses]
