import numpy as np
import pytest

from panic_assets.errors import UserError
from panic_assets.grokking.outcomes import against_base, classify

EPOCHS = np.arange(0, 25_001, 100)


def losses(descent=8000, final=1e-7, end=None):
    loss = np.where(descent > EPOCHS, 10.0, final)
    if end is not None:
        loss[-1] = end
    return loss


@pytest.mark.parametrize(
    ("loss", "outcome", "onset"),
    [
        (losses(), "healthy", 8000),
        (losses(12_000), "healthy", 12_000),
        (losses(12_100), "late", 12_100),
        (losses(final=2e-5), "degraded", 8000),
        (losses(end=1e-3), "rebound", 8000),
        (losses(end=5e-6), "healthy", 8000),  # ten times and more, but still as good as anyone asks
        (losses(final=5.0), "no second descent", None),
        (np.full(len(EPOCHS), 4.0), "no second descent", None),
    ],
)
def test_classes(loss, outcome, onset):
    found = classify(EPOCHS, loss)
    assert (found.outcome, found.onset) == (outcome, onset)


def test_the_onset_counts_from_the_peak():
    loss = losses()
    loss[0] = 1.0  # low before the peak is no descent
    assert classify(EPOCHS, loss).onset == 8000


def test_pairing_with_the_base_run():
    base, late, never = (
        classify(EPOCHS, losses()),
        classify(EPOCHS, losses(15_000, 1e-6)),
        classify(EPOCHS, losses(final=5)),
    )
    paired = against_base(late, base)
    assert (paired.onset_shift, paired.loss_ratio, paired.same_outcome) == (7000, pytest.approx(1), False)
    assert against_base(never, base).onset_shift is None
    assert against_base(base, base).same_outcome
    with pytest.raises(UserError):
        classify([], [])
