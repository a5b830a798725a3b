"""Curves and pictures of diagrams against closed forms."""

import numpy as np
import pytest
from gudhi.representations import Landscape
from hypothesis import given, settings
from hypothesis import strategies as st

from panic_assets.trajectories.topology.curves import betti_curve, image, landscape


def some(seed, n):
    rng = np.random.default_rng(seed)
    birth = rng.uniform(0, 1, n)
    return np.column_stack([birth, birth + rng.uniform(0.01, 0.5, n)])


def test_betti_curve_by_hand():
    bars = np.array([[0, np.inf], [0, 1], [1, 2], [0.5, 1.5]])
    assert betti_curve(bars, np.array([-1, 0, 0.5, 1, 1.5, 2, 9])).tolist() == [0, 2, 3, 3, 2, 1, 1]
    assert betti_curve(np.empty((0, 2)), np.array([0.0, 1])).tolist() == [0, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_the_area_under_a_betti_curve_is_the_total_persistence(seed, n):
    bars, grid = some(seed, n), np.linspace(0, 2, 40001)
    assert betti_curve(bars, grid).mean() * 2 == pytest.approx(np.diff(bars, axis=1).sum(), abs=n * 1e-4 + 1e-9)


def test_landscape_by_hand_and_against_gudhi():
    grid = np.linspace(0, 2, 201)
    one = landscape(np.array([[0.5, 1.5], [0, np.inf]]), grid, 2)
    assert (one[0].max(), grid[one[0].argmax()]) == (pytest.approx(0.5), pytest.approx(1.0))
    assert (one[1] == 0).all()
    bars = some(1, 20)
    expected = Landscape(num_landscapes=4, resolution=201, sample_range=[0, 2]).fit_transform([bars])
    np.testing.assert_allclose(landscape(bars, grid, 4).ravel(), expected[0] / np.sqrt(2), atol=1e-12)


@pytest.mark.parametrize("pixels", [5, 40])
def test_an_image_sums_to_the_total_persistence_whatever_the_pixels(pixels):
    bars = some(2, 15)
    edges = np.linspace(-2, 4, pixels)
    assert image(bars, edges, edges, 0.1).sum() == pytest.approx(np.diff(bars, axis=1).sum(), rel=1e-9)


def test_an_image_of_one_bar_is_a_gaussian_at_birth_and_length():
    edges = np.linspace(0, 2, 201)
    found = image(np.array([[0.5, 1.75], [0, np.inf]]), edges, edges, 0.1)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert edges[column] == pytest.approx(0.5, abs=0.011)
    assert edges[row] == pytest.approx(1.25, abs=0.011)
    assert found.max() == pytest.approx(1.25 * 0.01**2 / (2 * np.pi * 0.1**2), rel=1e-2)
