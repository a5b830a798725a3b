import numpy as np
import pytest

from panic_assets.models.load import load
from panic_assets.models.protocol import Control
from panic_assets.registry import registry

WALKS = {"RandomWalk": 0.0, "RandomWalk50": 0.5, "RandomWalk90": 0.9}


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_is_a_function_of_its_key_and_its_prefixes_stay(name):
    model = load(registry.get(name))
    assert isinstance(model, Control)
    walk = model.walk("run 1", 40)
    assert walk.dtype == np.float32
    assert walk.shape == (40, 384)
    for count in (0, 1, 2, 17, 40):
        assert walk[:count].tobytes() == load(registry.get(name)).walk("run 1", count).tobytes()
    assert np.abs(walk - model.walk("run 2", 40)).max() > 0.1


@pytest.mark.parametrize(("name", "rho"), WALKS.items())
def test_steps_have_unit_mean_square_and_the_stated_correlation(name, rho):
    model = load(registry.get(name))
    starts, squares, products = [], [], []
    for key in range(40):
        walk = model.walk(str(key), 200).astype(np.float64)
        steps = np.diff(walk, axis=0, prepend=0 * walk[:1])
        starts.append((steps[0] ** 2).sum())
        squares.append((steps**2).sum(axis=1).mean())
        products.append((steps[1:] * steps[:-1]).sum(axis=1).mean())
    # Stationary from the first step on: no burn-in to cut away.
    assert np.mean(starts) == pytest.approx(1, abs=0.05)
    assert np.mean(squares) == pytest.approx(1, abs=0.02)
    assert np.mean(products) == pytest.approx(rho, abs=0.02)


def test_walks_of_one_key_under_two_entries_are_independent():
    steps = [np.diff(load(registry.get(name)).walk("run", 500), axis=0).ravel() for name in WALKS]
    assert np.abs(np.corrcoef(steps) - np.eye(3)).max() < 0.03


def test_distance_from_the_start_follows_the_closed_form():
    # E|x_n - x_0|^2 for AR(1) steps: n + 2 sum_k (n - k) rho^k.
    n, rho = 100, 0.9
    model = load(registry.get("RandomWalk90"))
    measured = np.mean([((w[n] - w[0]) ** 2).sum() for w in (model.walk(str(k), n + 1) for k in range(60))])
    expected = n + 2 * sum((n - k) * rho**k for k in range(1, n))
    assert measured == pytest.approx(expected, rel=0.1)
