import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.grokking.spectra import neurons

P = 113
A, B = np.divmod(np.arange(P * P), P)
W = 2 * np.pi / P


def top(values, p=P):
    k, share = neurons.dominant(neurons.concentrations(np.asarray(values, float)[:, None], p))
    return int(k[0]), float(share[0])


def test_published_concentrations():
    assert top(np.cos(17 * W * (A + B))) == (17, pytest.approx(1.000, abs=1e-9))
    both = neurons.concentrations((np.cos(17 * W * (A + B)) + np.cos(25 * W * (A + B)))[:, None], P)[0]
    assert (both[16], both[24]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert top(np.maximum(0, np.cos(W * A) + np.cos(W * B)))[1] == pytest.approx(0.962, abs=5e-4)


def test_each_input_alone_counts_and_constants_do_not():
    assert top(np.sin(9 * W * A) + 100) == (9, pytest.approx(1))
    assert top(np.cos(9 * W * B)) == (9, pytest.approx(1))
    assert (
        top(np.cos(3 * W * A) * np.cos(4 * W * B)) == (neurons.DEAD, 0)
        or top(np.cos(3 * W * A) * np.cos(4 * W * B))[1] < 1e-9
    )
    assert top(np.full(P * P, 0.3)) == (neurons.DEAD, 0)
    assert top(np.zeros(P * P)) == (neurons.DEAD, 0)


def test_many_neurons_at_once_agree_with_the_definition():
    p, rng = 7, np.random.default_rng(0)
    x = rng.normal(size=(p * p, 5))
    found = neurons.concentrations(x, p)
    f = neurons.basis(p)
    for i in range(5):
        power = (f @ x[:, i].reshape(p, p) @ f.T) ** 2
        for k in (1, 2, 3):
            rows = [0, 2 * k - 1, 2 * k]
            share = (power[np.ix_(rows, rows)].sum() - power[0, 0]) / (power.sum() - power[0, 0])
            assert found[i, k - 1] == pytest.approx(share)
    assert (found.sum(axis=1) <= 1 + 1e-12).all()


def walk(ks, values, threshold=0.5, hysteresis=0.0):
    return neurons.path(ks, values, range(0, 10 * len(ks), 10), threshold, hysteresis)


def test_the_published_sequence():
    ks, values = [5, 5, 7, 9, 9, 5], [0.6, 0.6, 0.1, 0.8, 0.8, 0.6]
    path = walk(ks, values)
    assert path.switches == 2
    assert [(s.k, s.epoch) for s in path.stops] == [(5, 0), (9, 30), (5, 50)]
    assert (path.commitment, path.homeless) == (50, False)
    assert str(path.stops[1]) == "9@30 (0.80)"
    never = walk(ks, [0.6, 0.6, 0.1, 0.4, 0.4, 0.6])
    assert never.switches == 0
    assert never.commitment == 50  # it was out of its home in between


def test_commitment_homelessness_and_hysteresis():
    ks, values = [5] * 6, [0.2, 0.6, 0.47, 0.6, 0.6, 0.47]
    assert walk(ks, values).homeless
    kept = walk(ks, values, hysteresis=0.1)
    assert (kept.homeless, kept.commitment, kept.switches) == (False, 10, 0)
    assert walk(ks, [0.1] * 6) == neurons.Path((), 0, None, True)
    assert walk([5, 5, 9], [0.6, 0.6, 0.4], hysteresis=0.2).homeless  # ruled by another frequency by now
    with pytest.raises(UserError, match="hysteresis"):
        neurons.paths(np.ones((2, 1), int), np.ones((2, 1)), [0, 1], 0.2, 0.3)


history = st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), min_size=1, max_size=25)


@given(history, st.floats(0.05, 0.95))
def test_the_vectorised_count_is_that_of_the_paths(steps, threshold):
    ks, values = (np.array(column)[:, None] for column in zip(*steps, strict=True))
    path = neurons.path(ks[:, 0], values[:, 0], range(len(ks)), threshold, 0.0)
    assert neurons.switch_counts(ks, values, threshold)[0] == path.switches


def test_the_count_of_switchers_hangs_on_the_threshold():
    ks = np.array([[5, 5], [9, 5], [5, 9]])
    values = np.array([[0.3, 0.9], [0.3, 0.9], [0.9, 0.6]])
    curve = {t: (switched, homed) for t, switched, homed in neurons.sensitivity(ks, values)}
    assert (curve[0.2], curve[0.6], curve[0.7]) == ((2, 2), (1, 2), (0, 2))


@given(st.lists(history, min_size=1, max_size=8))
def test_a_higher_threshold_never_finds_more_switchers_or_homes(neurons_of):
    length = min(map(len, neurons_of))
    ks, values = (np.array([[step[i] for step in n[:length]] for n in neurons_of]).T for i in (0, 1))
    curve = neurons.sensitivity(ks, values)
    assert [t for t, *_ in curve] == sorted(neurons.THRESHOLDS)
    for column in (1, 2):
        counts = [point[column] for point in curve]
        assert counts == sorted(counts, reverse=True)


def test_the_curve_of_neurons_whose_purity_before_the_switch_is_known():
    """511 neurons end pure at k = 9. Of their first homes, k = 5, 275 are pure to 0.25, 24 to 0.55, 2 to 0.75."""
    first = np.concatenate([np.full(275, 0.25), np.full(24, 0.55), np.full(2, 0.75), np.full(210, 0.15)])
    curve = {
        t: switched
        for t, switched, _ in neurons.sensitivity(np.full((2, 511), [[5], [9]]), np.stack([first, np.full(511, 0.96)]))
    }
    assert [curve[t] for t in (0.2, 0.5, 0.7, 0.85)] == [301, 26, 2, 0]


def test_abandoned_frequencies_are_listed():
    ks = np.array([[5, 7], [5, 7], [9, 7]])
    values = np.full((3, 2), 0.9)
    assert neurons.abandoned(ks, values, [0, 10, 20], 0.5) == [(5, 0, 10, 1)]
