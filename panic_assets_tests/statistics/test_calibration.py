"""A small part of benchmarks/calibration.py, which is run by hand: enough to see that rows are simulated and go on."""

import numpy as np
import pytest

from benchmarks.calibration import ROWS, simulated

QUICK = {("contrast", "2 networks x 4 prompts x 8"): 60, ("contrast", "2 networks x 4 prompts x 1 (pairs)"): 60}


@pytest.mark.parametrize("row", [r for r in ROWS if (r.what, r.shape) in QUICK], ids=lambda r: f"{r.shape} {r.kind}")
def test_shares_are_what_they_should_be(row):
    wanted = {"size": 0.05, "coverage": 0.95}[row.kind]
    kept = {}
    shares = simulated(row, QUICK[row.what, row.shape], kept)
    assert list(shares.values()) == pytest.approx([wanted], abs=3.5 * np.sqrt(0.05 * 0.95 / 60))


def test_what_is_kept_is_not_simulated_again():
    row = next(r for r in ROWS if r.kind == "coverage")
    kept = {f"{row.what}, {row.shape}, {row.kind}": [{"interval": False}, {"interval": False}]}
    assert simulated(row, 2, kept) == {"interval": 0.0}
    simulated(row, 3, kept)
    (found,) = kept.values()
    assert len(found) == 3
    assert found[2] == row.one(2)
