import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panic_assets.grokking.learning.gains import apply, component, in_force
from panic_assets.grokking.learning.recipe import Gain
from panic_assets.grokking.spectra.fourier import basis

P = 7


def transform(x):
    f = torch.tensor(basis(P))
    return torch.einsum("ac,bd,cdn->abn", f, f, x.reshape(P, P, -1))


def in_block(k):
    rows = {0, 2 * k - 1, 2 * k}
    mask = np.array([[a in rows and b in rows and (a, b) != (0, 0) for b in range(P)] for a in range(P)])
    return torch.tensor(mask)


@settings(deadline=None)  # the first call into torch is slow
@given(st.integers(0, 1000), st.sampled_from([1, 2, 3]), st.floats(-3, 3))
def test_a_gain_scales_exactly_its_fourier_component(seed, k, g):
    x = torch.tensor(np.random.default_rng(seed).normal(size=(P * P, 4)))
    before, after = transform(x), transform(apply(x, P, {k: g}))
    inside = in_block(k)
    torch.testing.assert_close(after[inside], g * before[inside], atol=1e-12, rtol=0)
    torch.testing.assert_close(after[~inside], before[~inside], atol=1e-12, rtol=0)


def test_components_of_several_frequencies_do_not_overlap():
    x = torch.tensor(np.random.default_rng(1).normal(size=(P * P, 4)))
    gone = apply(apply(x, P, {1: 0.0}), P, {2: 0.0})
    torch.testing.assert_close(gone, apply(x, P, {1: 0.0, 2: 0.0}))
    assert float(component(component(x, P, 1), P, 2).abs().max()) < 1e-12


def test_window_and_ramp():
    gain = Gain(1, 3.0, 100, 200, ramp=10)
    assert [gain.at(e) for e in (99, 100, 104, 109, 150, 190, 199, 200)] == pytest.approx([1, 1.2, 2, 3, 3, 3, 1.2, 1])
    assert [Gain(1, 0.0, 5, 7).at(e) for e in (4, 5, 6, 7)] == [1, 0, 0, 1]


def test_gains_of_one_are_not_in_force_and_windows_multiply():
    assert in_force((Gain(1, 1.0, 0, 10), Gain(2, 2.0, 20, 30)), 5) == {}
    assert in_force((Gain(2, 2.0, 0, 10), Gain(2, 3.0, 5, 10)), 7) == {2: 6.0}
