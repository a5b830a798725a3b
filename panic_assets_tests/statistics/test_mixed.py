"""Mixed models against lme4's published fits, exact analysis of variance, other libraries, and simulations."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import f as f_distribution
from scipy.stats import multivariate_normal
from statsmodels.stats.anova import anova_lm

from panic_assets.statistics import mixed
from panic_assets.statistics.mixed import fit, sentences, strata
from panic_assets_tests.statistics.published import dyestuff, penicillin, sleepstudy
from panic_assets_tests.statistics.simulated import experiment, panel

PROMPT = [("prompt",)]
NETWORKS = [("prompt",), ("prompt", "network")]


def test_dyestuff_as_lme4():
    found = fit(dyestuff(), "yield", [], [("batch",)])
    assert -2 * found.log_likelihood == pytest.approx(319.6543, abs=1e-3)
    assert found.estimates[0].value == pytest.approx(1527.5)
    assert found.estimates[0].error == pytest.approx(19.38, abs=0.005)
    assert found.estimates[0].degrees == pytest.approx(5, abs=1e-3)
    assert found.deviations == {"batch": pytest.approx(42.00, abs=0.005), "residual": pytest.approx(49.51, abs=0.005)}
    full = fit(dyestuff(), "yield", [], [("batch",)], restricted=False)
    assert -2 * full.log_likelihood == pytest.approx(327.3271, abs=1e-3)
    assert full.deviations == {"batch": pytest.approx(37.26, abs=0.005), "residual": pytest.approx(49.51, abs=0.005)}


def test_sleepstudy_with_intercepts_as_lme4():
    found = fit(sleepstudy(), "reaction", ["days"], [("subject",)])
    assert -2 * found.log_likelihood == pytest.approx(1786.465, abs=2e-3)
    intercept, days = found.estimates
    assert (intercept.value, intercept.error) == (pytest.approx(251.4051, abs=1e-3), pytest.approx(9.7467, abs=1e-3))
    assert (days.value, days.error) == (pytest.approx(10.4673, abs=1e-3), pytest.approx(0.8042, abs=1e-4))
    assert found.deviations == {
        "subject": pytest.approx(37.124, abs=0.005),
        "residual": pytest.approx(30.991, abs=0.005),
    }
    with_days, without = (
        fit(sleepstudy(), "reaction", effects, [("subject",)], restricted=False) for effects in (["days"], [])
    )
    assert 2 * (with_days.log_likelihood - without.log_likelihood) == pytest.approx(116.4624, abs=1e-3)


def test_sleepstudy_with_slopes_as_lme4():
    found = fit(sleepstudy(), "reaction", ["days"], strata(["days"], "subject"))
    assert -2 * found.log_likelihood == pytest.approx(1743.63, abs=5e-3)
    _, days = found.estimates
    assert (days.value, days.error) == (pytest.approx(10.4673, abs=1e-3), pytest.approx(1.546, abs=5e-4))
    assert days.degrees == pytest.approx(17, abs=1e-2)  # as lmerTest
    assert found.terms[0].statistic == pytest.approx(45.85, abs=0.01)
    assert found.deviations == {
        "subject": pytest.approx(24.741, abs=0.005),
        "subject x days": pytest.approx(5.922, abs=0.005),
        "residual": pytest.approx(25.592, abs=0.005),
    }


def test_penicillin_with_crossed_random_effects_as_lme4():
    found = fit(penicillin(), "diameter", [], [("plate",), ("sample",)])
    assert -2 * found.log_likelihood == pytest.approx(330.8606, abs=1e-3)
    assert found.estimates[0].value == pytest.approx(22.9722, abs=1e-3)
    assert found.estimates[0].error == pytest.approx(0.8086, abs=1e-3)
    assert found.deviations == {
        "plate": pytest.approx(0.8467, abs=1e-4),
        "sample": pytest.approx(1.9316, abs=1e-4),
        "residual": pytest.approx(0.5499, abs=1e-4),
    }


def _squares(frame):
    """Mean squares of a balanced panel of networks, prompts and runs, and how many degrees each has."""
    value, total = frame["value"], frame["value"].mean()
    cells = frame.groupby(["network", "prompt"])["value"].transform("mean")
    networks, prompts = (frame.groupby(by)["value"].transform("mean") for by in ("network", "prompt"))
    n, p = frame["network"].nunique(), frame["prompt"].nunique()
    return {
        "network": (((networks - total) ** 2).sum() / (n - 1), n - 1),
        "prompt": (((prompts - total) ** 2).sum() / (p - 1), p - 1),
        "both": (((cells - networks - prompts + total) ** 2).sum() / ((n - 1) * (p - 1)), (n - 1) * (p - 1)),
        "runs": (((value - cells) ** 2).sum() / (len(frame) - n * p), len(frame) - n * p),
    }


@pytest.mark.parametrize(
    ("networks", "prompts", "runs", "deviation"),
    [(9, 4, 8, 1.0), (25, 20, 4, 0.84), (25, 20, 4, 0.62), (25, 20, 4, 0.91), (25, 20, 4, 1.23)],
)
def test_one_measurement_of_each_run_is_modelled_as_exact_analysis_of_variance_does(networks, prompts, runs, deviation):
    """The shapes and spreads at which a likelihood of infinity used to be reported as an effect, or as none."""
    frame = panel(1, networks, 1, prompts, runs, deviations={("prompt",): deviation, ("prompt", "network"): 0.6})
    squares = _squares(frame)
    found = fit(frame, "value", ["network"], NETWORKS)
    prompt, both, residual = (squares[k][0] for k in ("prompt", "both", "runs"))
    assert prompt > both > residual  # else the exact estimates would be negative
    assert found.deviations == {
        "prompt": pytest.approx(np.sqrt((prompt - both) / (networks * runs)), rel=1e-4),
        "prompt x network": pytest.approx(np.sqrt((both - residual) / runs), rel=1e-4),
        "residual": pytest.approx(np.sqrt(residual), rel=1e-4),
    }
    [term] = found.terms
    statistic, degrees = squares["network"][0] / both, squares["both"][1]
    assert (term.statistic, term.degrees) == (pytest.approx(statistic, rel=1e-3), networks - 1)
    assert term.residual_degrees == pytest.approx(degrees, rel=1e-3)
    assert term.p_value == pytest.approx(f_distribution.sf(statistic, networks - 1, degrees), rel=1e-2)
    first, second = (frame.value[frame.network == f"{n}-0"].mean() for n in range(2))
    assert found.estimates[1].value == pytest.approx(second - first)
    assert found.estimates[1].error == pytest.approx(np.sqrt(2 * both / (prompts * runs)), rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_true_effect_of_one_deviation_is_found_among_1200_runs(seed):
    frame = panel(seed, 2, 2, 25, 12, deviations={("prompt",): 0.7, ("prompt", "network"): 0.3})
    frame["value"] += frame.generator == "1"
    found = fit(frame, "value", ["generator", "captioner"], strata(["generator", "captioner"], "prompt"))
    p_values = {t.name: t.p_value for t in found.terms}
    assert p_values["generator"] < 1e-6
    assert min(p_values["captioner"], p_values["generator:captioner"]) > 1e-3
    assert found.estimates[1].low < 1 < found.estimates[1].high or abs(found.estimates[1].value - 1) < 0.35


def test_the_likelihood_is_that_of_the_normal_distribution_and_nothing_near_is_better():
    """An oracle without any algebra of ours or of the library: the density of all rows at once."""
    frame = panel(3, 3, 2, 5, 2, deviations={("prompt",): 1.0, ("prompt", "network"): 0.5})
    found = fit(frame, "value", [], NETWORKS, restricted=False)
    groups = [frame.groupby(list(by)).ngroup().to_numpy() for by in NETWORKS]

    def density(mean, *deviations):
        *between, residual = deviations
        spread = residual**2 * np.eye(len(frame))
        for codes, deviation in zip(groups, between, strict=True):
            spread += deviation**2 * (codes[:, None] == codes)
        return multivariate_normal.logpdf(frame["value"], np.full(len(frame), mean), spread)

    at = [found.estimates[0].value, *found.deviations.values()]
    assert density(*at) == pytest.approx(found.log_likelihood, abs=1e-6)
    for k, step in product(range(4), (-0.05, 0.05)):
        near = list(at)
        near[k] += step
        assert density(*near) < found.log_likelihood


def test_statsmodels_agrees_where_it_converges():
    frame = experiment(2, prompts=8, embedders=3, run_spread=1.0)
    found = fit(frame, "entropy", ["network", "embedder"], [("prompt",), ("run",)], interactions=False)
    other = smf.mixedlm(
        "entropy ~ network + embedder", frame, groups="prompt", vc_formula={"run": "0 + C(run)"}, re_formula="1"
    ).fit()
    assert other.converged
    assert found.log_likelihood == pytest.approx(other.llf, abs=1e-3)
    assert [e.value for e in found.estimates] == pytest.approx(other.fe_params.tolist(), abs=1e-3)
    assert [e.error for e in found.estimates] == pytest.approx(other.bse_fe.tolist(), rel=1e-3)
    variances = [float(other.cov_re.iloc[0, 0]), float(other.vcomp[0]), float(other.scale)]
    assert list(found.deviations.values()) == pytest.approx(np.sqrt(variances).tolist(), rel=1e-3)


def test_terms_of_an_unbalanced_panel_are_those_of_type_two():
    """Prompts that do not differ: then each test is that of ordinary regression, which statsmodels has."""
    frame = experiment(3, prompts=6, embedders=3, prompt_spread=0.0).sample(100, random_state=0)
    frame["entropy"] -= frame.groupby("prompt").entropy.transform("mean")
    found = fit(frame, "entropy", ["network", "embedder"], PROMPT)
    assert found.deviations["prompt"] == 0
    table = anova_lm(smf.ols("entropy ~ network * embedder", frame).fit(), typ=2)
    assert [t.statistic for t in found.terms] == pytest.approx(table["F"][:3].tolist(), rel=1e-3)
    assert [t.p_value for t in found.terms] == pytest.approx(table["PR(>F)"][:3].tolist(), rel=1e-2)
    assert {t.residual_degrees for t in found.terms} == {94}


def test_degrees_of_contrasts_that_differ_are_combined_as_fai_and_cornelius_do():
    assert mixed._residual_degrees(np.array([24.0, 24.0])) == 24
    combined = mixed._residual_degrees(np.array([10.0, 20.0]))
    each = 10 / 8 + 20 / 18
    assert combined / (combined - 2) == pytest.approx(each / 2)  # the mean of F is that of both squares of t


def test_absent_effects_are_found_as_often_as_5_percent_says_and_intervals_hold():
    """Networks differ on each prompt in another way, as they do: with prompts alone as random,
    the test counts runs of one network on one prompt as independent.

    benchmarks/coverage.py has the shapes of real panels, with more simulations.
    """

    chance = {("prompt",): 1.0, ("prompt", "network"): 1.0}
    frames = [panel(seed, 5, 1, 4, 6, deviations=chance) for seed in range(30)]

    def simulated(random):
        found = [fit(frame, "value", ["network"], random) for frame in frames]
        held = [e.low <= 0 <= e.high for m in found for e in m.estimates[1:]]
        return sum(m.terms[0].p_value <= 0.05 for m in found), np.mean(held)

    wrong, held = simulated(NETWORKS)
    assert wrong <= 6  # of 30; a test of size 0.05 exceeds it in less than 1 of 1,000 sets of simulations
    assert held > 0.85
    wrong, held = simulated(PROMPT)
    assert wrong >= 8
    assert held < 0.8


def test_an_optimiser_that_stops_too_early_is_started_again():
    frame = panel(1, 6, 1, 8, 4, deviations={("prompt",): 3.0, ("prompt", "network"): 2.0})
    y, design = frame["value"].to_numpy(), np.ones((len(frame), 1))
    parts = mixed._groupings(frame, NETWORKS)
    far = np.array([0.01, 0.01])
    stopped = mixed._fitted(y, design, parts, True, far, steps=1)
    assert mixed._better(stopped) is not None
    best = mixed._maximum(y, design, parts, True, far)
    assert mixed._better(best) is None
    assert best.deviance < stopped.deviance - 1
    assert best.deviance == pytest.approx(mixed._fitted(y, design, parts, True, None).deviance, abs=1e-5)


def test_groupings_that_are_the_same_are_used_once_and_one_by_row_is_the_residual():
    frame = panel(5, 3, 1, 6, 1, embedders=2)
    used = fit(frame, "value", ["network"], [("prompt",), ("prompt", "network"), ("run_id",)])
    assert list(used.deviations) == ["prompt", "prompt x network", "residual"]  # one run a cell
    rows = fit(frame, "value", ["network"], [("prompt",), ("prompt", "network", "embedding_model")])
    assert list(rows.deviations) == ["prompt", "residual"]


def test_errors_are_as_large_as_they_are_said_to_be():
    """Estimates scatter around the truth by their standard errors; coverage over 1,000 is in benchmarks/."""
    found = [fit(experiment(seed), "entropy", ["network"], PROMPT).estimates[1] for seed in range(40)]
    scores = np.array([(e.value - 0.5) / e.error for e in found])
    assert abs(scores.mean()) < 3 / np.sqrt(40)
    assert scores.std() == pytest.approx(1, abs=0.25)
    assert sum(e.low <= 0.5 <= e.high for e in found) >= 35


def test_runs_within_prompts_are_not_independent_rows():
    """Every run measured by three embedders: rows are copies, and leaving the run out is overconfident."""
    frame = experiment(1, run_spread=2.0, embedders=3)
    honest = fit(frame, "entropy", ["network", "embedder"], [("prompt",), ("run",)], interactions=False)
    naive = fit(frame, "entropy", ["network", "embedder"], PROMPT, interactions=False)
    assert honest.deviations["run"] == pytest.approx(2.0, rel=0.25)
    assert honest.estimates[1].error > 1.4 * naive.estimates[1].error


def test_interactions_and_terms():
    frame = experiment(2, embedders=3)
    frame["entropy"] += 2.0 * ((frame.network == "B") & (frame.embedder == "e2"))
    found = fit(frame, "entropy", ["network", "embedder"], PROMPT)
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


def test_the_unit_of_the_outcome_does_not_matter():
    frame = experiment(3)
    frame["small"] = frame.entropy * 1e-6
    large, small = (fit(frame, o, ["network"], PROMPT) for o in ("entropy", "small"))
    assert small.estimates[1].value == pytest.approx(1e-6 * large.estimates[1].value, rel=1e-4)
    assert small.deviations["prompt"] == pytest.approx(1e-6 * large.deviations["prompt"], rel=1e-3)


def test_what_is_wrong_is_said():
    frame = experiment(4, prompt_spread=0.0, prompts=6)
    frame["constant"] = "x"
    found = fit(frame, "entropy", ["network", "constant"], PROMPT)
    said = " ".join(sentences(found, " nats"))
    assert "constant does not vary" in said.lower()
    assert "network B against A changes entropy by" in said
    assert " nats" in said
    frame["skewed"] = np.exp(2 * frame.entropy)
    assert "skewed" in " ".join(fit(frame, "skewed", ["network"], PROMPT).problems)
    level = experiment(7, prompt_spread=0.0)
    level["entropy"] -= level.groupby("prompt").entropy.transform("mean")
    assert any("no variance" in p for p in fit(level, "entropy", ["network"], PROMPT).problems)


@pytest.mark.parametrize("seed", [0, 5])
def test_a_variance_of_zero_does_not_end_the_search_at_an_infinite_likelihood(seed):
    """Prompts that do not differ: the mixed model is ordinary regression, whose likelihood has a closed form."""
    frame = pd.DataFrame(product("abcdefghi", range(4), range(8)), columns=["network", "prompt", "seed"])
    frame["entropy"] = np.random.default_rng(seed).normal(size=len(frame)) + 0.3 * (frame.network == "b")
    frame["entropy"] -= frame.groupby("prompt").entropy.transform("mean")
    found = fit(frame, "entropy", ["network"], PROMPT, restricted=False)
    unexplained = frame.entropy - frame.groupby("network").entropy.transform("mean")
    n, of_the_rest = len(frame), np.mean(unexplained**2)
    assert found.log_likelihood == pytest.approx(-n / 2 * (np.log(2 * np.pi * of_the_rest) + 1), abs=1e-3)
    assert found.deviations["prompt"] == 0
    assert all(np.isfinite([e.value, e.error, e.p_value]).all() for e in found.estimates)


def test_a_fit_without_finite_figures_is_refused():
    frame = experiment(9)
    frame["entropy"] = (frame.network == "B") * 1.0  # nothing is left for chance
    with pytest.raises(ValueError, match=r"cannot be fitted: .*not a finite number"):
        fit(frame, "entropy", ["network"], PROMPT)


def test_a_term_that_follows_from_others_is_not_tested():
    frame = experiment(8)
    frame["copy"] = frame.network.str.lower()
    found = fit(frame, "entropy", ["network", "copy"], PROMPT)
    assert [t.name for t in found.terms] == ["network"]
    assert "network:copy cannot be told from the other terms and is not tested" in found.problems


def test_too_little_data_is_refused():
    frame = experiment(5)
    with pytest.raises(ValueError, match="2 groups"):
        fit(frame[frame.prompt == "p0"], "entropy", ["network"], PROMPT)
    frame["entropy"] = 1.0
    with pytest.raises(ValueError, match="nothing to explain"):
        fit(frame, "entropy", ["network"], PROMPT)


def test_rows_without_an_outcome_are_dropped():
    frame = experiment(6)
    frame.loc[:4, "entropy"] = np.nan
    assert fit(frame, "entropy", ["network"], PROMPT).rows == len(frame) - 5
