"""Standing among null values."""

import numpy as np
import pytest

from panic_assets.statistics.nulls import standing, standings


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
