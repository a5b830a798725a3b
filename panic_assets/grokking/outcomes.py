"""How a run ended, as one of five outcomes, and how variants compare with the base run of their sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from panic_assets.errors import UserError

Outcome = Literal["healthy", "late", "degraded", "rebound", "no second descent"]
DESCENT = 0.8
LATE = 12_000
DEGRADED = 1e-5
REBOUND = 10.0


@dataclass(frozen=True)
class Ending:
    """A finished run's test loss in numbers. `onset` is the first epoch after the peak at which 80% of the peak is
    gone; None when that never happens. `rebound` is the final loss over the lowest."""

    outcome: Outcome
    onset: int | None
    final_loss: float
    lowest_loss: float
    rebound: float


def classify(epochs: Sequence[int], test_loss: Sequence[float]) -> Ending:
    """Classify by the test loss, in this order: no second descent (80% of the peak never goes), rebound (the final
    loss is ten times the lowest, and above 1e-5), degraded (the final loss is above 1e-5), late (onset after epoch
    12,000), healthy."""
    e, y = np.asarray(epochs), np.asarray(test_loss, float)
    if not len(y) or len(e) != len(y):
        raise UserError("the run cannot be classified; it needs epochs and one test loss for each")
    top = int(y.argmax())
    gone = np.flatnonzero(y[top:] <= (1 - DESCENT) * y[top])
    onset = int(e[top + int(gone[0])]) if len(gone) and y[top] > 0 else None
    final, lowest = float(y[-1]), float(y.min())
    ratio = final / lowest if lowest > 0 else (float("inf") if final > 0 else 1.0)
    outcome: Outcome
    if onset is None:
        outcome = "no second descent"
    elif ratio >= REBOUND and final > DEGRADED:
        outcome = "rebound"
    elif final > DEGRADED:
        outcome = "degraded"
    elif onset > LATE:
        outcome = "late"
    else:
        outcome = "healthy"
    return Ending(outcome, onset, final, lowest, ratio)


@dataclass(frozen=True)
class Paired:
    """A variant against the base run of its sweep. `onset_shift` in epochs, None unless both have an onset;
    `loss_ratio` is log10 of final test loss over the base's."""

    onset_shift: int | None
    loss_ratio: float | None
    same_outcome: bool


def against_base(variant: Ending, base: Ending) -> Paired:
    """Compare two endings."""
    shift = variant.onset - base.onset if variant.onset is not None and base.onset is not None else None
    positive = variant.final_loss > 0 and base.final_loss > 0
    ratio = float(np.log10(variant.final_loss / base.final_loss)) if positive else None
    return Paired(shift, ratio, variant.outcome == base.outcome)
