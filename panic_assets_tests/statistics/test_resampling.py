"""Permutations by units and blocks, contrasts, families of tests, effect sizes."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.statistics.contrasts import contrast
from panic_assets.statistics.effects import cliffs_delta, hedges_g
from panic_assets.statistics.multiple import adjust, benjamini_hochberg
from panic_assets.statistics.resampling import permutation_test


def clustered(seed, runs=30, rows=20):
    """Rows of a run are nearly copies of each other: there are 30 observations, not 600."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(runs), rows)
    return rng.normal(size=runs)[unit] + 0.1 * rng.normal(size=runs * rows), unit


def test_permutation_respects_blocks():
    """The group follows the block: freely exchanged labels find the block's effect, exchanged within they do not."""
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(10), 8)
    group = (rng.random(80) < np.where(block < 5, 0.8, 0.2)).astype(int)
    values = 3.0 * (block < 5) + rng.normal(size=80)
    assert permutation_test(values, group).p_value < 0.01
    assert permutation_test(values, group, block).p_value > 0.05
    assert permutation_test(values + 2 * group, group, block).p_value < 0.01


def test_permutation_counts_units_not_rows():
    values, unit = clustered(7)
    group = unit % 2
    rows = permutation_test(values, group)
    honest = permutation_test(values, group, units=unit)
    assert (rows.units, honest.units) == (600, 30)
    p = np.array([permutation_test(clustered(s)[0], group, units=unit, permutations=99).p_value for s in range(200)])
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.05)
    q = np.array([permutation_test(clustered(s)[0], group, permutations=49).p_value for s in range(60)])
    assert (q <= 0.05).mean() > 0.4  # the mistake
    with pytest.raises(ValueError, match="several groups"):
        permutation_test(values, np.arange(600) % 2, units=unit)


def test_permutation_statistic_is_the_share_explained():
    found = permutation_test(np.array([1.0, 1, 3, 3]), ["a", "a", "b", "b"])
    assert found.statistic == 1
    assert found.p_value == pytest.approx(1 / 3, abs=0.05)  # 2 of 6 arrangements
    assert permutation_test(np.ones(6), list("ababab")).p_value == 1


@given(st.lists(st.floats(0, 1), max_size=30))
def test_benjamini_hochberg_agrees_with_scipy(p):
    found = benjamini_hochberg(np.array(p))
    if p:
        np.testing.assert_allclose(found, scipy.stats.false_discovery_control(p), atol=1e-12)
    assert (found >= p).all()
    with_gap = benjamini_hochberg(np.array([np.nan, *p]))
    assert np.isnan(with_gap[0])
    np.testing.assert_array_equal(with_gap[1:], found)


def test_adjusted_rows_are_one_family():
    family = [{"p_value": 0.01}, {"p_value": 0.04}]
    adjust(family)
    assert [row["adjusted_p_value"] for row in family] == pytest.approx([0.02, 0.04])
    adjust([])


def two_networks(seed, effect, prompts=6, each=4):
    """Runs of two networks on every prompt, prompts differing much: (values, first, prompt)."""
    rng = np.random.default_rng(seed)
    prompt = np.tile(np.repeat(np.arange(prompts), each), 2)
    first = np.arange(len(prompt)) < len(prompt) // 2
    return 10 * prompt + effect * first + rng.normal(size=len(prompt)), first, prompt


def test_contrast_of_two_networks_within_prompts():
    values, first, prompt = two_networks(0, 2.0)
    found = contrast(values, first, prompt)
    assert (found.rows, found.other_rows) == (24, 24)
    assert found.difference == pytest.approx(found.mean - found.other_mean)
    assert found.difference == pytest.approx(2, abs=0.8)
    assert found.low < found.difference < found.high
    assert found.p_value == 0.001  # between prompts it drowns:
    assert contrast(values, first, np.zeros(48)).p_value > 0.3
    p = [contrast(*two_networks(seed, 0.0), permutations=99).p_value for seed in range(100)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.09)
    assert contrast(values, first, prompt) == found  # seeded


@pytest.mark.parametrize(("prompts", "each"), [(4, 8), (4, 2), (20, 4)])
def test_intervals_are_of_runs_within_prompts_as_the_permutation_is(prompts, each):
    """Prompts differ by ten deviations of runs. An interval that resamples them too is several times too wide."""
    found = [contrast(*two_networks(seed, 1.0, prompts, each), permutations=199) for seed in range(100)]
    assert 0.88 <= np.mean([one.low <= 1 <= one.high for one in found]) <= 0.99
    expected = 2 * scipy.stats.t.ppf(0.975, 2 * prompts * (each - 1)) * np.sqrt(2 / (prompts * each))
    assert np.mean([one.high - one.low for one in found]) == pytest.approx(expected, rel=0.15)
    assert np.mean([one.p_value <= 0.01 and one.low < 0 for one in found]) <= 0.03
    assert np.mean([one.hedges_g for one in found]) == pytest.approx(1, abs=0.15)


def test_the_difference_is_within_prompts_even_if_one_network_has_more_runs_of_some():
    prompt = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    first = np.arange(8) < 4
    values = 100.0 * prompt + 3 * first + np.array([0, 1, -1, 0, 0, 1, -1, 0])
    found = contrast(values, first, prompt)
    assert found.difference == pytest.approx(3)
    assert found.mean - found.other_mean == pytest.approx(-47)
    assert found.low < 3 < found.high
    with pytest.raises(ValueError, match="one side only"):
        contrast(values, first, np.arange(8))


def test_two_unlike_networks_get_welch_s_interval():
    one, other = np.random.default_rng(2).normal(size=9), 5 * np.random.default_rng(3).normal(size=4)
    first = np.arange(13) < 9
    found = contrast(np.append(one, other), first, np.zeros(13))
    expected = scipy.stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_contrast_of_a_model_with_a_control_on_the_same_runs():
    """Runs differ by far more than the two measurements of one: paired, the difference is certain."""
    rng = np.random.default_rng(1)
    run = np.repeat(np.arange(12), 2)
    first = np.tile([True, False], 12)
    values = 5 * rng.normal(size=12)[run] + 0.5 * first + 0.1 * rng.normal(size=24)
    found = contrast(values, first, run, run // 6)
    assert 0.4 < found.low < found.difference < found.high < 0.6
    expected = scipy.stats.ttest_rel(values[first], values[~first]).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.p_value < 0.01
    assert abs(found.hedges_g) < 0.3
    assert contrast(values, first, np.zeros(24)).p_value > 0.5  # not knowing the pairs


def test_where_nothing_is_known_of_chance_there_is_no_interval():
    pair = contrast(np.array([1.0, 3]), np.array([True, False]), [0, 0])
    assert pair.difference == -2
    assert np.isnan([pair.low, pair.high, pair.hedges_g]).all()
    alone = contrast(np.array([1.0, 3, 4]), np.array([True, False, False]), [0, 0, 0])
    assert np.isnan([alone.low, alone.high]).all()
    still = contrast(np.array([1.0, 1, 3, 3]), np.array([True, True, False, False]), [0] * 4)
    assert (still.low, still.high) == (-2, -2)
    assert np.isnan(still.hedges_g)


def test_effect_sizes_by_hand():
    assert hedges_g(1.0, 4.0, 2) == pytest.approx(1 / np.sqrt(2) * (1 - 3 / 7))
    assert cliffs_delta(np.array([2, 4]), np.array([1, 3])) == 0.5
    assert cliffs_delta(np.array([1, 1]), np.array([1])) == 0
    assert cliffs_delta(np.array([5]), np.array([1, 2])) == 1
    assert np.isnan([hedges_g(1.0, 0.0, 4), hedges_g(1.0, 0.0, 0)]).all()
    assert np.isnan(cliffs_delta(np.empty(0), np.ones(3)))
