"""Laws of divergence on curves whose law is known."""

from itertools import combinations

import numpy as np
import pytest

from panic_assets.models.walks import RandomWalk
from panic_assets.registry import registry
from panic_assets.trajectories.motion.divergence import diverge
from panic_assets.trajectories.motion.together import alarm, divergences
from panic_assets.trajectories.runs.walked import Walked

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


def walks(name, runs, outputs, seed):
    control = RandomWalk(registry.get(name))
    return [control.walk(f"{seed}/{run}", outputs) for run in range(runs)]


@pytest.mark.parametrize("name", ["RandomWalk", "RandomWalk50", "RandomWalk90"])
def test_free_walks_diffuse(name):
    """They were said to relax, with a time constant."""
    for seed in range(5):
        found = walks(name, 6, 100, seed)
        distances = np.array([np.linalg.norm(a - b, axis=1) for a, b in combinations(found, 2)])
        one = diverge(distances)
        assert one.verdict == "diffusion"
        assert one.diffusion.r2 > 0.99
        assert np.isnan([one.rate, one.tau]).all()


@pytest.mark.parametrize("memory", [0.2, 8])
def test_the_law_of_diffusion_is_found_with_its_numbers(memory):
    found = diverge(np.sqrt(0.3 + 2 * (T - memory * (1 - np.exp(-T / memory))))[None])
    assert found.verdict == "diffusion"
    np.testing.assert_allclose(found.diffusion.parameters[:2], [0.3, 2], rtol=1e-3)
    assert found.diffusion.parameters[2] == pytest.approx(memory, rel=0.01)
    shrinking = diverge(np.linspace(2, 1, 60)[None])
    assert shrinking.verdict != "diffusion"
    assert shrinking.diffusion.parameters[1] == 0


def test_a_control_with_a_verdict_is_an_alarm():
    def rows(vectors):
        runs = [{"network": "n", "prompt": "p", "stop_reason": "length"} for _ in vectors]
        every = [Walked(r, [""] * len(v), np.arange(len(v)), v) for r, v in zip(runs, vectors, strict=True)]
        return list(divergences(every))

    (row,) = rows(walks("RandomWalk", 4, 60, 1))
    assert alarm("RandomWalk", row) is None
    away = np.random.default_rng(0).normal(size=(4, 5))
    (row,) = rows([0.01 * np.exp(0.05 * T)[:, None] * direction for direction in away])
    assert alarm("RandomWalk", row).startswith("the control RandomWalk shows growth between runs of n (same prompt)")


def test_intervals_of_the_rate_cover():
    """Pairs differ in their rates; the truth is the rate of the mean curve of very many of them."""

    def curves(rng, pairs):
        return 0.01 * np.exp((0.05 + 0.004 * rng.normal(size=pairs))[:, None] * T[:40])

    truth = diverge(curves(np.random.default_rng(99), 20000).mean(axis=0)[None]).rate
    found = [diverge(curves(np.random.default_rng(seed), 6)) for seed in range(100)]
    assert sum(one.rate_low <= truth <= one.rate_high for one in found) >= 90


def test_pairs_that_share_runs_are_not_independent():
    """Every run has a rate of its own; 10 pairs of 5 runs are no 10 observations, and intervals say so."""
    pairs = np.array(list(combinations(range(5), 2)))
    by_runs, by_pairs = 0, 0
    for seed in range(60):
        rates = 0.025 + 0.004 * np.random.default_rng(seed).normal(size=5)
        distances = 0.01 * np.exp((rates[pairs[:, 0]] + rates[pairs[:, 1]])[:, None] * T[:40])
        honest, naive = (diverge(distances, runs) for runs in (pairs, None))
        truth = 0.0508  # of the mean curve of very many runs: faster pairs weigh more
        by_runs += honest.rate_low <= truth <= honest.rate_high
        by_pairs += naive.rate_low <= truth <= naive.rate_high
    assert by_runs >= 54
    assert by_pairs <= 45


def test_one_pair_of_runs_has_no_interval():
    found = diverge(np.exp(0.05 * T)[None], np.array([[0, 1]]))
    assert found.rate == pytest.approx(0.05, abs=1e-6)
    assert np.isnan([found.rate_low, found.rate_high]).all()


def test_too_short_is_refused():
    with pytest.raises(ValueError, match="8 times"):
        diverge(np.ones((3, 7)))
