"""Mixed models against lme4's published fits and against simulations with known effects."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from panic_assets.statistics.mixed import fit, sentences
from panic_assets_tests.statistics.published import dyestuff, penicillin, sleepstudy
from panic_assets_tests.statistics.simulated import experiment


def test_dyestuff_as_lme4():
    found = fit(dyestuff(), "yield", [], "batch")
    assert -2 * found.restricted_log_likelihood == pytest.approx(319.6543, abs=1e-3)
    assert -2 * found.log_likelihood == pytest.approx(327.3271, abs=1e-3)
    assert found.estimates[0].value == pytest.approx(1527.5)
    assert found.estimates[0].error == pytest.approx(19.38, abs=0.005)
    assert found.estimates[0].degrees == 5
    assert found.deviations["batch"] == pytest.approx(42.00, abs=0.01)
    assert found.deviations["residual"] == pytest.approx(49.51, abs=0.01)


def test_sleepstudy_as_lme4():
    found = fit(sleepstudy(), "reaction", ["days"], "subject")
    assert -2 * found.restricted_log_likelihood == pytest.approx(1786.465, abs=2e-3)
    intercept, days = found.estimates
    assert (intercept.value, intercept.error) == (pytest.approx(251.4051, abs=1e-3), pytest.approx(9.7467, abs=1e-3))
    assert (days.value, days.error) == (pytest.approx(10.4673, abs=1e-3), pytest.approx(0.8042, abs=1e-4))
    assert found.deviations == {
        "subject": pytest.approx(37.124, abs=0.005),
        "residual": pytest.approx(30.991, abs=0.005),
    }
    assert found.terms[0].chi2 == pytest.approx(116.46, abs=0.01)
    assert found.terms[0].degrees == 1


def test_penicillin_with_crossed_random_effects_as_lme4():
    found = fit(penicillin(), "diameter", [], "plate", crossed="sample")
    assert -2 * found.restricted_log_likelihood == pytest.approx(330.8606, abs=1e-3)
    assert found.estimates[0].value == pytest.approx(22.9722, abs=1e-3)
    assert found.estimates[0].error == pytest.approx(0.8086, abs=2e-3)
    assert found.deviations == {
        "plate": pytest.approx(0.8467, abs=2e-3),
        "sample": pytest.approx(1.9316, abs=5e-3),
        "residual": pytest.approx(0.5499, abs=1e-3),
    }


def test_errors_are_as_large_as_they_are_said_to_be():
    """Estimates scatter around the truth by their standard errors; coverage over 1,000 is in benchmarks/."""
    found = [fit(experiment(seed), "entropy", ["network"], "prompt").estimates[1] for seed in range(40)]
    scores = np.array([(e.value - 0.5) / e.error for e in found])
    assert abs(scores.mean()) < 3 / np.sqrt(40)
    assert scores.std() == pytest.approx(1, abs=0.25)
    assert sum(e.low <= 0.5 <= e.high for e in found) >= 35


def test_runs_within_prompts_are_not_independent_rows():
    """Every run measured by three embedders: rows are copies, and leaving the run out is overconfident."""
    frame = experiment(1, run_spread=2.0, embedders=3)
    honest = fit(frame, "entropy", ["network", "embedder"], "prompt", within="run", interactions=False)
    naive = fit(frame, "entropy", ["network", "embedder"], "prompt", interactions=False)
    assert honest.deviations["run"] == pytest.approx(2.0, rel=0.25)
    assert honest.estimates[1].error > 1.4 * naive.estimates[1].error


def test_interactions_and_terms():
    frame = experiment(2, embedders=3)
    frame["entropy"] += 2.0 * ((frame.network == "B") & (frame.embedder == "e2"))
    found = fit(frame, "entropy", ["network", "embedder"], "prompt")
    assert [e.name for e in found.estimates] == [
        "intercept",
        "network B against A",
        "embedder e1 against e0",
        "embedder e2 against e0",
        "network B against A:embedder e1 against e0",
        "network B against A:embedder e2 against e0",
    ]
    assert found.estimates[-1].low > 1
    tests = {t.name: t for t in found.terms}
    assert (tests["embedder"].degrees, tests["network:embedder"].degrees) == (2, 2)
    assert tests["network:embedder"].p_value < 1e-6
    assert found.converged


def test_the_unit_of_the_outcome_does_not_matter():
    frame = experiment(3)
    frame["small"] = frame.entropy * 1e-6
    large, small = (fit(frame, o, ["network"], "prompt") for o in ("entropy", "small"))
    assert small.estimates[1].value == pytest.approx(1e-6 * large.estimates[1].value, rel=1e-4)
    assert small.deviations["prompt"] == pytest.approx(1e-6 * large.deviations["prompt"], rel=1e-3)


def test_what_is_wrong_is_said():
    frame = experiment(4, prompt_spread=0.0, prompts=6)
    frame["constant"] = "x"
    found = fit(frame, "entropy", ["network", "constant"], "prompt")
    said = " ".join(sentences(found, " nats"))
    assert "constant does not vary" in said.lower()
    assert "network B against A changes entropy by" in said
    assert " nats" in said
    frame["skewed"] = np.exp(2 * frame.entropy)
    assert "skewed" in " ".join(fit(frame, "skewed", ["network"], "prompt").problems)
    level = experiment(7, prompt_spread=0.0)
    level["entropy"] -= level.groupby("prompt").entropy.transform("mean")
    assert any("no variance" in p for p in fit(level, "entropy", ["network"], "prompt").problems)


@pytest.mark.parametrize("seed", [0, 5])
def test_a_variance_of_zero_does_not_end_the_search_at_an_infinite_likelihood(seed):
    """Prompts that do not differ: the mixed model is ordinary regression, whose likelihood has a closed form."""
    frame = pd.DataFrame(product("abcdefghi", range(4), range(8)), columns=["network", "prompt", "seed"])
    frame["entropy"] = np.random.default_rng(seed).normal(size=len(frame)) + 0.3 * (frame.network == "b")
    frame["entropy"] -= frame.groupby("prompt").entropy.transform("mean")
    found = fit(frame, "entropy", ["network"], "prompt")
    unexplained = frame.entropy - frame.groupby("network").entropy.transform("mean")
    n, variance, of_the_rest = len(frame), np.mean(frame.entropy**2), np.mean(unexplained**2)
    assert found.log_likelihood == pytest.approx(-n / 2 * (np.log(2 * np.pi * of_the_rest) + 1), abs=1e-3)
    assert found.terms[0].chi2 == pytest.approx(n * np.log(variance / of_the_rest), abs=1e-3)
    assert all(np.isfinite([e.value, e.error, e.p_value]).all() for e in found.estimates)


def test_a_fit_without_finite_figures_is_refused():
    frame = experiment(9)
    frame["entropy"] = (frame.network == "B") * 1.0  # nothing is left for chance
    with pytest.raises(ValueError, match=r"cannot be fitted: .*not a finite number"):
        fit(frame, "entropy", ["network"], "prompt")


def test_a_term_that_follows_from_others_is_not_tested():
    frame = experiment(8)
    frame["copy"] = frame.network.str.lower()
    found = fit(frame, "entropy", ["network", "copy"], "prompt")
    assert [t.name for t in found.terms] == ["network"]
    assert "network:copy cannot be told from the other terms and is not tested" in found.problems


def test_too_little_data_is_refused():
    frame = experiment(5)
    with pytest.raises(ValueError, match="2 groups"):
        fit(frame[frame.prompt == "p0"], "entropy", ["network"], "prompt")
    frame["entropy"] = 1.0
    with pytest.raises(ValueError, match="nothing to explain"):
        fit(frame, "entropy", ["network"], "prompt")


def test_rows_without_an_outcome_are_dropped():
    frame = experiment(6)
    frame.loc[:4, "entropy"] = np.nan
    assert fit(frame, "entropy", ["network"], "prompt").rows == len(frame) - 5
