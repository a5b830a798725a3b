import pytest
import torch

from panic_assets.errors import UserError
from panic_assets.grokking.learning import model
from panic_assets_tests.grokking.learning.plain import plain_loss, plain_residual

SMALL = model.Shape(7, d_model=16, heads=4, d_mlp=32)


def test_the_fast_forward_is_the_textbook_model():
    weights = {n: 3 * t.double() for n, t in model.initial(SMALL, 1).items()}
    a, b, answers = model.grid(7)
    tokens = torch.stack([a, b, torch.full_like(a, 7)], 1)
    fast = model.logits(weights, a, b)
    textbook = plain_residual(weights, tokens)[:, -1] @ weights[model.W_U]
    torch.testing.assert_close(fast, textbook, rtol=1e-12, atol=1e-12)
    loss = model.loss_per_pair(fast, answers).mean()
    assert float(loss) == pytest.approx(float(plain_loss(weights, a, b, answers)), rel=1e-12)


def test_gradients_agree_too():
    start = {n: 3 * t.double() for n, t in model.initial(SMALL, 2).items()}
    a, b, answers = model.grid(7)
    gradients = []
    for loss in (
        lambda w: model.loss_per_pair(model.logits(w, a, b), answers).mean(),
        lambda w: plain_loss(w, a, b, answers),
    ):
        weights = {n: t.clone().requires_grad_(True) for n, t in start.items()}
        loss(weights).backward()
        gradients.append(weights)
    for name in model.NAMES:
        torch.testing.assert_close(gradients[0][name].grad, gradients[1][name].grad, rtol=1e-9, atol=1e-12)


def test_small_losses_survive():
    # In float32 a margin of 40 rounds to a loss of exactly zero.
    loss = model.loss_per_pair(torch.tensor([[40.0, 0.0]]), torch.tensor([0]))
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(4.248e-18, rel=1e-3)


def test_the_split_is_by_the_data_seed_alone_and_nested():
    train, test = model.split(31, 0.3, 598)
    assert len(train) == int(961 * 0.3)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(961))
    assert set(train.tolist()) < set(model.split(31, 0.5, 598)[0].tolist())
    assert not torch.equal(train, model.split(31, 0.3, 599)[0])


def test_fresh_weights_have_the_stated_spread_and_follow_the_seed():
    weights = model.initial(model.Shape(31), 5)
    assert {n: tuple(t.shape) for n, t in weights.items()} == model.Shape(31).of
    assert float(weights[model.W_IN].std()) == pytest.approx(0.8 / 128**0.5, rel=0.02)
    again = model.initial(model.Shape(31), 5)
    assert all(torch.equal(weights[n], again[n]) for n in weights)


def test_stored_weights_are_recognised_or_refused():
    weights = model.initial(SMALL, 1)
    assert model.shape_of(weights) == SMALL
    assert model.shape_of({**weights, model.W_U: torch.zeros(16, 8)}) == SMALL
    with pytest.raises(UserError, match="W_K has shape"):
        model.shape_of({**weights, model.W_K: torch.zeros(4, 16, 5)})
    with pytest.raises(UserError, match="W_U is missing"):
        model.shape_of({n: t for n, t in weights.items() if n != model.W_U})
    with pytest.raises(UserError, match="bias"):
        model.shape_of({**weights, "blocks.0.mlp.b_in": torch.ones(32)})
