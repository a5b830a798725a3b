"""Markov state models against chains that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from panic_assets.trajectories.clusters.markov import (
    _active,
    chapman_kolmogorov,
    counts,
    entropy_rate,
    model,
    slowest,
    stationary,
    timescales,
)


def chain(transition, runs, length, seed):
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(transition, axis=1)
    found = np.zeros((runs, length), dtype=np.int64)
    found[:, 0] = rng.integers(len(transition), size=runs)
    for t in range(1, length):
        found[:, t] = (rng.random(runs)[:, None] > cumulative[found[:, t - 1]]).sum(axis=1)
    return list(found)


TWO = np.array([[0.9, 0.1], [0.2, 0.8]])


def test_closed_forms_of_two_states():
    np.testing.assert_allclose(stationary(TWO), [2 / 3, 1 / 3])
    np.testing.assert_allclose(timescales(TWO, 1), [-1 / np.log(0.7)])
    np.testing.assert_allclose(timescales(np.linalg.matrix_power(TWO, 5), 5), [-1 / np.log(0.7)])
    h = lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p)  # noqa: E731
    assert entropy_rate(TWO) == pytest.approx(2 / 3 * h(0.1) + 1 / 3 * h(0.2))
    assert entropy_rate(np.eye(3)[[1, 2, 0]]) == 0
    assert entropy_rate(np.full((4, 4), 0.25)) == pytest.approx(np.log(4))
    assert timescales(np.eye(2)[::-1], 1)[0] == np.inf


def test_counts_by_hand_never_across_runs_or_with_outliers():
    states, found = counts([np.array([0, 0, -1, 2]), np.array([-1, 2, 2])], 1)
    assert states.tolist() == [0, 2]
    assert found.tolist() == [[2, 1], [0, 1]]
    assert counts([np.array([0, 0, 2]), np.array([2])], 2)[1].tolist() == [[0, 1], [0, 0]]
    assert counts([np.array([0, 1])], 5)[1].sum() == 0


def test_the_model_finds_the_chain():
    found = model(chain(TWO, 100, 400, 0))
    np.testing.assert_allclose(found.transition, TWO, atol=0.01)
    np.testing.assert_allclose(found.stationary, [2 / 3, 1 / 3], atol=0.02)
    assert found.coverage == 1


def test_only_states_that_lead_to_each_other_are_modelled():
    found = model([np.array([3, 0, 1, 0, 1, 1, 0, 1, 0]), np.array([7, 7])])
    assert found.states.tolist() == [0, 1]
    np.testing.assert_allclose(found.transition.sum(1), 1)
    assert found.coverage == pytest.approx(7 / 9)
    for empty in ([], [np.array([-1, -1])], [np.array([0])], [np.array([0, 1])]):
        assert len(model(empty).states) == 0
        assert entropy_rate(model(empty).transition) == 0
    assert model([np.array([4, 4])]).states.tolist() == [4]


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0, 0.4))
def test_the_active_set_is_a_strong_component_with_the_most_counts(seed, states, density):
    rng = np.random.default_rng(seed)
    total = rng.integers(1, 9, size=(states, states)) * (rng.random((states, states)) < density)
    _, member = connected_components(csr_array(total), connection="strong")
    inside = [total[np.ix_(member == c, member == c)].sum() for c in range(member.max() + 1)]
    found = _active(total)
    assert total[np.ix_(found, found)].sum() == max(inside)
    assert not len(found) or set(np.flatnonzero(member == member[found[0]])) == set(found)


def test_implied_timescales_are_flat_in_the_lag_and_covered():
    truth = -1 / np.log(0.7)
    found = slowest(chain(TWO, 60, 200, 3), [1, 2, 4], replicates=100)
    assert all(interval.low < truth < interval.high for interval in found)
    assert all(interval.estimate == pytest.approx(truth, rel=0.25) for interval in found)


def test_chapman_kolmogorov_accepts_a_chain_and_rejects_a_memory():
    good = chapman_kolmogorov(chain(TWO, 60, 200, 1), replicates=100)
    np.testing.assert_allclose(good.predicted, good.estimated, atol=0.06)
    assert good.p_value > 0.05
    # A state that is soon left lumped with one that is not: how likely it is to stay depends on how long it stayed.
    hidden = np.array([[0.98, 0.0, 0.02], [0.0, 0.2, 0.8], [0.15, 0.15, 0.7]])
    lumped = [np.array([0, 0, 1])[s] for s in chain(hidden, 60, 200, 1)]
    assert chapman_kolmogorov(lumped, replicates=100).p_value < 0.05


FOUR = np.array([[0.8, 0.1, 0.05, 0.05], [0.1, 0.7, 0.1, 0.1], [0.05, 0.15, 0.75, 0.05], [0.02, 0.08, 0.1, 0.8]])


@pytest.mark.parametrize(("transition", "lag", "length"), [(TWO, 1, 60), (FOUR, 1, 60), (FOUR, 2, 100)])
def test_chapman_kolmogorov_p_values_are_not_small_for_few_runs_of_a_chain(transition, lag, length):
    """With the spread of resampled runs for an error, 8 runs of a chain are rejected in a fifth of all cases."""
    p = [chapman_kolmogorov(chain(transition, 8, length, seed), lag, replicates=60).p_value for seed in range(60)]
    assert np.mean(np.array(p) <= 0.05) <= 0.12
    assert 0.3 < np.mean(p) < 0.7


def test_chapman_kolmogorov_where_runs_differ_in_length_or_leave_for_good():
    walks = [walk[: 40 + 5 * k] for k, walk in enumerate(chain(TWO, 12, 100, 4))]
    walks[3][30:] = 7  # never left
    found = chapman_kolmogorov(walks, replicates=60)
    assert found.predicted.shape == found.estimated.shape == found.error.shape == (4, 2)
    assert found.p_value > 0.05
    expected = model(walks).transition
    np.testing.assert_allclose(found.predicted[0], np.diag(expected @ expected))
    for nothing in ([], [np.array([-1, -1])], [np.array([0])], [np.array([0, 1])]):
        assert np.isnan(chapman_kolmogorov(nothing, replicates=9).p_value)
