"""Resampling by units and blocks, families of tests, effect sizes."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.statistics.contrasts import contrast
from panic_assets.statistics.effects import cliffs_delta, hedges_g
from panic_assets.statistics.multiple import adjust, benjamini_hochberg
from panic_assets.statistics.resampling import bootstrap, permutation_test


def clustered(seed, runs=30, rows=20):
    """Rows of a run are nearly copies of each other: there are 30 observations, not 600."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(runs), rows)
    return rng.normal(size=runs)[unit] + 0.1 * rng.normal(size=runs * rows), unit


def test_bootstrap_over_runs_covers_where_that_over_rows_does_not():
    by_run, by_row = 0, 0
    for seed in range(80):
        values, unit = clustered(seed, rows=8)
        run, row = (bootstrap(values, units, replicates=80, seed=seed) for units in (unit, np.arange(len(values))))
        by_run += run.low <= 0 <= run.high
        by_row += row.low <= 0 <= row.high
    assert 0.87 <= by_run / 80 <= 0.99
    assert by_row / 80 < 0.6


def test_bootstrap_is_seeded_respects_blocks_and_statistics():
    values, unit = clustered(1)
    one, two = bootstrap(values, unit, replicates=50, seed=3), bootstrap(values, unit, replicates=50, seed=3)
    assert one == two
    block = np.arange(30)[unit]  # every unit its own block: nothing can be exchanged
    fixed = bootstrap(values, unit, replicates=20, blocks=block)
    assert fixed.low == pytest.approx(fixed.high) == pytest.approx(values.mean())
    assert bootstrap(values, unit, np.median, replicates=20).estimate == np.median(values)
    with pytest.raises(ValueError, match="no values"):
        bootstrap(np.empty(0), [])


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
    """Runs of two networks on every prompt, prompts differing much: (values, first, run, prompt)."""
    rng = np.random.default_rng(seed)
    prompt = np.tile(np.repeat(np.arange(prompts), each), 2)
    first = np.arange(len(prompt)) < len(prompt) // 2
    return 10 * prompt + effect * first + rng.normal(size=len(prompt)), first, np.arange(len(prompt)), prompt


def test_contrast_of_two_networks_within_prompts():
    values, first, run, prompt = two_networks(0, 2.0)
    found = contrast(values, first, run, prompt)
    assert (found.rows, found.other_rows) == (24, 24)
    assert found.difference == pytest.approx(found.mean - found.other_mean)
    assert found.difference == pytest.approx(2, abs=0.8)
    assert found.low < found.difference < found.high
    assert found.p_value == 0.001  # between prompts it drowns:
    assert contrast(values, first, run, np.zeros(48)).p_value > 0.3
    p = [contrast(*two_networks(seed, 0.0), permutations=99, replicates=2).p_value for seed in range(100)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.09)
    assert contrast(values, first, run, prompt) == found  # seeded


def test_contrast_of_a_model_with_a_control_on_the_same_runs():
    """Runs differ by far more than the two measurements of one: paired, the difference is certain."""
    rng = np.random.default_rng(1)
    run = np.repeat(np.arange(12), 2)
    first = np.tile([True, False], 12)
    values = 5 * rng.normal(size=12)[run] + 0.5 * first + 0.1 * rng.normal(size=24)
    found = contrast(values, first, run, run)
    assert 0.4 < found.low < found.difference < found.high < 0.6
    assert found.p_value < 0.01
    assert abs(found.hedges_g) < 0.3
    assert contrast(values, first, np.arange(24), np.zeros(24)).p_value > 0.5  # not knowing the pairs


def test_effect_sizes_by_hand():
    assert hedges_g(np.array([2.0, 4]), np.array([1.0, 3])) == pytest.approx(1 / np.sqrt(2) * (1 - 3 / 7))
    assert cliffs_delta(np.array([2, 4]), np.array([1, 3])) == 0.5
    assert cliffs_delta(np.array([1, 1]), np.array([1])) == 0
    assert cliffs_delta(np.array([5]), np.array([1, 2])) == 1
    assert np.isnan(hedges_g(np.ones(3), np.ones(3)))
    assert np.isnan(hedges_g(np.ones(1), np.ones(3)))
    assert np.isnan(cliffs_delta(np.empty(0), np.ones(3)))
