"""Standing among null values."""

import numpy as np
import pytest

from panic_assets.statistics.nulls import standing


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
