"""Which issues each epoch has, and whether they are new, resolved, persisting or recurring."""

from collections.abc import Mapping
from dataclasses import dataclass

NEW, RESOLVED, PERSISTING, RECURRING, ABSENT = "new", "resolved", "persisting", "recurring", ""
FAULTY = 70.0
"""An attribute whose mean score is below this (a mark under 7) is an issue."""


@dataclass(frozen=True)
class Issue:
    """One attribute at one tested epoch, its score there, and the state of the issue."""

    name: str
    epoch: int
    score: float
    state: str


def track(scores: Mapping[str, Mapping[int, float]]) -> list[Issue]:
    """The state of every attribute (name -> epoch -> mean score) at every epoch at which it was tested.

    Compared with the epoch *at which the attribute was last tested*: `new` (faulty, never before), `persisting`
    (faulty then too), `recurring` (sound then, faulty at some time before), `resolved` (faulty then, sound now).
    """
    found = []
    for name, by_epoch in sorted(scores.items()):
        before = ever = False
        for epoch, score in sorted(by_epoch.items()):
            faulty = score < FAULTY
            match faulty, before:
                case True, True:
                    state = PERSISTING
                case True, False:
                    state = RECURRING if ever else NEW
                case False, True:
                    state = RESOLVED
                case _:
                    state = ABSENT
            found.append(Issue(name, epoch, score, state))
            before, ever = faulty, ever or faulty
    return found
