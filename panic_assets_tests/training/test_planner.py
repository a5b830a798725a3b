import numpy as np
import pytest

from panic_assets.errors import UserError
from panic_assets.training.planner import coarse, events, proposal

EPOCHS = np.arange(0, 1001)


def grok():
    """Rises to 10 at 200, holds, falls linearly from 400 to 500 to 0.01, rebounds to 0.05 at 1000."""
    return np.interp(EPOCHS, [0, 200, 201, 400, 500, 1000], [6, 10, 9.9, 9.9, 0.01, 0.05])


def by_kind(found):
    return {e.kind: e for e in found}


def test_events_of_a_known_curve():
    found = by_kind(events(EPOCHS, grok(), "test", thresholds=[5.0]))
    assert found["peak"].epoch == 200
    assert found["descent"].epoch == 480  # 80% of the way from 10 to 0.01: y <= 2.008
    assert (found["descent"].start, found["descent"].end) == (420, 480)
    assert found["minimum"].epoch == 500
    assert found["rebound"].epoch == 1000
    assert found["rebound"].ratio == pytest.approx(5)
    assert found["threshold"].epoch == 450
    assert (found["threshold"].start, found["threshold"].end) == (0, 475)  # never above twice 5


def test_a_flat_or_falling_curve_has_no_rebound_and_a_flat_one_no_descent():
    assert set(by_kind(events(range(5), [1, 1, 1, 1, 1], "train"))) == {"minimum"}
    assert "rebound" not in by_kind(events(range(5), [5, 4, 3, 2, 1], "train"))
    assert "threshold" not in by_kind(events(range(5), [5, 4, 3, 2, 1], "train", [0.5]))


def test_a_coarse_schedule_is_flagged_and_the_proposal_cures_it():
    found = events(EPOCHS, grok(), "test")
    schedule = list(range(0, 1001, 100))
    flagged = coarse(found, schedule)
    assert "descent" in {c.event.kind for c in flagged}
    extra = proposal(flagged)
    assert not set(extra) & set(schedule)
    assert {435, 450, 465} <= set(extra)
    assert coarse(found, [*schedule, *extra]) == []


def test_a_dense_schedule_is_left_alone():
    assert coarse(events(EPOCHS, grok(), "test"), EPOCHS.tolist()) == []


def test_broken_curves_are_refused():
    for epochs, loss in [([0, 0], [1, 1]), ([0, 1], [1, float("nan")]), ([], [])]:
        with pytest.raises(UserError, match="ascending epochs"):
            events(epochs, loss, "test")
