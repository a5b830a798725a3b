"""Standing among null values."""

import numpy as np
import pytest
from scipy.stats import norm

from panic_assets.statistics.nulls import pooled, standing, standings


def test_by_hand():
    found = standing(2.5, np.array([1.0, 2, 3, 4]))
    assert (found.percentile, found.p_value, found.null_mean, found.replicates) == (50, 1, 2.5, 4)
    assert standing(9, np.arange(99.0) / 100).p_value == pytest.approx(0.02)
    assert standing(9, np.arange(99.0) / 100).percentile == 100
    assert standing(-9, np.arange(99.0) / 100).percentile == 0
    assert standing(1, np.ones(19)).percentile == 50
    assert standing(1, np.ones(19)).p_value == 1


def test_under_the_null_the_p_value_is_valid():
    rng = np.random.default_rng(0)
    p = np.array([standing(x[0], x[1:]).p_value for x in rng.normal(size=(4000, 100))])
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=3 * np.sqrt(level / 4000) + 0.01)


def test_what_has_no_value_has_no_standing():
    chance = [{"a": 1.0, "b": None, "c": 1.0, "d": np.nan}, {"a": np.nan, "b": 2.0, "c": 3.0, "d": None}]
    found = dict(standings({"a": 2.0, "b": None, "c": 2.0, "d": 0.0}, chance))
    assert set(found) == {"a", "c"}
    assert (found["a"].replicates, found["c"].replicates) == (1, 2)
    assert found["c"] == standing(2.0, np.array([1.0, 3.0]))


@pytest.mark.parametrize("runs", [1, 3, 20])
def test_pooled_p_values_are_valid_by_chance(runs):
    rng = np.random.default_rng(runs)
    ranks = rng.integers(0, 40, size=(20_000, runs))  # of one value among 39 like it
    p = np.array([pooled(100 * row / 39, 39) for row in ranks])
    for level in (0.01, 0.05, 0.1):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / 20_000)
    if runs == 20:
        assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.006)


def test_pooling_finds_what_no_single_run_can_show():
    each = [standing(1.0, np.arange(39) / 40.0) for _ in range(20)]
    assert each[0].p_value == pytest.approx(0.05)  # The least that 39 can say: nothing is left of it among many.
    percentiles = np.array([one.percentile for one in each])
    assert pooled(percentiles, 39) == pytest.approx(2 * norm.sf(50 / (100 * np.sqrt(41 / (12 * 39 * 20)))))
    assert pooled(percentiles, 39) < 1e-10
    assert pooled(np.full(20, 50.0), 39) == 1


def test_rounding_decides_nothing():
    """A null that keeps a measure, but for the order of a sum, is no evidence."""
    found = standing(0.1 + 0.2 + 0.3, np.full(39, 0.3 + 0.2 + 0.1))
    assert (found.percentile, found.p_value) == (50, 1)
    assert standing(1.0, np.full(39, 1 + 1e-8)).percentile == 0
