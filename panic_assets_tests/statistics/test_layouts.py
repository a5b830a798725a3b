"""Flat maps: neighbours stay neighbours, and the same seed gives the same map."""

import numpy as np

from panic_assets.statistics.layouts import layout, layout_of_distances


def test_layout_keeps_neighbours_and_is_repeatable():
    rng = np.random.default_rng(0)
    which = np.arange(120) % 3
    vectors = 20 * np.eye(3, 10)[which] + rng.normal(size=(120, 10))
    vectors[5] = vectors[2]
    one, two = layout(vectors, seed=4), layout(vectors, seed=4)
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.positions[5], one.positions[2])
    assert one.trustworthiness > 0.85
    gaps = np.linalg.norm(one.positions[:, None] - one.positions, axis=2) + 1e9 * np.eye(120)
    gaps[2, 5] = gaps[5, 2] = 1e9
    assert (which[gaps.argmin(1)] == which).mean() > 0.98


def test_layout_of_distances_and_of_very_few():
    x = np.random.default_rng(1).normal(size=(40, 2))
    found = layout_of_distances(np.linalg.norm(x[:, None] - x, axis=2), seed=1)
    assert found.positions.shape == (40, 2)
    assert found.trustworthiness > 0.9
    for n in (0, 1, 7):
        assert layout(x[:n]).positions.shape == (n, 2)
        assert np.isnan(layout(x[:n]).trustworthiness)
    assert layout(np.ones((50, 3))).positions.shape == (50, 2)
