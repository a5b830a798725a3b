import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.grokking.learning import model
from panic_assets.grokking.spectra import fourier

P = 113
N = np.arange(P)


def test_the_basis_is_orthonormal():
    for p in (3, 31, P, 251):
        assert np.linalg.norm(fourier.basis(p) @ fourier.basis(p).T - np.eye(p)) < 1e-13
    for p in (2, 4, 1):
        with pytest.raises(UserError, match="odd p"):
            fourier.basis(p)


def test_a_pure_cosine_is_its_own_frequency_alone():
    first, *rest = fourier.row_norms(np.cos(2 * np.pi * 17 * N / P)[:, None])
    assert (first.k, first.part) == (17, "cos")
    assert first.norm == pytest.approx(np.sqrt(P / 2))
    assert max(part.norm for part in rest) < 1e-10


def test_a_pure_sine_is_not_labelled_cosine():
    first, *_ = fourier.row_norms(np.sin(2 * np.pi * 40 * N / P)[:, None])
    assert (first.k, first.part) == (40, "sin")


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 7, 31]))
def test_parseval_and_scaling(seed, p):
    matrix = np.random.default_rng(seed).normal(size=(p, 4))
    constant, energy = fourier.energies(matrix)
    assert constant + energy.sum() == pytest.approx((matrix**2).sum())
    shares = fourier.fractions(matrix)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(fourier.fractions(-3e5 * matrix), shares, rtol=1e-9)


def test_permuted_tokens_lose_the_peak():
    rng = np.random.default_rng(1)
    wave = np.cos(2 * np.pi * 17 * N / P + 0.3)[:, None] * rng.normal(size=(1, 8))
    assert fourier.fractions(wave)[16] == pytest.approx(1)
    assert fourier.fractions(wave[rng.permutation(P)]).max() < 0.25


def test_a_constant_matrix_has_no_fractions():
    assert fourier.fractions(np.full((31, 3), 0.1)) is None


def planted(p=31, k=5, d=16, heads=4, d_mlp=32):
    """Weights in which every path from tokens or to answers is one frequency."""
    rng = np.random.default_rng(3)
    wave = np.stack([np.cos(2 * np.pi * k * np.arange(p) / p), np.sin(2 * np.pi * k * np.arange(p) / p)], 1)
    shapes = {model.SHORT[n]: s for n, s in model.Shape(p, d, heads, d_mlp).of.items()}
    weights = {name: rng.normal(size=s) for name, s in shapes.items()}
    weights["W_E"][:p] = wave @ rng.normal(size=(2, d))
    weights["W_U"] = (wave @ rng.normal(size=(2, d))).T
    return weights


def test_every_weight_space_shows_a_planted_frequency():
    spaces = fourier.weight_spaces(planted())
    assert set(spaces) == {"W_E", "W_U", "W_E.W_in", "W_out.W_U"} | {
        f"{s}{h}" for s in ("Q", "K", "V", "O", "QK") for h in range(4)
    }
    for name, matrix in spaces.items():
        assert matrix.shape[0] == 31, name
        assert fourier.fractions(matrix)[4] == pytest.approx(1), name
    assert "W_pos" not in spaces


def test_spaces_ignore_the_equals_token_and_an_unused_answer():
    weights = planted()
    spaces = fourier.weight_spaces(weights)
    weights["W_E"][-1] = 1e6
    weights["W_U"] = np.hstack([weights["W_U"], np.full((16, 1), 1e6)])
    for name, matrix in fourier.weight_spaces(weights).items():
        np.testing.assert_allclose(matrix, spaces[name])


def test_adoption_is_for_good_and_abandonment_is_named():
    share = np.array([[0.5, 0.0, 0.2], [0.0, 0.2, 0.3], [0.3, 0.1, 0.3], [0.4, 0.0, 0.3]])
    adopted, abandoned = fourier.adoptions(share, [0, 10, 20, 30], 0.15)
    assert adopted == {1: 20, 3: 0}
    assert abandoned == {2: 10}
    assert fourier.adoption_threshold(113) == 0.05
    assert fourier.adoption_threshold(31) == pytest.approx(2 / 15)


def test_agreement_of_spectra():
    assert fourier.agreement(np.array([0.5, 0.5, 0]), np.array([0.5, 0.5, 0])) == 1
    assert fourier.agreement(np.array([1.0, 0, 0]), np.array([0, 0.5, 0.5])) == 0


@pytest.mark.parametrize(
    ("p", "ks", "d"), [(59, (5, 21), 0.675), (59, (5, 15, 21), 1.370), (101, (35, 41, 43, 44), 1.909)]
)
def test_the_published_separations(p, ks, d):
    found, s = fourier.separation(p, ks)
    assert found == pytest.approx(d, abs=5e-4)
    assert 2 * np.sqrt(sum(np.sin(np.pi * k * s / p) ** 2 for k in ks)) == pytest.approx(found)


def test_separation_is_the_distance_of_answers_on_the_circles():
    ks, p = (2, 7), 31
    angle = 2 * np.pi * np.outer(np.arange(p), ks) / p
    points = np.hstack([np.cos(angle), np.sin(angle)])
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)[~np.eye(p, dtype=bool)]
    assert fourier.separation(p, ks)[0] == pytest.approx(distances.min())


def test_more_frequencies_never_separate_worse_and_the_risk_ranks_the_draw():
    assert fourier.separation(59, (5, 15, 21))[0] >= fourier.separation(59, (5, 21))[0]
    every = list(range(1, 16))
    assert fourier.aliasing_risk(31, every) == 0
    with pytest.raises(UserError, match="1 to 15"):
        fourier.separation(31, [16])
