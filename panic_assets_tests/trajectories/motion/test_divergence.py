"""Growth against relaxation on curves whose law is known."""

import numpy as np
import pytest

from panic_assets.trajectories.motion.divergence import diverge

T = np.arange(60)


def noisy(curve, pairs=40, noise=0.05, seed=0):
    return curve * (1 + noise * np.random.default_rng(seed).normal(size=(pairs, len(curve))))


def test_exponential_growth():
    found = diverge(noisy(0.01 * np.exp(0.05 * T)))
    assert found.verdict == "growth"
    assert found.rate == pytest.approx(0.05, abs=0.005)
    assert found.rate_low < 0.05 < found.rate_high
    assert found.rate_high - found.rate_low < 0.01
    assert found.growth.r2 > 0.99
    assert np.isnan(found.tau)


def test_exact_exponential_growth():
    assert diverge(np.exp(0.05 * T)[None]).rate == pytest.approx(0.05, abs=1e-6)


def test_saturation_is_relaxation_and_no_slope_is_given():
    found = diverge(noisy(1.3 - 1.1 * np.exp(-T / 12)))
    assert found.verdict == "relaxation"
    assert found.tau == pytest.approx(12, rel=0.15)
    assert found.tau_low < 12 < found.tau_high
    assert np.isnan(found.rate)
    # the mistake: a line through the logarithm finds a "Lyapunov exponent" all the same
    assert np.polyfit(T, np.log(1.3 - 1.1 * np.exp(-T / 12)), 1)[0] > 0.01


@pytest.mark.parametrize("kind", ["constant", "noise", "wave", "bump"])
def test_where_neither_fits_no_slope_is_given(kind):
    rng = np.random.default_rng(3)
    curve = {
        "constant": np.ones(60),
        "noise": 1 + 0.2 * rng.normal(size=60),
        "wave": 1 + 0.5 * np.sin(T / 3),
        "bump": 0.2 + np.exp(-((T - 30) ** 2) / 50),
    }[kind]
    found = diverge(noisy(curve, noise=0.01))
    assert found.verdict == "neither"
    assert np.isnan([found.rate, found.rate_low, found.tau, found.tau_high]).all()


def test_growth_that_hits_the_sphere_is_not_called_growth():
    logistic = 2 / (1 + 199 * np.exp(-0.25 * T))
    assert diverge(noisy(logistic)).verdict != "growth"


def test_intervals_of_the_rate_cover():
    """Pairs differ in their rates; the truth is the rate of the mean curve of very many of them."""

    def curves(rng, pairs):
        return 0.01 * np.exp((0.05 + 0.004 * rng.normal(size=pairs))[:, None] * T[:40])

    truth = diverge(curves(np.random.default_rng(99), 20000), replicates=1).rate
    found = [diverge(curves(np.random.default_rng(seed), 40), replicates=100) for seed in range(60)]
    assert sum(one.rate_low <= truth <= one.rate_high for one in found) >= 53


def test_pairs_that_share_runs_are_not_independent():
    """Every run has a rate of its own; 45 pairs of 10 runs are no 45 observations, and intervals say so."""
    pairs = np.array([(i, j) for i in range(10) for j in range(i)])
    by_runs, by_pairs = 0, 0
    for seed in range(40):
        rates = 0.025 + 0.004 * np.random.default_rng(seed).normal(size=10)
        distances = 0.01 * np.exp((rates[pairs[:, 0]] + rates[pairs[:, 1]])[:, None] * T[:40])
        honest, naive = (diverge(distances, runs, replicates=80) for runs in (pairs, None))
        truth = 0.0508  # of the mean curve of very many runs: faster pairs weigh more
        by_runs += honest.rate_low <= truth <= honest.rate_high
        by_pairs += naive.rate_low <= truth <= naive.rate_high
    assert by_runs >= 35
    assert by_pairs <= 22


def test_one_pair_of_runs_has_no_interval():
    found = diverge(np.exp(0.05 * T)[None], np.array([[0, 1]]))
    assert found.rate == pytest.approx(0.05, abs=1e-6)
    assert np.isnan([found.rate_low, found.rate_high]).all()


def test_too_short_is_refused():
    with pytest.raises(ValueError, match="8 times"):
        diverge(np.ones((3, 7)))
