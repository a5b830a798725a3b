"""Marks that people give an epoch, 0 to 10, for visual quality, style and prompt, and how far reviewers differ."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import numpy as np

from panic_assets.errors import UserError

CRITERIA = ("visual", "style", "prompt")


@dataclass(frozen=True)
class Mark:
    """One reviewer's marks of one epoch, or of one prompt of it (`subject` is the prompt's id, "" for the epoch)."""

    epoch: int
    subject: str
    reviewer: str
    visual: float
    style: float
    prompt: float
    note: str
    at: datetime

    def __post_init__(self) -> None:
        if not self.reviewer.strip():
            raise UserError("reviewer is blank; enter a name, so that reviewers can be told apart")
        for name in CRITERIA:
            value = getattr(self, name)
            if not (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 10):
                raise UserError(f"{name} score is {value!r}; it must be a number from 0 to 10")


def standing(marks: Iterable[Mark]) -> list[Mark]:
    """The marks that count: of each reviewer, epoch and subject the latest."""
    latest: dict[tuple[int, str, str], Mark] = {}
    for mark in sorted(marks, key=lambda m: m.at):
        latest[mark.epoch, mark.subject, mark.reviewer] = mark
    return [latest[key] for key in sorted(latest)]


@dataclass(frozen=True)
class Spread:
    """One criterion at one epoch: the mean of the reviewers' means, and how far they lie apart.

    sd is the standard deviation between reviewers (None with one reviewer).
    """

    epoch: int
    criterion: str
    mean: float
    sd: float | None
    low: float
    high: float
    reviewers: int


def spread(marks: Collection[Mark]) -> list[Spread]:
    """Every criterion at every epoch that has marks; each reviewer weighs the same, however many marks they gave."""
    by_reviewer: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for mark in standing(marks):
        for criterion in CRITERIA:
            by_reviewer[mark.epoch, criterion][mark.reviewer].append(float(getattr(mark, criterion)))
    found = []
    for (epoch, criterion), held in sorted(by_reviewer.items(), key=lambda kv: (kv[0][0], CRITERIA.index(kv[0][1]))):
        means = np.array([np.mean(v) for _, v in sorted(held.items())])
        sd = float(means.std(ddof=1)) if len(means) > 1 else None
        found.append(
            Spread(epoch, criterion, float(means.mean()), sd, float(means.min()), float(means.max()), len(means))
        )
    return found


def disagreement(marks: Collection[Mark]) -> dict[str, float]:
    """Mean absolute difference between two reviewers who marked the same thing, by criterion; empty without any."""
    by_subject: dict[tuple[int, str], list[Mark]] = defaultdict(list)
    for mark in standing(marks):
        by_subject[mark.epoch, mark.subject].append(mark)
    pairs = [pair for held in by_subject.values() for pair in combinations(held, 2)]
    if not pairs:
        return {}
    return {c: float(np.mean([abs(getattr(a, c) - getattr(b, c)) for a, b in pairs])) for c in CRITERIA}
