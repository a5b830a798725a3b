"""Linear mixed-effects models: factors and their interactions, with random intercepts, fitted by statsmodels.

Estimates and intervals come from restricted maximum likelihood; likelihood-ratio tests of whole terms from
maximum likelihood, since restricted likelihoods of different fixed effects cannot be compared. What a fit
cannot support is said in `problems`, never hidden.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """One fixed effect. For factors: the difference from the reference level (the first in sorted order)."""

    name: str
    value: float
    error: float
    low: float
    high: float
    p_value: float
    """Of Student's t with `degrees`: those of the groups for what varies between groups only, else of the rows."""
    degrees: int


@dataclass(frozen=True)
class Term:
    """A likelihood-ratio test of a whole term, given all terms that do not contain it."""

    name: str
    chi2: float
    degrees: int
    p_value: float


@dataclass(frozen=True)
class Mixed:
    """A fitted model."""

    outcome: str
    rows: int
    groups: int
    estimates: list[Estimate]
    terms: list[Term]
    deviations: dict[str, float]
    """Standard deviation of each random intercept, and of what is left (`residual`)."""
    log_likelihood: float
    """Maximum of the likelihood (not restricted), of the full model."""
    restricted_log_likelihood: float
    converged: bool
    problems: list[str]
    """Sentences: no convergence, a variance at zero, residuals that are skewed, heavy-tailed or fan out."""


def fit(
    frame: pd.DataFrame,
    outcome: str,
    effects: Sequence[str],
    group: str,
    within: str | None = None,
    crossed: str | None = None,
    interactions: bool = True,
    level: float = 0.95,
) -> Mixed:
    """`outcome` by `effects`, with a random intercept by `group`.

    Effects are factors (text, bool) or covariates (numbers); `interactions` adds all pairs. `within` is a second
    random intercept nested in the group (a run in its prompt); `crossed` one whose levels meet several groups
    (a seed and a prompt), which makes one dense block of all rows: for up to some thousands of rows.
    Effects without variation are left out and named in `problems`; rows without an outcome are dropped.
    """
    from scipy.stats import chi2, t

    used = frame[np.isfinite(frame[outcome].to_numpy(np.float64))].reset_index(drop=True)
    constant = [e for e in effects if used[e].nunique() < 2]
    problems = [f"{e} does not vary, so it is left out" for e in constant]
    varying = [e for e in effects if e not in constant]
    terms: list[tuple[str, ...]] = [(e,) for e in varying]
    terms += list(combinations(varying, 2)) if interactions else []
    y = used[outcome].to_numpy(np.float64)
    names, design, owner = _design(used, terms)
    groups = pd.factorize(used[group])[0]
    if len(y) <= design.shape[1] + 1 or groups.max(initial=-1) < 1:
        raise ValueError(
            f"{outcome} has {len(y)} rows in {groups.max(initial=-1) + 1} groups of {group}; "
            f"a model of {design.shape[1]} effects needs more rows and at least 2 groups"
        )
    if np.ptp(y) == 0:
        raise ValueError(f"{outcome} is {y[0]:g} in every row; there is nothing to explain")
    random = _Random(groups, _codes(used, within), _codes(used, crossed))
    scale = float(y.std())
    restricted, trouble = _optimum(y / scale, design, random, reml=True)
    full, more = _optimum(y / scale, design, random, reml=False)
    problems += [*trouble, *[m for m in more if m not in trouble]]

    estimates = []
    between = [all(np.ptp(design[groups == g, k]) == 0 for g in np.unique(groups)) for k in range(len(names))]
    for k, name in enumerate(names):
        spare = groups.max() + 1 - sum(between) if between[k] else len(y) - len(names) - int(groups.max())
        degrees = max(int(spare), 1)
        value, error = float(restricted.fe_params[k]) * scale, float(restricted.bse_fe[k]) * scale
        reach = float(t.ppf((1 + level) / 2, degrees)) * error
        p_value = float(2 * t.sf(abs(value / error), degrees)) if error > 0 else float("nan")
        estimates.append(Estimate(name, value, error, value - reach, value + reach, p_value, degrees))

    tests = []
    for term in terms:
        kept = [other for other in terms if not set(term) < set(other)]
        larger = _columns(owner, kept)
        smaller = _columns(owner, [other for other in kept if other != term])
        if len(larger) == len(smaller):
            problems.append(f"{':'.join(term)} cannot be told from the other terms and is not tested")
            continue
        try:
            whole = len(larger) == len(names)
            with_term = full if whole else _optimum(y / scale, design[:, larger], random, reml=False)[0]
            without = _optimum(y / scale, design[:, smaller], random, reml=False)[0]
        except ValueError as error:
            problems.append(f"{':'.join(term)} is not tested: {error}")
            continue
        statistic = 2 * float(with_term.llf - without.llf)
        if statistic < -1e-3:
            problems.append(f"{':'.join(term)} is not tested: the optimiser missed the maximum of the model with it")
            continue
        degrees = len(larger) - len(smaller)
        tests.append(Term(":".join(term), max(0.0, statistic), degrees, float(chi2.sf(statistic, degrees))))

    shift = len(y) * np.log(scale)
    return Mixed(
        outcome=outcome,
        rows=len(y),
        groups=int(groups.max() + 1),
        estimates=estimates,
        terms=tests,
        deviations={k: v * scale for k, v in random.deviations(restricted, group, within, crossed).items()},
        log_likelihood=float(full.llf - shift),
        restricted_log_likelihood=float(restricted.llf - shift + design.shape[1] * np.log(scale)),
        converged=bool(restricted.converged and full.converged),
        problems=problems + _residual_problems(*_residuals(restricted, y / scale, design)),
    )


def sentences(model: Mixed, unit: str = "") -> list[str]:
    """The findings in words, one sentence an effect, and what is wrong with the model."""
    said = []
    if not model.converged:
        said.append(f"The model of {model.outcome} did not converge: do not trust its numbers.")
    for e in model.estimates[1:]:
        sure = "" if e.low > 0 or e.high < 0 else ", which includes zero"
        said.append(
            f"{e.name} changes {model.outcome} by {e.value:.3g}{unit} "
            f"(95% interval {e.low:.3g} to {e.high:.3g}{sure}; p = {e.p_value:.2g})."
        )
    return said + [f"{p[0].upper()}{p[1:]}." for p in model.problems]


def _codes(frame: pd.DataFrame, column: str | None) -> np.ndarray | None:
    return None if column is None else pd.factorize(frame[column])[0]


def _design(frame: pd.DataFrame, terms: list[tuple[str, ...]]) -> tuple[list[str], np.ndarray, list[tuple[str, ...]]]:
    """(names, (n, k) columns, the term of each) with the intercept first; columns that repeat others are left out."""
    names, columns = ["intercept"], [np.ones(len(frame))]
    owner: list[tuple[str, ...]] = [()]
    for term in terms:
        parts: list[tuple[str, np.ndarray]] = [("", np.ones(len(frame)))]
        for effect in term:
            coded = _coded(frame[effect])
            parts = [(f"{a}:{b}" if a else b, x * z) for a, x in parts for b, z in coded]
        for name, column in parts:
            if np.linalg.matrix_rank(np.column_stack([*columns, column])) > len(columns):
                names.append(name)
                columns.append(column)
                owner.append(term)
    return names, np.column_stack(columns), owner


def _coded(values: pd.Series) -> list[tuple[str, np.ndarray]]:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return [(str(values.name), values.to_numpy(np.float64))]
    levels = sorted(values.unique(), key=str)
    return [
        (f"{values.name} {level} against {levels[0]}", (values == level).to_numpy(np.float64)) for level in levels[1:]
    ]


def _columns(owner: list[tuple[str, ...]], terms: list[tuple[str, ...]]) -> list[int]:
    return [k for k, term in enumerate(owner) if term == () or term in terms]


class _Random:
    """The random part, as statsmodels wants it."""

    def __init__(self, groups: np.ndarray, within: np.ndarray | None, crossed: np.ndarray | None) -> None:
        self.within, self.crossed = within is not None, crossed is not None
        self.groups = np.zeros_like(groups) if self.crossed else groups
        parts = {"within": within, "crossed": crossed, "group": groups if self.crossed else None}
        self.parts = {name: codes for name, codes in parts.items() if codes is not None}

    def components(self) -> object:
        """None, or variance components: an indicator matrix for each part and block of rows."""
        from statsmodels.regression.mixed_linear_model import VCSpec

        if not self.parts:
            return None
        matrices: list[list[np.ndarray]] = []
        labels: list[list[list[str]]] = []
        for codes in self.parts.values():
            blocks = [codes[self.groups == g] for g in np.unique(self.groups)]
            matrices.append([(b[:, None] == np.unique(b)).astype(np.float64) for b in blocks])
            labels.append([[str(c) for c in np.unique(b)] for b in blocks])
        return VCSpec(list(self.parts), labels, matrices)

    def deviations(self, result: object, group: str, within: str | None, crossed: str | None) -> dict[str, float]:
        """Standard deviation by the user's own column names."""
        called = {"within": within or "", "crossed": crossed or "", "group": group}
        found = {} if self.crossed else {group: float(np.sqrt(max(result.cov_re[0, 0], 0.0)))}  # type: ignore[attr-defined]
        for name, variance in zip(self.parts, result.vcomp, strict=True):  # type: ignore[attr-defined]
            found[called[name]] = float(np.sqrt(max(variance, 0.0)))
        return found | {"residual": float(np.sqrt(result.scale))}  # type: ignore[attr-defined]


def _optimum(y: np.ndarray, design: np.ndarray, random: _Random, reml: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """The best of two optimisers, and sentences about how it went; ValueError where none finds finite figures."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    best, failure = None, "no optimiser succeeded"
    for method in ("lbfgs", "powell"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                exog_re = None if random.crossed else np.ones((len(y), 1))
                model = MixedLM(y, design, random.groups, exog_re=exog_re, exog_vc=random.components())
                result = model.fit(reml=reml, method=method)
                finite = _finite(result)
            except (np.linalg.LinAlgError, ValueError) as error:
                failure = str(error)
                continue
        if not finite:
            failure = "its likelihood, an effect or a standard error is not a finite number"
            continue
        if best is None or result.llf > best.llf + 1e-6 or (result.converged and not best.converged):
            best = result
        if best.converged:
            break
    if best is None:
        raise ValueError(f"the mixed model cannot be fitted: {failure}")
    trouble = []
    if not best.converged:
        trouble.append("the optimiser did not converge")
    variances = np.append(np.ravel(best.cov_re), best.vcomp) / best.scale
    if (variances < 1e-4).any():
        trouble.append("a random intercept has no variance: its groups do not differ beyond chance")
    return best, trouble


def _finite(result) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Whether a fit is one: an optimiser that steps on a variance of zero says `converged`, with a likelihood of inf."""
    return bool(np.isfinite([result.llf, result.scale, *result.fe_params, *result.bse_fe]).all())


def _residuals(result, y: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """(residuals, fitted values), random effects included unless one has no variance and cannot be predicted."""
    try:
        return np.asarray(result.resid), np.asarray(result.fittedvalues)
    except ValueError:
        fitted = design @ np.asarray(result.fe_params)
        return y - fitted, fitted


def _residual_problems(residuals: np.ndarray, fitted: np.ndarray) -> list[str]:
    """Signs in the residuals that errors are not normal, or that their variance is not the same everywhere."""
    from scipy.stats import kurtosis, skew, spearmanr

    problems = []
    if abs(skew(residuals)) > 1:
        problems.append(f"residuals are skewed (skewness {skew(residuals):.1f}), so intervals are off to one side")
    if kurtosis(residuals) > 3:
        problems.append(f"residuals have heavy tails (excess kurtosis {kurtosis(residuals):.1f})")
    if np.ptp(fitted) > 0:
        fan = spearmanr(np.abs(residuals), fitted)
        if fan.pvalue < 0.001 and abs(fan.statistic) > 0.2:
            problems.append(
                f"the spread of residuals changes with the fitted value (rank correlation {fan.statistic:.2f})"
            )
    return problems
