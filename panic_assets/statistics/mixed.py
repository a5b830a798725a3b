"""Linear mixed-effects models: factors and covariates, with random intercepts and slopes, fitted by `mixedlm`.

`mixedlm` profiles the likelihood as lme4 does: only ratios of variances are searched for, and all the rest has a closed
form. Its word is not taken: `_maximum` looks around the optimum, and a fit with a number that is not finite is refused.

Effects are tested with Satterthwaite's degrees of freedom. These follow from how far each variance is known, so that a
test of what varies between 4 prompts does not pretend to rest on 288 runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from panic_assets.asleep import asleep

if TYPE_CHECKING:
    import pandas as pd
    from mixedlm.models.lmer import LmerResult
else:
    pd = asleep("pandas")

LOWER = 1e-4
"""A deviance that is lower by this much is another fit. Rounding is far smaller."""
NOTHING = 1e-6
"""A residual deviation that is this small beside the outcome's own is rounding."""
FLAT = 1e-3
"""Groups that differ by so little, beside the outcome's own deviation, do not differ."""


@dataclass(frozen=True)
class Estimate:
    """One fixed effect. For factors: the difference from the reference level (the first in sorted order)."""

    name: str
    value: float
    error: float
    low: float
    high: float
    p_value: float
    """Of Student's t with `degrees`."""
    degrees: float
    """Satterthwaite's."""


@dataclass(frozen=True)
class Term:
    """An F test of a whole term, given all terms that do not contain it (type II)."""

    name: str
    statistic: float
    degrees: int
    residual_degrees: float
    """Satterthwaite's."""
    p_value: float


@dataclass(frozen=True)
class Mixed:
    """A fitted model."""

    outcome: str
    rows: int
    groups: int
    """Number of levels of the first random intercept."""
    estimates: list[Estimate]
    terms: list[Term]
    deviations: dict[str, float]
    """Standard deviation of each random intercept and slope, and of what is left (`residual`)."""
    log_likelihood: float
    """Its maximum: of the restricted likelihood, unless the full one was asked for."""
    problems: list[str]
    """Sentences: a variance at zero, residuals that are skewed, heavy-tailed or fan out, an effect that is left out."""


def strata(effects: Sequence[str], group: str) -> list[tuple[str, ...]]:
    """The random terms that let every effect, and every pair of effects, differ from group to group.

    A test of an effect that is the same in all groups compares it with how much it differs between them. Without these
    terms the test counts rows of one group as independent, and rejects too often.
    """
    return [(group,), *((group, effect) for effect in effects), *((group, *pair) for pair in combinations(effects, 2))]


def fit(
    frame: pd.DataFrame,
    outcome: str,
    effects: Sequence[str],
    random: Sequence[Sequence[str]],
    interactions: bool = True,
    restricted: bool = True,
    level: float = 0.95,
) -> Mixed:
    """`outcome` by `effects`, with `random` intercepts and slopes; ValueError with a reason where that cannot be.

    Effects are factors (text, bool) or covariates (numbers); `interactions` adds all pairs. Each element of `random` names
    columns, and every combination of their values has an intercept: ("prompt",), ("prompt", "network"), ("run",). A column
    of numbers after the first adds a slope instead, correlated with the intercept: ("subject", "days"). A grouping that
    repeats another is used once; one with a level for each row is the residual, and is left out. `restricted` likelihoods
    of models with different effects cannot be compared: ask for full ones to do that.

    Effects without variation are left out and named in `problems`; rows without an outcome are dropped.
    """
    used = frame[np.isfinite(frame[outcome].to_numpy(np.float64))].reset_index(drop=True)
    constant = [e for e in effects if used[e].nunique() < 2]
    problems = [f"{e} does not vary, so it is left out" for e in constant]
    varying = [e for e in effects if e not in constant]
    terms: list[tuple[str, ...]] = [(e,) for e in varying]
    terms += list(combinations(varying, 2)) if interactions else []
    y = used[outcome].to_numpy(np.float64)
    names, design, owner = _design(used, terms)
    groups = used.groupby(random[0][0]).ngroups
    if len(y) <= design.shape[1] + 1 or groups < 2:
        raise ValueError(
            f"{outcome} has {len(y)} rows in {groups} groups of {random[0][0]}; "
            f"a model of {design.shape[1]} effects needs more rows and at least 2 groups"
        )
    if np.ptp(y) == 0:
        raise ValueError(f"{outcome} is {y[0]:g} in every row; there is nothing to explain")
    tested = [term for term in terms if term in owner]
    problems += [
        f"{':'.join(term)} cannot be told from the other terms and is not tested"
        for term in terms
        if term not in tested
    ]
    scale = float(y.std())
    parts = _groupings(used, random)
    with threadpool_limits(1, "blas"):  # Its matrices are small: several threads wait for each other.
        fitted = _maximum(y / scale, design, parts, restricted)
        estimates = _estimates(fitted, names, scale, level)
        tests = []
        if tested:
            apart = design @ np.linalg.inv(_contrasts(np.asarray(fitted.vcov()), owner, tested))
            tests = _tests(_maximum(y / scale, apart, parts, restricted, np.asarray(fitted.theta)), owner, tested)
    deviations = _deviations(fitted, parts, scale)
    flat = [name for name, deviation in deviations.items() if deviation < FLAT * scale]
    if flat:
        problems.append(f"groups do not differ beyond chance: there is no variance by {_listed(flat)}")
    found = Mixed(
        outcome=outcome,
        rows=len(y),
        groups=groups,
        estimates=estimates,
        terms=tests,
        deviations=deviations,
        log_likelihood=float(fitted.logLik()) - (len(y) - restricted * len(names)) * float(np.log(scale)),
        problems=problems + _residual_problems(np.asarray(fitted.residuals()), np.asarray(fitted.fitted())),
    )
    _refuse_what_is_not_finite(found)
    return found


def sentences(model: Mixed, unit: str = "") -> list[str]:
    """The findings in words, one sentence an effect, and what is wrong with the model."""
    said = []
    for e in model.estimates[1:]:
        sure = "" if e.low > 0 or e.high < 0 else ", which includes zero"
        said.append(
            f"{e.name} changes {model.outcome} by {e.value:.3g}{unit} "
            f"(95% interval {e.low:.3g} to {e.high:.3g}{sure}; p = {e.p_value:.2g})."
        )
    return said + [f"{p[0].upper()}{p[1:]}." for p in model.problems]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if names[1:] else "") + names[-1]


def _design(frame: pd.DataFrame, terms: list[tuple[str, ...]]) -> tuple[list[str], np.ndarray, list[tuple[str, ...]]]:
    """(names, (n, k) columns, the term of each) with the intercept first; columns that repeat others are left out."""
    names, columns = ["intercept"], [np.ones(len(frame))]
    owner: list[tuple[str, ...]] = [()]
    basis = np.ones((len(frame), 1)) / np.sqrt(len(frame))
    for term in terms:
        parts: list[tuple[str, np.ndarray]] = [("", np.ones(len(frame)))]
        for effect in term:
            coded = _coded(frame[effect])
            parts = [(f"{a}:{b}" if a else b, x * z) for a, x in parts for b, z in coded]
        for name, column in parts:
            new = column - basis @ (basis.T @ column)
            new -= basis @ (basis.T @ new)  # Once more: the first pass leaves rounding of the size of the column.
            if np.linalg.norm(new) > 1e-8 * np.linalg.norm(column):
                basis = np.column_stack([basis, new / np.linalg.norm(new)])
                names.append(name)
                columns.append(column)
                owner.append(term)
    return names, np.column_stack(columns), owner


def _number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _coded(values: pd.Series) -> list[tuple[str, np.ndarray]]:
    if _number(values):
        return [(str(values.name), values.to_numpy(np.float64))]
    levels = sorted(values.unique(), key=str)
    return [
        (f"{values.name} {level} against {levels[0]}", (values == level).to_numpy(np.float64)) for level in levels[1:]
    ]


@dataclass(frozen=True)
class _Grouping:
    """A random intercept, and the slopes that are correlated with it."""

    name: str
    codes: np.ndarray
    """(n,) which level each row has, counted in order of appearance."""
    slopes: dict[str, np.ndarray]


def _groupings(frame: pd.DataFrame, random: Sequence[Sequence[str]]) -> list[_Grouping]:
    """The random terms without repetition: codes by order of appearance are equal when groupings are."""
    found: dict[bytes, _Grouping] = {}
    for first, *others in random:
        numbers = [column for column in others if _number(frame[column])]
        by = [first, *(column for column in others if column not in numbers)]
        codes = frame.groupby(by, sort=False, dropna=False).ngroup().to_numpy(np.int64)
        if codes.max() + 1 == len(codes):
            continue
        grouping = found.setdefault(codes.tobytes(), _Grouping(" x ".join(by), codes, {}))
        grouping.slopes.update({column: frame[column].to_numpy(np.float64) for column in numbers})
    return list(found.values())


def _maximum(
    y: np.ndarray, design: np.ndarray, parts: Sequence[_Grouping], restricted: bool, start: np.ndarray | None = None
) -> LmerResult:
    """The fit where the likelihood is highest; ValueError where there is none.

    The optimiser is started again from any neighbour that is better than where it stopped.
    """
    for _ in range(4):
        fitted = _fitted(y, design, parts, restricted, start)
        start = _better(fitted)
        if start is None:
            return fitted
    raise ValueError("the mixed model cannot be fitted: the search does not reach the highest likelihood")


def _fitted(
    y: np.ndarray,
    design: np.ndarray,
    parts: Sequence[_Grouping],
    restricted: bool,
    start: np.ndarray | None,
    steps: int = 1000,
) -> LmerResult:
    """What the library's optimiser says, in at most so many `steps`."""
    from mixedlm import lmer, lmerControl

    columns: dict[str, object] = {"y": y, **{f"x{k}": design[:, k] for k in range(design.shape[1])}}
    formula = "y ~ 0 + " + " + ".join(f"x{k}" for k in range(design.shape[1]))
    for g, part in enumerate(parts):
        columns[f"g{g}"] = part.codes.astype(str)
        columns |= {f"s{g}_{k}": values for k, values in enumerate(part.slopes.values())}
        formula += f" + ({' + '.join(['1', *(f's{g}_{k}' for k in range(len(part.slopes)))])} | g{g})"
    # Its checks speak of R's habits, in warnings. What matters of them is checked here, and said in `problems`.
    quiet = lmerControl(check_conv=False, check_singular=False, check_nlev_gtreq_5="ignore", check_scaleX="ignore")
    try:
        found = lmer(formula, pd.DataFrame(columns), REML=restricted, control=quiet, start=start, maxiter=steps)
    except (RuntimeError, ValueError, np.linalg.LinAlgError) as error:
        raise ValueError("the mixed model cannot be fitted: its likelihood is not a finite number") from error
    if found.sigma < NOTHING:
        raise ValueError(
            "the mixed model cannot be fitted: it explains every row, and the error of an effect is not a finite number"
        )
    return found


def _better(fitted: LmerResult) -> np.ndarray | None:
    """A neighbour of the fitted parameters whose deviance is lower; None at the optimum.

    The neighbours of one parameter are a tenth less, a tenth more, a step up, and zero, at which searches get stuck.
    """
    deviance = fitted.as_function("deviance")
    theta = np.asarray(fitted.theta, dtype=np.float64)
    here = float(deviance(theta))  # type: ignore[operator]
    for k, value in enumerate(theta):
        for other in (0.9 * value, 1.1 * value, value + 0.1, 0.0):
            near = theta.copy()
            near[k] = other
            if float(deviance(near)) < here - LOWER:  # type: ignore[operator]
                return near
    return None


def _estimates(fitted: LmerResult, names: Sequence[str], scale: float, level: float) -> list[Estimate]:
    """What each effect is, in units of `scale`."""
    from mixedlm.inference import satterthwaite_df
    from scipy.stats import t

    values, errors = np.asarray(fitted.beta) * scale, np.sqrt(np.diag(np.asarray(fitted.vcov()))) * scale
    degrees = np.asarray(satterthwaite_df(fitted).df)
    reach = t.ppf((1 + level) / 2, degrees) * errors
    p_values = 2 * t.sf(np.abs(values / errors), degrees)
    columns = np.column_stack([values, errors, values - reach, values + reach, p_values, degrees])
    return [Estimate(name, *row) for name, row in zip(names, columns.tolist(), strict=True)]


def _tests(apart: LmerResult, owner: list[tuple[str, ...]], terms: list[tuple[str, ...]]) -> list[Term]:
    """An F test of each term, from a fit whose coefficients are the rows of `_contrasts`."""
    from mixedlm.inference import satterthwaite_df
    from scipy.stats import f

    squares = np.asarray(apart.beta) ** 2 / np.diag(np.asarray(apart.vcov()))
    degrees = np.asarray(satterthwaite_df(apart).df)
    found, at = [], 1  # The first coefficient is the intercept.
    for term in terms:
        columns = owner.count(term)
        mine = slice(at, at + columns)
        statistic, residual = float(squares[mine].mean()), _residual_degrees(degrees[mine])
        found.append(Term(":".join(term), statistic, columns, residual, float(f.sf(statistic, columns, residual))))
        at += columns
    return found


def _contrasts(covariance: np.ndarray, owner: list[tuple[str, ...]], terms: list[tuple[str, ...]]) -> np.ndarray:
    """(k, k) rows that are what each term says, given all terms that do not contain it; rows of a term are uncorrelated.

    Leaving out what contains a term, at the same variances, moves its effects by their regression on what is left out.
    """
    rows = [np.eye(len(owner))[0]]
    for term in terms:
        mine = [k for k, other in enumerate(owner) if other == term]
        above = [k for k, other in enumerate(owner) if set(term) < set(other)]
        share = np.eye(len(owner))[mine]
        if above:
            share[:, above] = -np.linalg.solve(covariance[np.ix_(above, above)], covariance[np.ix_(above, mine)]).T
        rows += list(np.linalg.eigh(share @ covariance @ share.T)[1].T @ share)
    return np.array(rows)


def _residual_degrees(degrees: np.ndarray) -> float:
    """Of an F test, from those of its uncorrelated contrasts: the F whose mean is theirs (Fai and Cornelius 1996)."""
    if np.ptp(degrees) < 1e-8 or degrees.min() <= 2:
        return float(degrees.min())
    total = float((degrees / (degrees - 2)).sum())
    return 2 * total / (total - len(degrees))


def _deviations(fitted: LmerResult, parts: Sequence[_Grouping], scale: float) -> dict[str, float]:
    """Standard deviation of each random intercept and slope, and of the residual."""
    found = {}
    variances: Mapping[str, Mapping[str, float]] = fitted.VarCorr().as_dict()
    for g, part in enumerate(parts):
        names = [part.name, *(f"{part.name} x {slope}" for slope in part.slopes)]
        for name, variance in zip(names, variances[f"g{g}"].values(), strict=True):
            found[name] = float(np.sqrt(max(variance, 0.0))) * scale
    return found | {"residual": float(fitted.sigma) * scale}


def _refuse_what_is_not_finite(model: Mixed) -> None:
    numbers = [
        model.log_likelihood,
        *model.deviations.values(),
        *(n for e in model.estimates for n in (e.value, e.error, e.low, e.high, e.p_value, e.degrees)),
        *(n for term in model.terms for n in (term.statistic, term.residual_degrees, term.p_value)),
    ]
    if not np.isfinite(numbers).all():
        raise ValueError("the mixed model cannot be fitted: an effect, an error or a test is not a finite number")


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
