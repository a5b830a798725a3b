"""A/B tests: which checkpoint draws better, judged by people who do not know which one drew a picture.

A *trial* is one prompt and seed drawn by two checkpoints, the sides chosen at random and stored. A *vote* is A, B
or tie, of one rater at one time. Prompts are *blocks*: votes on one prompt share its luck and are not independent,
so evidence is counted in blocks, each contributing its net preference g = (B votes - A votes) / votes in [-1, 1].

Two designs, chosen before the first vote:

- `anytime`: an e-value, E = integral over l in [-1, 1] of prod(1 + l g) dl / 2. Without any preference, each g
  is as likely as -g, so the expectation of E is 1 however often one looks, and it exceeds 20 with a chance below
  1/20 (Ville). A winner is declared at 20 or above. With one vote a block it is 2^n k! (n-k)! / (n+1)!.
- `fixed`: N votes agreed beforehand, one exact sign-flip test of the blocks at the end (the exact sign test when
  every block is one vote), declared at p <= .05, and nothing before.

Looking at a sign test after every vote, from the 10th to the 100th, calls a winner in 21% of the tests that have
none; looked at once, in 3.5%.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import ceil, sqrt
from typing import Literal

import numpy as np

from panic_assets.errors import UserError

Choice = Literal["A", "B", "tie"]
CHOICES: tuple[Choice, ...] = ("A", "B", "tie")
ENOUGH = 20.0
"""The e-value at which a winner is declared."""
SIGNIFICANT = 0.05
NO_DIFFERENCE, UNDECIDED = "no difference shown", "not decided yet"
_ALL_FLIPS = 16


@dataclass(frozen=True)
class Trial:
    """One pair to be judged. `left` says whose picture is on the left: "A" or "B". Never shown to a rater."""

    id: str
    prompt: str
    seed: int
    left: Literal["A", "B"]


@dataclass(frozen=True)
class Vote:
    """What one rater chose in one trial, as checkpoints (not sides), and when."""

    trial: str
    rater: str
    choice: Choice
    at: datetime


def draw_trials(cells: Sequence[tuple[str, int]], ids: Sequence[str], rng: np.random.Generator) -> list[Trial]:
    """One trial per cell (prompt, seed), sides drawn independently and evenly, in a random order."""
    order = rng.permutation(len(cells))
    sides: list[Literal["A", "B"]] = ["A" if s else "B" for s in rng.integers(0, 2, len(cells))]
    return [Trial(ids[n], cells[i][0], cells[i][1], sides[n]) for n, i in enumerate(order)]


def choice_of(trial: Trial, side: str) -> Choice:
    """The checkpoint meant by a vote for a side: `left`, `right` or `tie`."""
    if side == "tie":
        return "tie"
    if side not in ("left", "right"):
        raise UserError(f"vote is {side!r}; it must be left, right or tie")
    other: Choice = "B" if trial.left == "A" else "A"
    return trial.left if side == "left" else other


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share; (0, 1) without observations."""
    from scipy.special import ndtri  # Late: it costs everybody who imports the graph its time.

    if n == 0:
        return 0.0, 1.0
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    centre = successes + z2 / 2
    half = sqrt(z2 * (successes * (n - successes) / n + z2 / 4))
    return max(0.0, (centre - half) / (n + z2)), min(1.0, (centre + half) / (n + z2))


def sign_test(successes: int, n: int) -> float:
    """Exact two-sided sign test of "both are equally likely"; 1 without observations."""
    from scipy.special import bdtr  # Late: it costs everybody who imports the graph its time.

    return min(1.0, 2 * float(bdtr(min(successes, n - successes), n, 0.5))) if n else 1.0


def e_value(preferences: Iterable[float]) -> float:
    """The e-value of blocks' net preferences, each in [-1, 1]; 1 without any. Exact: the integrand is a polynomial."""
    g = np.array([p for p in preferences if p != 0], dtype=np.float64)
    if not len(g):
        return 1.0
    nodes, weights = _quadrature(ceil((len(g) + 1) / 2))
    return float(np.exp(np.log1p(np.outer(nodes, g)).sum(axis=1)) @ weights / 2)


_quadrature = cache(np.polynomial.legendre.leggauss)


def flip_test(preferences: Iterable[float]) -> float:
    """Two-sided p-value of the blocks' summed preference when each may have had either sign.

    All sign flips are listed up to 16 decided blocks; above, equal blocks are counted exactly (the sign test) and
    unequal ones by 20,000 seeded draws.
    """
    signed = np.array([p for p in preferences if p != 0], dtype=np.float64)
    g, observed = np.abs(signed), abs(signed.sum()) - 1e-9
    if not len(g):
        return 1.0
    if (g == g[0]).all():
        return sign_test(int((signed > 0).sum()), len(g))
    if len(g) <= _ALL_FLIPS:
        sums = g[:1]  # The first sign may stay: its flip mirrors all the others.
        for size in g[1:]:
            sums = np.concatenate([sums + size, sums - size])
        return float((np.abs(sums) >= observed).mean())
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (20_000, len(g)))
    return float((1 + (np.abs(signs @ g) >= observed).sum()) / (1 + len(signs)))


def counted(trials: Collection[Trial], votes: Iterable[Vote], per_trial: int = 1) -> list[Vote]:
    """The votes that count: of each trial the first `per_trial` by time, one per rater (the earliest).

    Only planned votes count: a rater cannot vote twice on a trial, and no trial gets extra votes until it shows what
    one hopes for. Refuses a vote on an unknown trial.
    """
    known = {t.id for t in trials}
    taken: dict[str, list[Vote]] = defaultdict(list)
    for vote in sorted(votes, key=lambda v: (v.at, v.rater)):
        if vote.trial not in known:
            raise UserError(
                f"the vote by {vote.rater!r} names trial {vote.trial!r}, which this test does not have; remove it"
            )
        held = taken[vote.trial]
        if len(held) < per_trial and vote.rater not in {v.rater for v in held}:
            held.append(vote)
    return sorted((v for held in taken.values() for v in held), key=lambda v: (v.at, v.trial, v.rater))


def uncounted(
    votes: Collection[Vote], trial: str, rater: str, per_trial: int = 1, fixed_votes: int | None = None
) -> str | None:
    """Why one more vote would not count, given those cast so far; None if it would."""
    raters = {v.rater for v in votes if v.trial == trial}
    if rater in raters:
        return f"{rater} has voted on this trial already, and the first vote counts"
    if len(raters) >= per_trial:
        return "this trial has all the votes it needs"
    if fixed_votes is not None and len(votes) >= fixed_votes:
        return f"this test has all its {fixed_votes} votes"
    return None


def preferences(trials: Collection[Trial], votes: Sequence[Vote], per_trial: int = 1) -> dict[str, float]:
    """Net preference of every *complete* block (prompt): all its trials have `per_trial` votes. B is positive.

    An unfinished block says nothing yet; otherwise one could stop in the middle of a run of luck.
    """
    prompt_of = {t.id: t.prompt for t in trials}
    planned = Counter(prompt_of.values())
    held: dict[str, list[int]] = defaultdict(list)
    for vote in votes:
        held[prompt_of[vote.trial]].append({"A": -1, "B": 1, "tie": 0}[vote.choice])
    return {p: sum(v) / len(v) for p, v in sorted(held.items()) if len(v) == per_trial * planned[p]}


@dataclass(frozen=True)
class Result:
    """Everything a test says. Shares, interval and sign test are of single decided votes (descriptive: they take
    votes as independent); e-value and flip test are of blocks, and decide."""

    votes: int
    a: int
    b: int
    ties: int
    share_b: float | None
    low: float
    high: float
    sign_p: float
    left: int
    side_p: float
    blocks: int
    flip_p: float
    e: float
    design: str
    verdict: str

    @property
    def side_bias(self) -> bool:
        """Whether raters favour one side, whatever is on it."""
        return self.side_p <= SIGNIFICANT


def result(
    trials: Collection[Trial], votes: Iterable[Vote], per_trial: int = 1, fixed_votes: int | None = None
) -> Result:
    """The state of a test. `fixed_votes` is N of a fixed design; None is the anytime design.

    Verdicts: `use A`, `use B`, `no difference shown` (all planned votes are in, and not enough), `not decided yet`.
    """
    valid = counted(trials, votes, per_trial)
    if fixed_votes is not None:
        valid = valid[:fixed_votes]
    a, b, ties = (sum(v.choice == c for v in valid) for c in CHOICES)
    sides = {t.id: t.left for t in trials}
    left = sum(v.choice == sides[v.trial] for v in valid if v.choice != "tie")
    blocks = preferences(trials, valid, per_trial)
    if fixed_votes is not None:
        blocks = _net(trials, valid)
    e, flip = e_value(blocks.values()), flip_test(blocks.values())
    low, high = wilson(b, a + b)
    if fixed_votes is None:
        decided, complete = e >= ENOUGH, len(valid) == per_trial * len(trials)
    else:
        complete = len(valid) == fixed_votes
        decided = complete and flip <= SIGNIFICANT
    winner = "B" if sum(blocks.values()) > 0 else "A"
    return Result(
        votes=len(valid),
        a=a,
        b=b,
        ties=ties,
        share_b=b / (a + b) if a + b else None,
        low=low,
        high=high,
        sign_p=sign_test(b, a + b),
        left=left,
        side_p=sign_test(left, a + b),
        blocks=len(blocks),
        flip_p=flip,
        e=e,
        design="anytime" if fixed_votes is None else f"fixed at {fixed_votes} votes",
        verdict=f"use {winner}" if decided else NO_DIFFERENCE if complete else UNDECIDED,
    )


def _net(trials: Collection[Trial], votes: Sequence[Vote]) -> dict[str, float]:
    """Net votes of every block, finished or not: for a test that is looked at once, when its N votes are in."""
    prompt_of = {t.id: t.prompt for t in trials}
    net: dict[str, float] = defaultdict(float)
    for vote in votes:
        net[prompt_of[vote.trial]] += {"A": -1, "B": 1, "tie": 0}[vote.choice]
    most = max((abs(n) for n in net.values()), default=0) or 1
    return {prompt: n / most for prompt, n in sorted(net.items())}
