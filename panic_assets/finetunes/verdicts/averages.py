"""From cells to epochs: averages with intervals, the best epoch with its confidence, marks only above noise.

An average is a mean of prompt means, so that a prompt with more seeds weighs no more. Epochs are compared on
prompts they share, never on different ones. All resampling is seeded: the same rows give the same numbers.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from panic_assets.errors import UserError

RESAMPLES = 2000
CONFIDENCE = 0.95
SIGNIFICANT = 0.05
_ENOUGH_PROMPTS = 5
"""With this many prompts or more, whole prompts are shuffled; with fewer, single cells."""


@dataclass(frozen=True)
class Value:
    """One metric of one cell. `suite` is the hash of the suite version the cell belongs to."""

    epoch: int
    prompt: str
    seed: int
    value: float
    suite: str


@dataclass(frozen=True)
class Average:
    """Mean of prompt means. The interval (95%, bootstrap over prompts) is None with a single prompt."""

    mean: float
    low: float | None
    high: float | None
    prompts: int
    cells: int


def one_suite(values: Iterable[Value]) -> None:
    """Refuses values of more than one suite version."""
    versions = sorted({v.suite for v in values})
    if len(versions) > 1:
        raise UserError(
            f"values of {len(versions)} suite versions ({', '.join(v[:8] for v in versions)}) cannot be averaged; "
            "choose one version"
        )


def prompt_means(values: Iterable[Value]) -> dict[str, float]:
    """The mean over seeds of each prompt."""
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for v in values:
        by_prompt[v.prompt].append(v.value)
    return {prompt: float(np.mean(held)) for prompt, held in by_prompt.items()}


def average(values: Collection[Value]) -> Average:
    """The average of one epoch's values (any one group of cells); refuses none, and mixed suite versions."""
    one_suite(values)
    means = np.array([m for _, m in sorted(prompt_means(values).items())])
    if not len(means):
        raise UserError("there is no value to average; measure at least one picture first")
    low = high = None
    if len(means) > 1:
        drawn = np.random.default_rng(0).integers(0, len(means), (RESAMPLES, len(means)))
        low, high = _interval(means[drawn].mean(axis=1))
    return Average(float(means.mean()), low, high, len(means), len(values))


def _interval(draws: np.ndarray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def by_epoch(values: Iterable[Value]) -> dict[int, list[Value]]:
    """Values grouped by epoch, epochs ascending."""
    groups: dict[int, list[Value]] = defaultdict(list)
    for v in values:
        groups[v.epoch].append(v)
    return dict(sorted(groups.items()))


def like_with_like(values: Iterable[Value], prompts: Collection[str]) -> dict[int, list[Value]]:
    """Only the epochs that have all of `prompts`, and of those only these prompts."""
    wanted = set(prompts)
    return {
        epoch: [v for v in held if v.prompt in wanted]
        for epoch, held in by_epoch(values).items()
        if wanted <= {v.prompt for v in held}
    }


@dataclass(frozen=True)
class Table:
    """Values of several epochs on the cells all of them have: float64 (cells, epochs), prompts of the rows."""

    values: np.ndarray
    epochs: tuple[int, ...]
    prompts: tuple[str, ...]

    @property
    def weights(self) -> np.ndarray:
        """Weight of each row, so that weighted sums are means of prompt means; sums to 1."""
        _, where, counts = np.unique(np.array(self.prompts), return_inverse=True, return_counts=True)
        return 1 / (counts[where] * len(counts))

    @property
    def means(self) -> np.ndarray:
        """Mean of prompt means per epoch."""
        return self.weights @ self.values


def table(epochs: Mapping[int, Collection[Value]]) -> Table:
    """The cells (prompt and seed) that every one of `epochs` has, side by side."""
    one_suite([v for held in epochs.values() for v in held])
    cells = {epoch: {(v.prompt, v.seed): v.value for v in held} for epoch, held in epochs.items()}
    shared = sorted(set.intersection(*[set(c) for c in cells.values()])) if cells else []
    rows = [[cells[epoch][cell] for epoch in sorted(cells)] for cell in shared]
    return Table(
        np.array(rows, dtype=np.float64).reshape(len(shared), len(cells)),
        tuple(sorted(cells)),
        tuple(prompt for prompt, _ in shared),
    )


@dataclass(frozen=True)
class Choice:
    """The best epoch, the share of resamples that choose it, and the evidence that it is more than noise.

    `p`: permutation p-value of "no epoch differs", of the best epoch's lead over the mean of all. `last_below`:
    how far the last epoch lies below the best, with its 95% interval (None when the last is the best).
    """

    epoch: int
    confidence: float
    shares: Mapping[int, float]
    p: float
    last_below: tuple[float, float, float] | None
    prompts: int
    cells: int

    @property
    def above_noise(self) -> bool:
        """Whether the best epoch may be marked as best."""
        return self.p <= SIGNIFICANT


def choose(shown: Table) -> Choice | None:
    """The epoch with the highest mean; the earlier of equals. None with fewer than two epochs or no shared cell.

    Resamples draw prompts and, within each, seeds: with one prompt the seeds alone speak, and confidence is no
    certainty.
    """
    if len(shown.epochs) < 2 or not len(shown.values):
        return None
    rng = np.random.default_rng(0)
    best = int(np.argmax(shown.means))
    draws = _resampled_means(shown, rng)
    chosen = np.bincount(draws.argmax(axis=1), minlength=len(shown.epochs)) / len(draws)
    permuted = _permuted_means(shown, shown.values, rng)
    observed = shown.means.max() - shown.means.mean()
    null = permuted.max(axis=1) - permuted.mean(axis=1)
    below = draws[:, best] - draws[:, -1]
    return Choice(
        epoch=shown.epochs[best],
        confidence=float(chosen[best]),
        shares={epoch: float(s) for epoch, s in zip(shown.epochs, chosen, strict=True)},
        p=_p(observed, null),
        last_below=None
        if best == len(shown.epochs) - 1
        else (float(shown.means[best] - shown.means[-1]), *_interval(below)),
        prompts=len(set(shown.prompts)),
        cells=len(shown.values),
    )


def _p(observed: float, null: np.ndarray) -> float:
    return float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


def _resampled_means(shown: Table, rng: np.random.Generator) -> np.ndarray:
    """(RESAMPLES, epochs): means of prompt means, prompts and seeds within prompts drawn with replacement."""
    names = sorted(set(shown.prompts))
    rows = [np.flatnonzero(np.array(shown.prompts) == name) for name in names]
    total = np.zeros((RESAMPLES, len(shown.epochs)))
    picks = rng.integers(0, len(names), (RESAMPLES, len(names)))
    for slot in range(len(names)):
        for number, held in enumerate(rows):
            drawn = np.flatnonzero(picks[:, slot] == number)
            seeds = held[rng.integers(0, len(held), (len(drawn), len(held)))]
            total[drawn] += shown.values[seeds].mean(axis=1)
    return total / len(names)


def _permuted_means(shown: Table, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(RESAMPLES, epochs): means after the epochs' labels were shuffled within prompts (cells when few)."""
    names, where = np.unique(np.array(shown.prompts), return_inverse=True)
    blocks = where if len(names) >= _ENOUGH_PROMPTS else np.arange(len(values))
    keys = rng.random((RESAMPLES, int(blocks.max()) + 1, values.shape[1])).argsort(axis=2)
    weights = shown.weights
    total = np.zeros((RESAMPLES, values.shape[1]))
    for row, block in enumerate(blocks):
        total += weights[row] * values[row][keys[:, block]]
    return total


@dataclass(frozen=True)
class Inflection:
    """Where the trend turns: the slopes per epoch before and after, and the permutation p-value of a turn."""

    epoch: int
    before: float
    after: float
    p: float

    @property
    def above_noise(self) -> bool:
        """Whether the turn may be marked."""
        return self.p <= SIGNIFICANT


def inflection(shown: Table) -> Inflection | None:
    """The inner epoch at which two joined straight lines fit the averages best; None with fewer than five epochs.

    Its p-value compares the gain over one line with what shuffled residuals of that line give.
    """
    x = np.array(shown.epochs, dtype=np.float64)
    if len(x) < 5 or not len(shown.values):
        return None
    line = np.stack([np.ones_like(x), x], axis=1)
    flat = np.eye(len(x)) - line @ np.linalg.pinv(line)
    sticks = [np.column_stack([line, np.maximum(x - turn, 0)]) for turn in x[1:-1]]
    bent = np.stack([np.eye(len(x)) - s @ np.linalg.pinv(s) for s in sticks])

    def gains(means: np.ndarray) -> np.ndarray:
        one = ((means @ flat) ** 2).sum(axis=-1)
        two = (np.einsum("...e,kef->...kf", means, bent) ** 2).sum(axis=-1)
        return 1 - two / np.maximum(one, 1e-12)[..., None]

    observed = gains(shown.means)
    residuals = shown.values @ flat
    null = gains(_permuted_means(shown, residuals, np.random.default_rng(0)))
    turn = int(np.argmax(observed))
    slopes = np.linalg.pinv(sticks[turn]) @ shown.means
    return Inflection(
        epoch=shown.epochs[turn + 1],
        before=float(slopes[1]),
        after=float(slopes[1] + slopes[2]),
        p=_p(float(observed[turn]), null.max(axis=1)),
    )


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences (first minus second) over prompts, with its 95% interval (None: one prompt)."""

    mean: float
    low: float | None
    high: float | None
    prompts: int
    cells: int


def paired(first: Collection[Value], second: Collection[Value]) -> Difference | None:
    """First minus second on the cells both have; None when they share none."""
    one_suite([*first, *second])
    theirs = {(v.prompt, v.seed): v.value for v in second}
    mine = [v for v in first if (v.prompt, v.seed) in theirs]
    if not mine:
        return None
    told = average([Value(v.epoch, v.prompt, v.seed, v.value - theirs[v.prompt, v.seed], v.suite) for v in mine])
    return Difference(told.mean, told.low, told.high, told.prompts, told.cells)
