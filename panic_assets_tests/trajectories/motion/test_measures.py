"""Measures of motion against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panic_assets.trajectories.motion.measures import (
    angle,
    autocorrelation,
    autocorrelation_time,
    chord,
    drift,
    mean_squared_displacement,
    quantify,
    recurrent,
    steps,
)


def test_chord_and_angle_of_same_orthogonal_and_opposite():
    x, y = np.array([1.0, 0]), np.array([0, 1.0])
    assert [chord(x, v) for v in (x, y, -x)] == pytest.approx([0, np.sqrt(2), 2])
    assert [angle(x, v) for v in (x, y, -x)] == pytest.approx([0, np.pi / 2, np.pi])
    assert angle(3 * x, 7 * y) == pytest.approx(np.pi / 2)
    assert angle(x, np.array([1, 1e-12])) == pytest.approx(1e-12, rel=1e-9)  # an arc cosine says 0
    assert np.isnan(angle(x, 0 * x))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_chord_is_twice_the_sine_of_half_the_angle(seed):
    v = np.random.default_rng(seed).normal(size=(2, 9, 5))
    v /= np.linalg.norm(v, axis=-1, keepdims=True)
    np.testing.assert_allclose(chord(*v), 2 * np.sin(angle(*v) / 2), atol=1e-12)


def test_drift_and_steps_of_a_straight_line():
    line = np.arange(6.0)[:, None] * [3.0, 4.0]
    np.testing.assert_allclose(drift(line, line[0]), 5 * np.arange(6))
    np.testing.assert_allclose(steps(line), 5)
    np.testing.assert_allclose(mean_squared_displacement(line, np.array([0, 1, 3, 6])), [0, 25, 225, np.nan])
    assert len(steps(line[:1])) == 0


def test_displacement_of_free_and_bound_motion():
    rng = np.random.default_rng(0)
    lags = np.array([1, 10, 100])
    noise = rng.normal(size=(20000, 3))
    np.testing.assert_allclose(mean_squared_displacement(np.cumsum(noise, 0), lags), 3 * lags, rtol=0.2)
    np.testing.assert_allclose(mean_squared_displacement(noise, lags), 6, rtol=0.05)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_autoregression(phi):
    rng = np.random.default_rng(1)
    x = np.zeros((40000, 2))
    for t in range(1, len(x)):
        x[t] = phi * x[t - 1] + rng.normal(size=2)
    np.testing.assert_allclose(autocorrelation(x, 3), phi ** np.arange(4), atol=0.03)
    assert autocorrelation_time(x) == pytest.approx((1 + phi) / (1 - phi), rel=0.1)


def test_autocorrelation_agrees_with_its_definition_and_of_a_constant_is_unknown():
    x = np.random.default_rng(2).normal(size=30)
    c = x - x.mean()
    expected = [(c[k:] * c[: 30 - k]).sum() / (c * c).sum() for k in range(30)]
    np.testing.assert_allclose(autocorrelation(x, 99), expected, atol=1e-12)
    assert np.isnan(autocorrelation_time(np.ones((50, 3))))
    assert np.isnan(autocorrelation_time(np.ones((1, 3))))


def test_recurrence_of_a_cycle_is_all_diagonals():
    cycle = np.tile(np.eye(5), (8, 1))
    found = quantify(recurrent(cycle, 0.0), 0.0)
    assert found.determinism == 1
    assert found.longest_diagonal == 35
    assert found.laminarity == 0
    assert found.rate == pytest.approx((7 * 8 * 5) / (40 * 39))
    assert found.mean_diagonal == pytest.approx(np.mean([35, 30, 25, 20, 15, 10, 5]))
    assert found.diagonal_entropy == pytest.approx(np.log(7))


def test_recurrence_of_rest_and_of_what_never_returns():
    rest = quantify(recurrent(np.ones((10, 2)), 0.0), 0.0)
    assert rest.rate == 1
    assert rest.laminarity == pytest.approx(88 / 90)  # the diagonal leaves two single points
    never = quantify(recurrent(np.arange(10.0)[:, None], 0.5), 0.5)
    assert (never.rate, never.determinism, never.laminarity, never.longest_diagonal) == (0, 0, 0, 0)
    assert quantify(recurrent(np.ones((1, 2)), 0.0), 0.0).rate == 0


def test_vertical_lines_do_not_run_on_into_the_next_column():
    near = np.eye(4, dtype=bool)
    near[3, 0] = near[0, 3] = near[0, 1] = near[1, 0] = True
    found = quantify(near, 1.0)
    # Columns: 0 has 1 and 3 apart, 1 has 0, 3 has 0: no line of two.
    assert found.laminarity == 0
